"""`batch`: many command lines in one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bazar_cli.domain.authz.spec import public
from bazar_cli.domain.errors import UsageError

BATCH = public("batch", "each of its lines is checked as a command")

MAX_JOBS = 32
"""More command lines at once would only wait for Supabase and for connections of Postgres."""


@dataclass(frozen=True)
class LineResult:
    """The outcome of one command line."""

    line: int
    """Its number in the file, from 1."""
    command: str
    exit_code: int
    output: object
    """Its standard output: a JSON value if it is JSON, else the text. None if it is empty."""
    error: Mapping[str, object] | None
    """The error object of the contract."""
    messages: tuple[str, ...]
    """Its other lines on standard error."""


def checked_jobs(jobs: int) -> int:
    """Return how many lines run at once. Raises: UsageError `batch.jobs_invalid`."""
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(
            "batch.jobs_invalid",
            f"--jobs is {jobs}, and must be from 1 to {MAX_JOBS}",
            hint="give a number in this range, or leave it out to run one line after another",
        )
    return jobs
