"""The commands of `bazar plans`."""
