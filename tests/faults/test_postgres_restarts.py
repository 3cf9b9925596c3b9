"""Postgres is stopped and started again at each step of a change: the product's tables and those of Auth with it.

A server of its own. `fast` ends every session and writes a checkpoint, `immediate` is a crash and a recovery; `away`
is a server that is not there again before the command has ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.entities import Role, UserState
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from tests.support.auth_proxy import AuthProxy
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar, Done
from tests.support.import_files import UsersFile
from tests.support.people import OLD_PASSWORD, People, Someone, an_address
from tests.support.postgres import RECOVERS, TEMPLATE, ScratchPostgres, create_database
from tests.support.waiting import until_waiting

pytestmark = pytest.mark.xdist_group("restarts")

USER = r"/admin/users/[0-9a-f-]{36}"
BEFORE_THE_INTENT, BEFORE_SUPABASE, AFTER_SUPABASE = "before the intent", "before Supabase acts", "after Supabase acted"
KINDS = ("suspend", "restore", "email", "invite", "invite, while it is created", "adopt", "dissolve")
MODES, HEALERS = ("fast", "immediate", "away"), ("again", "doctor")
# Each kind, step, mode and healer once; the long version has them all with one another.
SOME = [
    ("suspend", AFTER_SUPABASE, "immediate", "again"),
    ("email", BEFORE_SUPABASE, "away", "doctor"),
    ("invite", AFTER_SUPABASE, "away", "doctor"),
    ("adopt", BEFORE_SUPABASE, "fast", "again"),
    ("restore", BEFORE_THE_INTENT, "fast", "again"),
    ("dissolve", BEFORE_THE_INTENT, "immediate", "again"),
]
EVERY = [
    case
    for case in product(KINDS, (BEFORE_THE_INTENT, BEFORE_SUPABASE, AFTER_SUPABASE), MODES, HEALERS)
    # One transaction, and nothing begun, leave the doctor nothing.
    if case not in SOME and (case[1] != BEFORE_THE_INTENT or case[3] == "again")
    if case[0] != "dissolve" or case[1] == BEFORE_THE_INTENT
]


@dataclass(frozen=True)
class Change:
    """One change of somebody, or of an organization."""

    kind: str
    words: tuple[str, ...]
    whom: str
    """The address that they have at the end; the id of an organization."""
    row: tuple[str, uuid.UUID]
    """What holds it up before its intent: a table and the column of the id, and the id."""

    @property
    def asks(self) -> tuple[str, str]:
        """The request to Supabase that does it."""
        posts = {"invite": "/invite", "invite, while it is created": "/admin/users"}
        return ("POST", posts[self.kind]) if self.kind in posts else ("PUT", USER)


@pytest.fixture(scope="module")
def server() -> Generator[ScratchPostgres]:
    """A server that a test may stop."""
    made = ScratchPostgres(RECOVERS)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def target(server: ScratchPostgres, auth_keys: AuthKeys) -> Generator[Target]:
    """Both systems in one database of that server."""
    url = create_database(server.start(), "restarts", TEMPLATE)
    source = TargetSource(TargetKind.ENVIRONMENT, "environment")
    with running_auth_service(environment_of(auth_keys, url)) as auth:
        yield Target(source, auth, Secret(auth_keys.secret_key), Secret(url))


@pytest.fixture
def people(target: Target) -> Generator[People]:
    """Until the server stops."""
    with People(target) as found:
        yield found


def make(people: People, kind: str) -> Change:
    """Arrange one change."""
    email, org = an_address("restart"), people.org()
    people.user({org: Role.OWNER})
    into = ("organizations WHERE id", org.id)
    if kind == "dissolve":
        words = ("orgs", "delete", org.slug, "--confirm", org.slug)
        return Change(kind, words, str(org.id), ("memberships WHERE organization_id", org.id))
    if kind.startswith("invite"):
        words = ("users", "create", email, "--invite", "--org", org.slug, "--if-not-exists")
        return Change(kind, words, email, into)
    if kind == "adopt":
        people.identity(Someone(uuid.uuid4(), email))
        return Change(kind, ("users", "adopt", email, "--org", org.slug), email, into)
    someone = people.user(state=UserState.SUSPENDED if kind == "restore" else UserState.ACTIVE)
    people.identity(someone)
    if kind == "restore":
        people.ban(someone)
    words = {
        "suspend": ("suspend", someone.email, "--reason", "left", "--yes"),
        "restore": ("restore", someone.email),
        "email": ("update", someone.email, "--email", email),
    }[kind]
    whom = email if kind == "email" else someone.email
    return Change(kind, ("users", *words), whom, ("users WHERE id", someone.id))


def while_it_restarts(
    server: ScratchPostgres, people: People, proxy: AuthProxy, change: Change, step: str, mode: str, bazar: Bazar
) -> Done:
    """Run a change, and stop the server when it has come to a step; start it at once, or when the change has ended."""
    with ThreadPoolExecutor() as pool, People(people.target) as other:
        hold = None
        if step == BEFORE_THE_INTENT:
            table, row = change.row
            other.sql("BEGIN")
            other.sql(f"SELECT 1 FROM bazar.{table} = %s FOR UPDATE", row)
            running = pool.submit(bazar, *change.words, "-o", "json")
            until_waiting(people, 1)
        else:
            hold = proxy.hold(*change.asks, acts=step == AFTER_SUPABASE)
            running = pool.submit(bazar, *change.words, "-o", "json")
            assert hold.held is not None
            assert hold.held.wait(60)
        server.down(immediately=mode == "immediate")
        if mode != "away":
            server.up()
        if hold is not None:
            hold.release.set()
        done = running.result()
        if mode == "away":
            server.up()
        return done


def outcomes(people: People, change: Change) -> list[str]:
    """How the events of the change ended."""
    [found] = [*people.sql("SELECT id FROM bazar.users WHERE email = %s", change.whom), None][:1]
    whom = uuid.UUID(change.whom) if change.kind == "dissolve" else found["id"] if found else None
    return [event["outcome"] for event in people.events(whom)] if whom else []


def is_done(people: People, change: Change) -> None:
    """Both systems are as the change wants them, with one event."""
    assert outcomes(people, change) == ["done"]
    if change.kind == "dissolve":
        assert people.sql("SELECT 1 FROM bazar.organizations WHERE id = %s", change.whom) == []
        return
    [row] = people.sql("SELECT id, state, pending, lease_owner FROM bazar.users WHERE email = %s", change.whom)
    [identity] = people.identities(change.whom)
    state = "suspended" if change.kind == "suspend" else "active"
    assert row == {"id": identity["id"], "state": state, "pending": None, "lease_owner": None}
    if change.kind.startswith("invite"):
        assert len(people.sql("SELECT 1 FROM bazar_auth.mails WHERE recipient = %s", change.whom)) == 1
    else:
        assert people.signs_in(change.whom, OLD_PASSWORD) == (change.kind != "suspend")


def restart(
    server: ScratchPostgres, people: People, proxy: AuthProxy, admin: Bazar, case: tuple[str, str, str, str]
) -> None:
    """Play one case: the change is not begun, done, or left for the next run."""
    kind, step, mode, healer = case
    change = make(people, kind)
    done = while_it_restarts(server, people, proxy, change, step, mode, admin.on(proxy.target))
    with People(people.target) as after:
        # Where Supabase has acted, and Postgres takes a new session, the command finishes by itself.
        by_itself = step == AFTER_SUPABASE and mode != "away"
        assert done.code == (0 if by_itself else 7), done.err
        waits = "SELECT 1 FROM bazar.users WHERE email = %s AND pending IS NOT NULL"
        assert (after.sql(waits, change.whom) != [], outcomes(after, change)) == (
            step != BEFORE_THE_INTENT and not by_itself,
            [] if step == BEFORE_THE_INTENT else ["done"],
        )
        after.leases_run_out()
        if healer == "doctor":
            admin("doctor", "--fix", "--yes")
        else:
            assert admin(*change.words).code == 0
        is_done(after, change)


@pytest.mark.parametrize("case", SOME, ids=", ".join)
def test_restarted(
    server: ScratchPostgres, people: People, proxy: AuthProxy, admin: Bazar, case: tuple[str, str, str, str]
) -> None:
    restart(server, people, proxy, admin, case)


@pytest.mark.long
@pytest.mark.parametrize("case", EVERY, ids=", ".join)
def test_restarted_at_every_step(
    server: ScratchPostgres, people: People, proxy: AuthProxy, admin: Bazar, case: tuple[str, str, str, str]
) -> None:
    restart(server, people, proxy, admin, case)


@pytest.mark.parametrize("via", ["api", "database"])
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_an_import_continues_after_a_restart(
    server: ScratchPostgres, people: People, proxy: AuthProxy, admin: Bazar, via: str, mode: str
) -> None:
    """It is stopped while a request is under way, or while a chunk waits for a lock."""
    file = UsersFile(admin.folder("work"), 8)
    words = file.words("results.jsonl", "--via", via)
    hold = proxy.hold("POST", "/admin/users", acts=True) if via == "api" else None
    with ThreadPoolExecutor() as pool, People(people.target) as other:
        if hold is None:
            other.sql("BEGIN")
            other.sql("LOCK TABLE auth.identities IN ACCESS EXCLUSIVE MODE")
        running = pool.submit(admin.on(proxy.target), *words)
        if hold is None:
            until_waiting(people, 1)
        else:
            assert hold.held is not None
            assert hold.held.wait(60)
        server.down(immediately=mode == "immediate")
        server.up()
        if hold is not None:
            hold.release.set()
        done = running.result()
    with People(people.target) as after:
        assert done.code in ({0, 7} if via == "api" else {7}), done.err
        file.claims_run_out(after)
        if file.is_open(after):
            admin(*words).ok()
        file.assert_exact(after, "results.jsonl")
