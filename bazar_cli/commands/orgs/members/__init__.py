"""The commands of `bazar orgs members`."""
