"""docs/declared-state.md: its file, and each of its commands with the exit code that it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator
from dataclasses import replace

import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.checkout import ROOT
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.postgres import TEMPLATE, scratch_database

PAGE = (ROOT / "docs" / "declared-state.md").read_text(encoding="utf-8")
(STATE,) = re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE)
COMMANDS = [line for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", PAGE) for line in block.splitlines()]
(SHOWN,) = re.findall(r"(?ms)^```text\n(.*?)^```$", PAGE)


@pytest.fixture
def people(postgres_url: str, target: Target) -> Generator[People]:
    """A database whose names are free, and an operator with the address of the page."""
    with (
        scratch_database(postgres_url, TEMPLATE) as url,
        People(replace(target, database_url=Secret(url))) as made,
    ):
        yield made
        for email in ("root@example.com", "olga@example.com", "ben@example.com"):
            for identity in made.identities(email):
                made.auth("DELETE", f"/admin/users/{identity['id']}").raise_for_status()


def test_commands_of_the_page_end_as_it_says(nobody: Bazar, people: People) -> None:
    root = people.superuser()
    people.sql("UPDATE bazar.users SET email = 'root@example.com' WHERE id = %s", root.id)
    root = Someone(root.id, "root@example.com")
    people.identity(root)
    bazar = nobody.on(people.target).having(BAZAR_TOKEN=people.access_token(root))
    (bazar.folder("work") / "state.yaml").write_text(STATE)
    assert bazar("diff", "-f", "state.yaml").out == SHOWN
    for line in COMMANDS:
        command, _, said = line.partition("#")
        done = bazar(*shlex.split(command)[1:])
        expected = re.match(r" exit (\d+)", said)
        assert done.code == (int(expected[1]) if expected else 0), f"{line}\n{done.out}\n{done.err}"
