"""The commands of `bazar local`."""
