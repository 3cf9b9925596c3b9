"""The commands of `bazar users sessions`."""
