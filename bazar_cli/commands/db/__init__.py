"""The commands of `bazar db`."""
