"""The refusal of a user in the middle of a change: it names the command that finishes it."""

from __future__ import annotations

import pytest

from bazar_cli.domain.entities import Pending
from bazar_cli.services.users.errors import user_pending


@pytest.mark.parametrize(
    ("pending", "adopted", "command"),
    [
        (Pending.CREATE, False, "`bazar users create a@b`, with the options it had, again"),
        (Pending.CREATE, True, "`bazar users adopt a@b`, with the options it had, again"),
        (Pending.INVITE, False, "`bazar users create a@b --invite`, with the options it had, again"),
        (Pending.DELETE, True, "`bazar users delete a@b --confirm a@b` again"),
        (Pending.SUSPEND, False, "`bazar users suspend a@b --reason TEXT --yes` again"),
        (Pending.RESTORE, False, "`bazar users restore a@b` again"),
        (Pending.EMAIL, False, "`bazar users update a@b --email a@b` again"),
    ],
)
def test_a_change_is_finished_by_the_command_that_began_it(pending: Pending, adopted: bool, command: str) -> None:
    refusal = user_pending("a@b", pending, adopted=adopted)

    assert refusal.hint == f"finish it first: run {command}, or `bazar doctor --fix`"
    assert (refusal.code, refusal.details) == ("users.pending", {"pending": pending.value})
