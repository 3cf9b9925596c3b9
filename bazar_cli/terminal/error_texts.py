"""Every error code with its meaning, from the generated file `errors.tsv`: `code`, exit code and meaning in a line.

docs/errors.md is the source; `make generate` writes the file from it.
"""

import os

from bazar_cli import DOCUMENTATION

_FILE = os.path.join(os.path.dirname(__file__), "errors.tsv")  # noqa: PTH118, PTH120 - pathlib costs 5 ms


def address(code: str) -> str:
    """Return the address of an error code on the page of all codes."""
    return f"{DOCUMENTATION}/errors.md#{code}"


def meanings() -> "dict[str, tuple[str, str]]":
    """Return the exit code and the meaning of every error code."""
    with open(_FILE, encoding="utf-8") as file:  # noqa: PTH123 - as above
        rows = [line.rstrip("\n").split("\t") for line in file]
    return {code: (exit_code, meaning) for code, exit_code, meaning in rows}
