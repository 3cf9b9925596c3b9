"""`bazar users import`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]


def test_smoke(admin: Bazar, people: People, unique_email: Callable[[str], str]) -> None:
    org = people.org()
    ada, bob = unique_email("ada"), unique_email("bob")
    folder = admin.folder("work")
    (folder / "users.csv").write_text(
        f"email,name,organizations,plan,password\r\n{ada},Ada,{org.slug}:owner,plus,secret-word-1\r\n{bob},,,,\r\n"
    )
    print(admin("users", "import", "users.csv", "-n", "-o", "json", "--results", "dry.csv").ok().out)
    print((folder / "dry.csv").read_text())
    done = admin("users", "import", "users.csv", "-o", "json", "--results", "done.jsonl")
    print(done.code, done.out, done.err)
    print((folder / "done.jsonl").read_text())
    print(admin("users", "import", "users.csv").out)
    print(admin("users", "imports", "list").out)
    assert 0
