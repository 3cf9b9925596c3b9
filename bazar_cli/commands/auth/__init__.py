"""The commands of `bazar auth`."""
