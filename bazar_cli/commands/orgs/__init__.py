"""The commands of `bazar orgs`."""
