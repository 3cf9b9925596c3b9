"""kill -9 at random moments of `apply`: the same command again ends with exactly the declared state."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import time
from collections.abc import Iterator
from itertools import count

import pytest

from bazar_cli.domain.declared.state import DeclaredOrganization, DeclaredState, DeclaredUser, as_document
from bazar_cli.domain.entities import Plan, Role, UserState
from tests.support.cli import Bazar
from tests.support.declared import Declaring, member
from tests.support.people import People, Someone

DEFAULT_RUNS = 10
LONG_RUNS = 200


def states(prefix: str) -> Iterator[DeclaredState]:
    """Yield states: the first one creates users in each of these three, the others change all of them."""
    for number in count():
        group, step = divmod(number, 3)
        emails = [f"{prefix}.{group}.{n}@example.com" for n in range(4)]
        slug, suspended = f"{prefix}-{group}", UserState.SUSPENDED if step == 1 else UserState.ACTIVE
        owner, other = emails[step % 2], emails[1 - step % 2]
        yield DeclaredState(
            (DeclaredOrganization(slug, f"Name {step}"),),
            (
                DeclaredUser(owner, f"Owner {step}", Plan.PLUS, (member(slug, Role.OWNER),), UserState.ACTIVE),
                DeclaredUser(other, f"Other {step}", Plan.FREE, (member(slug, Role.MEMBER),), UserState.ACTIVE),
                DeclaredUser(emails[2], None, None, (member(slug, Role.ADMIN),), suspended),
                DeclaredUser(emails[3], f"Last {step}", state=suspended),
            ),
        )


def run_killed(bazar: Bazar, people: People, root: Someone, runs: int, seed: int) -> int:
    """Apply states, each killed at a random moment and applied again; return the number of states."""
    moments, prefix = random.Random(seed), f"k{secrets.token_hex(5)}"  # noqa: S311 - moments, no secret
    declaring, killed, span, tried = Declaring(people, root), 0, 1.0, 0
    for tried, state in enumerate(states(prefix)):
        assert tried < 4 * runs + 10, "most moments come too late"
        (bazar.folder("work") / "state.json").write_text(json.dumps(as_document(state)))
        words = ("apply", "-f", "state.json", "--yes", "-o", "json")
        began = time.monotonic()
        first = bazar(*words, kill_after=moments.uniform(0, span))
        assert first.code in {0, -signal.SIGKILL}, first.err
        # The load of the machine changes: the last moments stay about the last ones of a run.
        took = time.monotonic() - began
        span = span * 1.03 if first.code else min(span * 0.9, took)
        killed += first.code == -signal.SIGKILL
        people.leases_run_out()
        again = bazar(*words).ok()
        assert {change["outcome"] for change in again.json["changes"]} <= {"done"}
        declaring.assert_is(state)
        emails = [user.email for user in state.users]
        ids = [str(row["id"]) for row in people.sql("SELECT id FROM bazar.users WHERE email = ANY(%s)", emails)]
        made = people.sql(
            "SELECT count(*) AS made FROM bazar.audit_events WHERE use_case = 'users.create' AND target_id = ANY(%s)",
            ids,
        )
        assert made == [{"made": len(state.users)}]
        if killed == runs:
            break
    return tried + 1


@pytest.fixture
def seed() -> int:
    found = int(os.environ.get("BAZAR_TEST_SEED") or secrets.randbits(32))
    print(f"BAZAR_TEST_SEED={found}")
    return found


def test_killed_at_random_moments(admin: Bazar, people: People, root: Someone, seed: int) -> None:
    run_killed(admin, people, root, DEFAULT_RUNS, seed)


@pytest.mark.long
def test_killed_at_random_moments_for_long(admin: Bazar, people: People, root: Someone, seed: int) -> None:
    print(f"{LONG_RUNS} runs killed in {run_killed(admin, people, root, LONG_RUNS, seed)} states")
