"""The commands of `bazar config`."""
