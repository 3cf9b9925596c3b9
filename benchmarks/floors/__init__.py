"""Programs that do the same work plainly: what bazar's starts are compared with."""
