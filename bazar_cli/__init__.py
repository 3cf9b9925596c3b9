"""bazar: the command-line administration tool of Bazar. docs/architecture.md shows how its packages fit together.

Never here: an import; `bazar --version` reads only this file.
"""

__version__ = "0.1.0"
DOCUMENTATION = "https://github.com/bazar/bazar-cli/tree/main/docs"
"""As the project's URL in pyproject.toml; a test compares them."""
