"""The commands of `bazar config profiles`."""
