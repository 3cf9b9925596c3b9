"""The commands of `bazar db env`."""
