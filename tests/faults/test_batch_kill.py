"""kill -9 at random moments of a batch: the same batch again leaves every user once, in both systems.

The seed is printed with a failure; BAZAR_TEST_SEED plays the same moments again, as far as a machine repeats
itself.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.support.cli import Bazar
from tests.support.people import People
from tests.support.processes import children, runs
from tests.support.waiting import poll

DEFAULT_KILLS, LONG_KILLS = 10, 200
LINES = 5
VICTIMS = ("parent", "nursery", "worker", "all")


@dataclass
class Kill:
    """Where a batch was killed: after this many results and this part of the time of a line."""

    victims: str
    results: int
    part: float


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> random.Random:
    """Random numbers with a seed that a failure shows."""
    seed = int(os.environ.get("BAZAR_TEST_SEED") or secrets.randbits(32))
    record_property("seed", seed)
    print(f"BAZAR_TEST_SEED={seed}")
    return random.Random(seed)  # noqa: S311 - moments, no secret


def workers_of(pid: int) -> list[int]:
    """Return the workers of a batch, which are children of its nursery."""
    return [worker for nursery in children(pid) for worker in children(nursery)]


def run_killed(admin: Bazar, words: Sequence[str], kill: Kill) -> bool:
    """Start a batch, kill processes of it at this moment, and wait until all of them have ended.

    Return False for a batch that ended before its moment.
    """
    with admin.start(*words) as process:
        assert process.stdout is not None
        began = time.monotonic()
        for _ in range(kill.results):
            process.stdout.readline()
        a_line = (time.monotonic() - began) / (kill.results + 1)
        poll(lambda: workers_of(process.pid) or process.poll() is not None)
        nurseries, workers = children(process.pid), workers_of(process.pid)
        time.sleep(kill.part * a_line)
        alive = process.poll() is None and any(map(runs, workers))
        everything = [process.pid, *nurseries, *workers]
        victims = {"parent": [process.pid], "nursery": nurseries, "worker": workers[:1], "all": everything}
        for pid in victims[kill.victims]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Each process of the batch holds the streams.
        process.communicate()
        poll(lambda: not any(map(runs, [*nurseries, *workers])))
    return alive


def kills(admin: Bazar, people: People, chance: random.Random, number: int) -> None:
    """Kill this number of batches, each once, and let the same batch end."""
    killed = life = 0
    while killed < number:
        life += 1
        assert life < 4 * number + 10, "most moments come too late"
        emails = [f"batch-{life}-{line}.{secrets.token_hex(4)}@example.com" for line in range(LINES)]
        lines = "".join(f"users create {email} --name 'B {life}' --if-not-exists\n" for email in emails)
        (admin.folder("work") / "commands.txt").write_text(lines)
        words = ("batch", "commands.txt", "--keep-going", "--jobs", str(chance.randint(1, 2)))
        kill = Kill(chance.choice(VICTIMS), chance.randrange(LINES), chance.random())
        killed += run_killed(admin, words, kill)
        people.leases_run_out()
        again = admin(*words)
        codes = [json.loads(line)["exit_code"] for line in again.out.splitlines()]
        assert (again.code, codes) == (0, [0] * LINES), kill
        rows = people.sql("SELECT id, email, name, pending FROM bazar.users WHERE email = ANY (%s)", emails)
        assert {row["email"] for row in rows} == set(emails), kill
        assert {(row["name"], row["pending"]) for row in rows} == {(f"B {life}", None)}, kill
        identities = [(i["id"], i["email"]) for email in emails for i in people.identities(email)]
        assert sorted(identities) == sorted((row["id"], row["email"]) for row in rows), kill
        events = "SELECT use_case, outcome FROM bazar.audit_events WHERE target_id = ANY (%s)"
        found = people.sql(events, [str(row["id"]) for row in rows])
        assert [(e["use_case"], e["outcome"]) for e in found] == [("users.create", "done")] * LINES, kill


def test_a_batch_killed_at_random_moments_is_finished_by_running_it_again(
    admin: Bazar, people: People, chance: random.Random
) -> None:
    kills(admin, people, chance, DEFAULT_KILLS)


@pytest.mark.long
def test_a_batch_killed_for_long_is_finished_by_running_it_again(
    admin: Bazar, people: People, chance: random.Random
) -> None:
    kills(admin, people, chance, LONG_KILLS)
