"""The commands of `bazar users imports`."""
