"""`bazar users adopt`, and `bazar users create --invite`: what a user sees, and how the doctor finishes them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Pending
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone

Email = Callable[[str], str]
JSON = ("-o", "json")


def stranger(people: People, email: str, *, confirmed: bool = True) -> Someone:
    someone = Someone(uuid.uuid4(), email)
    people.identity(someone, confirmed=confirmed)
    return someone


def test_adopted_user_is_shown(admin: Bazar, people: People, unique_email: Email) -> None:
    someone = stranger(people, unique_email("found"))
    done = admin("users", "adopt", someone.email, "--name", "Ada", *JSON).ok()
    assert (done.json["id"], done.json["name"], done.json["plan"]) == (str(someone.id), "Ada", "free")
    assert (done.json["adopted"], done.json["pending"], done.err) == (True, None, "")
    again = admin("users", "adopt", someone.email, *JSON).ok()
    assert again.json["adopted"] is False
    assert "is already a user" in again.err


def test_banned_and_unconfirmed_are_told(admin: Bazar, people: People, unique_email: Email) -> None:
    someone = stranger(people, unique_email("found"), confirmed=False)
    people.ban(someone)
    done = admin("users", "adopt", someone.email, *JSON).ok()
    assert done.json["state"] == "suspended"
    assert "banned at Supabase" in done.err
    assert f"now it lasts until `bazar users restore {someone.email}`" in done.err
    assert f"`bazar users reset-password {someone.email}`" in done.err


def test_invitation_is_told_and_shows_no_password(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("guest")
    done = admin("users", "create", email, "--invite", *JSON).ok()
    assert (done.json["created"], done.json["pending"], "password" in done.json) == (True, None, False)
    assert f"mails an invitation to {email}" in done.err
    assert len(people.sql("SELECT 1 FROM bazar_auth.mails WHERE recipient = %s", email)) == 1


@pytest.mark.parametrize("option", ["--generate-password", "--password-stdin", "--password-hash-stdin"])
def test_invitation_excludes_a_password(admin: Bazar, unique_email: Email, option: str) -> None:
    done = admin("users", "create", unique_email("guest"), "--invite", option, *JSON, stdin="correct horse\n")
    assert (done.code, done.error["code"]) == (2, "users.two_passwords")


def fixed(done: Done) -> dict[str, str]:
    [fix] = [check for check in done.json["items"] if check["check"] == "fix"]
    return {row["email"]: row["note"] for row in fix["rows"]}


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["for real", "dry run"])
def test_doctor_finishes_or_gives_up(admin: Bazar, people: People, unique_email: Email, dry: tuple[str, ...]) -> None:
    people.sql("DELETE FROM bazar.users WHERE pending IS NOT NULL")
    invited = people.user(email=unique_email("invited"), pending=Pending.INVITE)
    found, vanished = (people.user(email=unique_email("found"), pending=Pending.CREATE) for _ in range(2))
    people.sql("UPDATE bazar.users SET origin = 'adopted' WHERE id IN (%s, %s)", found.id, vanished.id)
    people.identity(found)
    before = people.everything()

    notes = fixed(admin("doctor", "--fix", "--yes", *dry, *JSON))

    would = "would be " if dry else ""
    assert notes[invited.email] == notes[found.email] == f"{would}finished"
    assert notes[vanished.email] == f"{would}undone. the identity of {vanished.email} is no longer at Supabase"
    if dry:
        assert people.everything() == before
        return
    for someone in (invited, found):
        [identity] = people.identities(someone.email)
        assert (identity["id"], (people.row(someone) or {})["pending"]) == (someone.id, None)
    assert people.row(vanished) is None
    [mail] = people.sql("SELECT kind FROM bazar_auth.mails WHERE recipient = %s", invited.email)
    assert mail["kind"] == "invite"
