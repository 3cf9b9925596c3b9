"""How long one use case waits for others: for a lease, and for a row or table that another session has locked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Waits:
    """The longest waits of one use case, in seconds."""

    lease: float
    """For the command that holds a user's lease. A lease lasts 20 s."""
    row: float
    """For each row or table that another session has locked."""


OF_A_COMMAND = Waits(lease=30.0, row=15.0)
"""A command has ended its change, or lost its lease, after 30 s."""
OF_A_SERVER = Waits(lease=2.0, row=2.0)
"""A server has other requests to serve, and its clients try again."""
