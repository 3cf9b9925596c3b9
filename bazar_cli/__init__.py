"""bazar: the command-line administration tool of Bazar. docs/architecture.md shows how its packages fit together.

Never here: an import other than sys; `bazar --version` reads only this file. Python 2 can parse it, so that an
old Python is refused in a sentence.
"""

import sys

__version__ = "0.1.0"
DOCUMENTATION = "https://github.com/bazar/bazar-cli/tree/main/docs"
"""As the project's URL in pyproject.toml; a test compares them."""

if sys.version_info < (3, 10):  # noqa: UP036 - an installer reads `requires-python`, a start from source does not
    said = "error: bazar needs Python 3.10 or newer, and " + sys.executable + " is Python " + sys.version.split()[0]
    sys.stderr.write(said + "\n")
    sys.exit(2)
