"""A name that must be typed: asked for at a terminal once it is known what the change does."""

from __future__ import annotations

import pytest

from tests.cli.auth.support import Terminal
from tests.support.cli import Bazar
from tests.support.people import People

pytestmark = pytest.mark.live

TEXTS = {
    "delete": "this deletes {} from both systems. Type the email to delete this user: ",
    "promote": "this makes {} a superuser. Type the email to promote this user: ",
    "demote": "this takes the superuser flag from {}. Type the email to demote this user: ",
}


@pytest.mark.parametrize("verb", TEXTS)
def test_the_email_is_typed_at_a_terminal_and_yes_is_no_answer(admin: Bazar, people: People, verb: str) -> None:
    someone = people.user(superuser=verb == "demote")
    before = people.row(someone)
    for typed, code in (("yes", 10), ("", 10), (someone.email.upper(), 0)):
        assert people.row(someone) == before
        with Terminal(admin, "users", verb, str(someone.id), "--yes") as terminal:
            terminal.answer(TEXTS[verb].format(someone.email), typed)
            assert terminal.end() == code
    assert people.row(someone) != before


@pytest.mark.parametrize("verb", TEXTS)
def test_missing_user_is_reported_before_the_confirmation(admin: Bazar, verb: str) -> None:
    with Terminal(admin, "users", verb, "nobody@example.com") as terminal:
        assert terminal.end() == 3
    assert "Type the email" not in terminal.seen
