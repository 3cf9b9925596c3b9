"""Whole stories by `bazar` alone: only a superuser is there before, and what one command prints the next uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import bcrypt
import pytest

from tests.cli.auth.support import sign_in
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

JSON = ("-o", "json")
Email = Callable[[str], str]
Machine = Callable[[str], Bazar]


@pytest.fixture
def machine(signed_out: Bazar) -> Machine:
    """Make machines of one person each, with nobody signed in yet."""
    return lambda name: replace(signed_out, home=signed_out.home / name)


@pytest.fixture
def root(machine: Machine, people: People) -> Bazar:
    """The machine of a superuser on Premium who has signed in."""
    someone, bazar = people.superuser(), machine("root")
    people.identity(someone)
    sign_in(bazar, someone).ok()
    return bazar


def created(root: Bazar, email: str, *words: str, stdin: str = "") -> tuple[Someone, str]:
    """Create a user; return them and their generated password, empty where none was asked for."""
    user = root("users", "create", email, *words, *JSON, stdin=stdin).ok().json
    return Someone(user["id"], user["email"]), user.get("password") or ""


def test_customer_from_the_first_day_to_the_last(root: Bazar, machine: Machine, unique_email: Email) -> None:
    email = unique_email("ada")
    name = email.partition("@")[0].replace(".", " ")
    org = root("orgs", "create", name, *JSON).ok().json
    ada, password = created(root, email, "--name", "Ada", "--org", org["slug"], "--generate-password")
    laptop = machine("laptop")
    sign_in(laptop, ada, password=password).ok()
    status = laptop("auth", "status", *JSON).ok().json
    assert (status["user_id"], status["plan"]) == (ada.id, "free")
    assert status["organizations"] == [{"id": org["id"], "slug": org["slug"], "role": "member"}]
    assert laptop("orgs", "list", "-o", "ids").ok().out == f"{org['id']}\n"
    assert laptop("users", "list", "--search", email, "-o", "ids").ok().out == f"{ada.id}\n"
    assert laptop("plans", "check", "users:create").code == 9
    denied = laptop("users", "create", unique_email("eve"), *JSON)
    assert (denied.code, denied.error["code"]) == (5, "access.plan")
    root("users", "update", email, "--name", "Ada Lovelace").ok()
    assert laptop("users", "me", *JSON).ok().json["name"] == "Ada Lovelace"
    assert laptop("users", "delete", email, "--confirm", email).code == 5
    root("users", "delete", email, "--confirm", email).ok()
    # A token that only Auth can verify is refused by it; a signed one is of no user any more.
    assert laptop("users", "me").code in {4, 5}
    assert sign_in(laptop, ada, password=password).code == 4
    assert root("users", "get", email).code == 3
    again, other = created(root, email, "--generate-password")
    assert (again.email, again.id == ada.id, other == password) == (email, False, False)
    assert sign_in(laptop, ada, password=password).code == 4
    sign_in(laptop, ada, password=other).ok()
    assert laptop("users", "me", "-o", "ids").ok().out == f"{again.id}\n"
    assert laptop("orgs", "list", "-o", "ids").ok().out == ""


def test_every_way_to_a_password(root: Bazar, machine: Machine, unique_email: Email) -> None:
    plain, desk = "A-plain-passw0rd", machine("desk")
    hashed = bcrypt.hashpw(plain.encode(), bcrypt.gensalt(4)).decode()
    typed, _ = created(root, unique_email("typed"), "--password-stdin", stdin=f"{plain}\n")
    given, _ = created(root, unique_email("hashed"), "--password-hash-stdin", stdin=f"{hashed}\n")
    without, none = created(root, unique_email("none"))
    for someone in (typed, given):
        sign_in(desk, someone, password=plain).ok()
    assert none == ""
    assert sign_in(desk, without, password=plain).code == 4
    same = root("users", "create", typed.email, "--if-not-exists", *JSON).ok().json
    assert (same["id"], same["created"]) == (typed.id, False)
    assert root("users", "create", typed.email, "--if-not-exists", "--name", "Other").code == 6
    sign_in(desk, typed, password=plain).ok()


def test_agent_works_with_a_token_until_its_session_ends(
    root: Bazar, machine: Machine, unique_email: Email, people: People
) -> None:
    token = root("auth", "token").ok().out.strip()
    agent = machine("agent").having(BAZAR_TOKEN=token)
    made, _ = created(agent, unique_email("made"))
    root("auth", "refresh").ok()
    agent("users", "update", made.email, "--name", "By the old token").ok()
    root("auth", "logout").ok()
    late = agent("users", "delete", made.email, "--confirm", made.email, *JSON)
    assert (late.code, late.error["code"]) == (4, "auth.session_revoked")
    assert len(people.identities(made.email)) == 1
    assert root("users", "me").code == 4


def test_profile_takes_the_place_of_the_environment(root: Bazar, nobody: Bazar, people: People) -> None:
    root("config", "profiles", "add", "there").ok()
    bazar = replace(nobody, home=root.home)
    someone = people.user()
    people.identity(someone)
    sign_in(bazar, someone).ok()
    healthy = bazar("doctor", *JSON).ok().json["items"]
    # Comparing both systems is for superusers.
    assert {check["status"] for check in healthy} == {"ok", "skipped"}
    assert [check["status"] for check in healthy[:5]] == ["ok"] * 5
    assert bazar("auth", "status", *JSON).ok().json["target"] == "profile there"
    bazar("db", "wait").ok()
    assert bazar("db", "status").code == 5
    assert root("db", "status", "--check", *JSON).ok().json["pending"] == []
    bazar("auth", "logout").ok()
    bazar("config", "profiles", "remove", "there").ok()
    assert bazar("users", "me", *JSON).error["code"] == "target.missing"
