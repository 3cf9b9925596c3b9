"""bazar: the command-line administration tool of Bazar."""

__version__ = "0.1.0"
