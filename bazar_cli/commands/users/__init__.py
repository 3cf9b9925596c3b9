"""The commands of `bazar users`."""
