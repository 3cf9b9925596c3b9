"""bazar: the command-line administration tool of Bazar. docs/architecture.md shows how its packages fit together.

Never here: an import; `bazar --version` reads only this file.
"""

__version__ = "0.1.0"
