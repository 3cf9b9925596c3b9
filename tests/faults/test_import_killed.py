"""Imports that are killed with -9, and several of one file at once: both systems and the results are exact.

The seed is printed with a failure; BAZAR_TEST_SEED plays the same moments again, as far as a machine repeats itself.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from dataclasses import replace

import pytest

from tests.support.auth_proxy import AuthProxy
from tests.support.cli import Bazar
from tests.support.import_files import UsersFile
from tests.support.people import People
from tests.support.waiting import poll

WAYS = ("api", "database")
BOTH = pytest.mark.parametrize("via", WAYS)
DEFAULT_KILLS, LONG_KILLS = 3, 100
SIZE = 30
SMALL_CHUNKS = {
    "bazar_cli.services.imports.via_api.CHUNK": 10,
    "bazar_cli.services.imports.via_database.CHUNK": 10,
    "bazar_cli.services.imports.apply._WAIT_SECONDS": 0.1,
    # Postgres may still commit what a killed command sent, after the test has ended its leases.
    "bazar_cli.adapters.postgres.imports.creations.LEASE_SECONDS": 2.0,
}


@pytest.fixture
def chunked(admin: Bazar) -> Bazar:
    """`bazar` signed in as a superuser, which works on ten rows at a time."""
    return replace(admin, constants=SMALL_CHUNKS)


def killed(chunked: Bazar, people: People, via: str, kills: int) -> None:
    """Import files, each killed at random moments until it is whole; the moments spread over a whole run."""
    seed = int(os.environ.get("BAZAR_TEST_SEED") or secrets.randbits(32))
    print(f"BAZAR_TEST_SEED={seed}")
    moments = random.Random(seed)  # noqa: S311 - moments, no secret
    whole = UsersFile(chunked.folder("work"), SIZE)
    began = time.monotonic()
    chunked(*whole.words("whole.jsonl", "--via", via)).ok()
    span, done, begun = time.monotonic() - began, 0, 0
    while done < kills:
        file = UsersFile(chunked.folder("work"), SIZE)
        words = file.words(f"{file.tag}.jsonl", "--via", via)
        for _ in range(2):
            began = time.monotonic()
            if chunked(*words, kill_after=moments.uniform(0, span)).code == 0:
                # The machine's load changes: the last moments must stay about the last ones of a run.
                span = min(span * 0.9, time.monotonic() - began)
                break
            done, span = done + 1, span * 1.03
            begun += file.claims_run_out(people)
        if file.is_open(people):
            chunked(*words).ok()
        file.assert_exact(people, f"{file.tag}.jsonl")
    assert kills < 20 or begun > kills / 10, "the moments came before anything was written"


@BOTH
def test_killed_at_random_moments(chunked: Bazar, people: People, via: str) -> None:
    killed(chunked, people, via, DEFAULT_KILLS)


@pytest.mark.long
@BOTH
def test_killed_at_random_moments_for_long(chunked: Bazar, people: People, via: str) -> None:
    killed(chunked, people, via, LONG_KILLS)


def test_an_undo_that_was_killed_is_finished_by_the_same_command(
    chunked: Bazar, people: People, proxy: AuthProxy
) -> None:
    """It was killed when some identities were deleted and no user."""
    file = UsersFile(chunked.folder("work"), SIZE)
    chunked(*file.words("done.jsonl")).ok()
    [run] = people.sql("SELECT DISTINCT run_id FROM bazar.import_rows WHERE email LIKE %s", f"%{file.tag}%")
    words = ("users", "imports", "undo", str(run["run_id"]), "--confirm", str(run["run_id"]))
    hold = proxy.hold("DELETE", "/admin/users/.*", acts=True)
    assert hold.held is not None
    with chunked.on(proxy.target).start(*words) as killed:
        assert hold.held.wait(60)
        poll(lambda: len(people.identities_like(file.tag)) <= SIZE - 2)
        killed.kill()
        killed.communicate()
    hold.release.set()
    pending = people.sql("SELECT pending FROM bazar.users WHERE email LIKE %s", f"%{file.tag}%")
    assert [row["pending"] for row in pending] == ["delete"] * SIZE
    file.claims_run_out(people)
    done = chunked(*words, "-o", "json").ok().json
    assert (done["deleted"], done["gone"], done["kept"], done["open"]) == (SIZE, 0, 0, 0)
    assert people.sql("SELECT 1 FROM bazar.users WHERE email LIKE %s", f"%{file.tag}%") == []
    assert people.identities_like(file.tag) == []
    deleted = "SELECT 1 FROM bazar.audit_events WHERE use_case = 'users.delete' AND before ->> 'email' LIKE %s"
    assert len(people.sql(deleted, f"%{file.tag}%")) == SIZE


def test_two_imports_of_one_file_share_it(chunked: Bazar, people: People, proxy: AuthProxy) -> None:
    file = UsersFile(chunked.folder("work"), SIZE)
    hold = proxy.hold("POST", "/admin/users", acts=False)
    assert hold.held is not None
    with chunked.on(proxy.target).start(*file.words("first.jsonl")) as first:
        assert hold.held.wait(60)
        with chunked.start(*file.words("second.jsonl")) as second:
            assert second.stderr is not None
            assert b"continuing the run" in second.stderr.readline()
            hold.release.set()
            second.communicate()
        first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    file.assert_exact(people, "first.jsonl", "second.jsonl")


def test_four_importers_share_a_run_and_one_is_killed(chunked: Bazar, people: People, proxy: AuthProxy) -> None:
    file = UsersFile(chunked.folder("work"), SIZE * 2)
    hold = proxy.hold("POST", "/admin/users", acts=True)
    assert hold.held is not None
    with chunked.on(proxy.target).start(*file.words("killed.jsonl")) as first:
        assert hold.held.wait(60)
        others = [chunked.start(*file.words(f"{n}.jsonl")) for n in range(3)]
        for other in others:
            assert other.stderr is not None
            assert b"continuing the run" in other.stderr.readline()
        left = "SELECT line FROM bazar.import_rows WHERE email LIKE %s AND status = 'open'"
        poll(lambda: len(people.sql(left, f"%{file.tag}%")) <= 10)
        first.kill()
        first.communicate()
        file.claims_run_out(people)
        for other in others:
            other.communicate()
        hold.release.set()
    assert [other.returncode for other in others] == [0, 0, 0]
    file.assert_exact(people, "0.jsonl", "1.jsonl", "2.jsonl")
