"""Killed with -9 in the middle: running the same command again ends in the wanted state, once."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from bazar_cli.domain.target import Target
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People

pytestmark = pytest.mark.live

Email = Callable[[str], str]


def killed(admin: Bazar, target: Target, method: str, path: str, words: tuple[str, ...], *, arrives: bool) -> None:
    """Start a command, kill it with -9 while it waits for Supabase's answer."""
    with held_wire(target, method, path, arrives=arrives) as wire, admin.on(wire.target).start(*words) as process:
        assert wire.held.wait(60)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
def test_create_is_finished_by_running_it_again(
    admin: Bazar, target: Target, people: People, unique_email: Email, arrives: bool
) -> None:
    email = unique_email("killed")
    words = ("users", "create", email, "--name", "Ada", "--generate-password", "-o", "json")
    killed(admin, target, "POST", "/admin/users", words, arrives=arrives)
    (row,) = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    assert row["pending"] == "create"
    assert len(people.identities(email)) == (1 if arrives else 0)
    people.leases_run_out()
    user = admin(*words).ok().json
    assert (user["id"], user["pending"]) == (str(row["id"]), None)
    (identity,) = people.identities(email)
    assert identity["id"] == row["id"]
    assert people.signs_in(email, user["password"])
    assert [e["use_case"] for e in people.events(row["id"])] == ["users.create"]


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
def test_delete_is_finished_by_running_it_again(admin: Bazar, target: Target, people: People, arrives: bool) -> None:
    someone = people.user()
    people.identity(someone)
    words = ("users", "delete", someone.email, "--confirm", someone.email)
    killed(admin, target, "DELETE", "/admin/users", words, arrives=arrives)
    assert (people.row(someone) or {})["pending"] == "delete"
    people.leases_run_out()
    admin(*words).ok()
    assert people.row(someone) is None
    assert people.identities(someone.email) == []
    assert [e["use_case"] for e in people.events(someone.id)] == ["users.delete"]


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
@pytest.mark.parametrize("kind", ["suspend", "restore", "email"])
def test_a_change_is_finished_by_running_it_again(
    admin: Bazar, target: Target, people: People, unique_email: Email, kind: str, arrives: bool
) -> None:
    someone, email = people.user(), unique_email("moved")
    people.identity(someone)
    suspend = ("users", "suspend", someone.email, "--reason", "left", "--yes")
    words = {
        "suspend": suspend,
        "restore": ("users", "restore", someone.email),
        "email": ("users", "update", someone.email, "--email", email),
    }[kind]
    if kind == "restore":
        admin(*suspend).ok()
    before = len(people.events(someone.id))
    killed(admin, target, "PUT", "/admin/users", words, arrives=arrives)
    assert (people.row(someone) or {})["pending"] == kind
    people.leases_run_out()
    admin(*words).ok()
    row = people.row(someone) or {}
    assert (row["pending"], row["state"]) == (None, "suspended" if kind == "suspend" else "active")
    assert people.signs_in(email if kind == "email" else someone.email, OLD_PASSWORD) == (kind != "suspend")
    assert len(people.events(someone.id)) == before + 1
