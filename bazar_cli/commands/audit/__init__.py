"""The commands of `bazar audit`."""
