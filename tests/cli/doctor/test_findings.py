"""`bazar doctor` names every kind of mismatch, with its rows and a remedy; and none while commands run."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import errors

from bazar_cli.adapters.postgres.probe import DatabaseProbe
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.authz.policy import decide
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db.migrations import Place
from bazar_cli.domain.doctor import COMPARE, Health
from bazar_cli.domain.entities import Pending, Role, UserState
from bazar_cli.domain.users.changes import CREATE, DELETE, CreateUser, DeleteUser
from bazar_cli.services.doctor import compare_systems, public_checks
from bazar_cli.services.doctor.id_set import IdSet
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.users import create, delete
from tests.cli.doctor.support import BOTH_WAYS, checks, signed_in, stamp
from tests.support.auth_proxy import Asked, between
from tests.support.cli import Bazar, Done
from tests.support.people import REQUEST_ID, People, Someone, an_address, an_identity
from tests.support.tokens import claims_of

WELL = {"ok", "skipped"}


@pytest.fixture
def people(emptied: People) -> People:
    """Two systems that hold nobody but whom a test puts there."""
    return emptied


@pytest.fixture
def bazar(tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys) -> Bazar:
    """`bazar` of the one superuser."""
    return signed_in(tmp_path, people, ruler, auth_keys, proven=True)


def both(people: People, someone: Someone, *, banned: bool = False) -> Someone:
    """Give a user their identity."""
    people.identity(someone, app_metadata=stamp(people))
    if banned:
        people.ban(someone)
    return someone


def findings(done: Done) -> dict[str, dict[str, Any]]:
    """What asks for something to be done, each with a remedy; the exit code says whether there is any."""
    found = {name: check for name, check in checks(done).items() if check["status"] not in WELL}
    assert [name for name, check in found.items() if not (check["remedy"] and check["detail"])] == []
    assert done.code == (9 if found else 0)
    return found


def emails(check: dict[str, Any]) -> set[str]:
    """The addresses of the rows, whose number is the count."""
    assert check["count"] == len(check["rows"])
    return {row["email"] for row in check["rows"]}


# -- both systems ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mismatches:
    """One user of each kind of mismatch, and what doctor found."""

    rows: dict[str, str]
    """The address by the name of the check."""
    address_at_supabase: str
    """Of the user whose addresses differ."""
    found: dict[str, dict[str, Any]]


@pytest.fixture
def mismatches(tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool) -> Mismatches:
    """Every kind at once, beside a user who is suspended in both systems."""
    lonely, moved, banned = people.user(), both(people, people.user()), both(people, people.user(), banned=True)
    free = both(people, people.user(state=UserState.SUSPENDED))
    both(people, people.user(state=UserState.SUSPENDED), banned=True)
    orphan = both(people, Someone(uuid.uuid4(), an_address("orphan")), banned=True)
    theirs = an_address("theirs")
    people.auth("PUT", f"/admin/users/{moved.id}", {"email": theirs, "email_confirm": True}).raise_for_status()
    rows = {
        "users-without-identity": lonely.email,
        "identities-without-user": orphan.email,
        "emails-differ": moved.email,
        "banned-not-suspended": banned.email,
        "suspended-not-banned": free.email,
    }
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json")
    return Mismatches(rows, theirs, findings(done))


@BOTH_WAYS
def test_each_kind_of_mismatch_is_a_finding_with_its_rows(mismatches: Mismatches) -> None:
    assert {name: emails(check) for name, check in mismatches.found.items()} == {
        name: {email} for name, email in mismatches.rows.items()
    }
    assert {name: check["status"] for name, check in mismatches.found.items()} == {
        "users-without-identity": "failed",
        "identities-without-user": "failed",
        "emails-differ": "warning",
        "banned-not-suspended": "warning",
        "suspended-not-banned": "failed",
    }


@BOTH_WAYS
def test_addresses_that_differ_are_both_named(mismatches: Mismatches) -> None:
    check = mismatches.found["emails-differ"]
    assert check["rows"][0]["note"] == f"at Supabase {mismatches.address_at_supabase}"
    assert "bazar users update USER --email" in check["remedy"]


@BOTH_WAYS
def test_a_ban_that_differs_is_shown_with_its_end_and_both_remedies(mismatches: Mismatches) -> None:
    assert mismatches.found["banned-not-suspended"]["rows"][0]["note"].startswith("banned until 20")
    for name in ("banned-not-suspended", "suspended-not-banned"):
        assert "`bazar users suspend USER" in mismatches.found[name]["remedy"]
        assert "`bazar users restore USER`" in mismatches.found[name]["remedy"]


def in_process(people: People, ruler: Someone, keys: AuthKeys, *, proven: bool) -> Callable[[], dict[str, set[str]]]:
    """Compare without a process: the addresses of what was found, by the kind."""
    claims = claims_of(ruler)
    if proven:
        people.access_token(ruler)
        [session] = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s LIMIT 1", ruler.id)
        claims["session_id"] = str(session["id"])
    identity = an_identity(ruler, claims["session_id"])
    grant = decide(people.operator(ruler), COMPARE, None, REQUEST_ID, dry_run=False, identity=identity)
    assert isinstance(grant, Grant)

    def look() -> dict[str, set[str]]:
        with Backends(people.target, REQUEST_ID) as backends:
            seen = compare_systems.compare(backends, grant)
        found = {kind.value: {row.email for row in f.rows} for kind, f in seen.found.items() if f.count}
        dead = {user.email for user in seen.pending if not user.leased}
        return {**found, "pending": dead} if dead else found

    return look


@pytest.mark.spread
@BOTH_WAYS
@pytest.mark.parametrize(
    ("pending", "kinds"),
    [
        (None, {"emails-differ", "suspended-not-banned"}),
        (Pending.CREATE, set[str]()),
        (Pending.DELETE, set[str]()),
        (Pending.INVITE, set[str]()),
        (Pending.EMAIL, {"suspended-not-banned"}),
        (Pending.SUSPEND, {"emails-differ"}),
        (Pending.RESTORE, {"emails-differ"}),
    ],
)
def test_pending_change_is_no_difference(
    people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool, pending: Pending | None, kinds: set[str]
) -> None:
    someone = both(people, people.user(state=UserState.SUSPENDED, pending=pending))
    people.sql("UPDATE auth.users SET email = 'other@example.com' WHERE id = %s", someone.id)
    seen = in_process(people, ruler, auth_keys, proven=proven)()
    assert set(seen) - {"pending"} == kinds
    assert seen == {kind: {someone.email} for kind in seen}


SAME = {
    "capitals in the address": (UserState.ACTIVE, "email = upper(email)"),
    "a ban that has ended": (UserState.ACTIVE, "banned_until = now() - interval '1 second'"),
    "a ban without end": (UserState.SUSPENDED, "banned_until = '2200-01-01'"),
}
"""What an identity may have that its user has in another form."""


@BOTH_WAYS
def test_what_is_no_difference(people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool) -> None:
    for state, change in SAME.values():
        someone = both(people, people.user(state=state))
        people.sql(f"UPDATE auth.users SET {change} WHERE id = %s", someone.id)
    assert in_process(people, ruler, auth_keys, proven=proven)() == {}


@BOTH_WAYS
def test_deleted_identity_counts_as_missing(people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool) -> None:
    someone = both(people, people.user(state=UserState.SUSPENDED))
    people.sql("UPDATE auth.users SET deleted_at = now() WHERE id = %s", someone.id)
    assert in_process(people, ruler, auth_keys, proven=proven)() == {"users-without-identity": {someone.email}}


@BOTH_WAYS
def test_an_identity_without_an_address_differs(
    people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    someone = both(people, people.user())
    people.sql("UPDATE auth.users SET email = NULL WHERE id = %s", someone.id)
    assert in_process(people, ruler, auth_keys, proven=proven)() == {"emails-differ": {someone.email}}


# -- while commands run ----------------------------------------------------------------------------------------


class Commands:
    """Creates, suspends, renames and deletes users, one after the other, as the commands do, until told to end."""

    def __init__(self, people: People, operator: Someone) -> None:
        self._people = people
        self._operator = operator
        self.rounds = 0

    def run(self, until: threading.Event) -> None:
        with People(self._people.target) as people:
            while not until.is_set():
                request = CreateUser(an_address("racing"))
                made = people.run(self._operator, create.create, CREATE, request).user
                self._step(people, made.id, "suspend", "state = 'suspended'", {"ban_duration": "1h"})
                self._step(people, made.id, "restore", "state = 'active'", {"ban_duration": "none"})
                address = an_address("moved")
                self._step(people, made.id, "email", f"email = '{address}'", {"email": address, "email_confirm": True})
                people.run(self._operator, delete.delete, DELETE, DeleteUser(str(made.id), address))
                self.rounds += 1

    @staticmethod
    def _step(people: People, user: uuid.UUID, pending: str, change: str, asked: dict[str, object]) -> None:
        people.sql(
            f"UPDATE bazar.users SET {change}, pending = '{pending}', lease_owner = gen_random_uuid(),"
            " lease_until = clock_timestamp() + interval '20 s' WHERE id = %s",
            user,
        )
        people.auth("PUT", f"/admin/users/{user}", asked).raise_for_status()
        people.sql("UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL WHERE id = %s", user)


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.long)])
def test_nothing_is_found_while_commands_run(
    people: People, ruler: Someone, auth_keys: AuthKeys, seconds: float
) -> None:
    ways = [in_process(people, ruler, auth_keys, proven=proven) for proven in (True, False)]
    commands, end = [Commands(people, ruler) for _ in range(2)], threading.Event()
    looks = 0
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(c.run, end) for c in commands]
        try:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline or looks < 2:
                for look in ways:
                    assert look() == {}
                looks += 1
        finally:
            end.set()
        for done in running:
            done.result()
    assert [c.rounds for c in commands if not c.rounds] == []


def test_user_that_changes_during_the_comparison_is_compared_again(
    people: People, ruler: Someone, auth_keys: AuthKeys
) -> None:
    """A command bans between the answer of Supabase and the look at the row: neither of the two is wrong."""
    someone = both(people, people.user(state=UserState.SUSPENDED))
    asked: list[str] = []

    def answer(request: Asked) -> httpx.Response:
        answered = request.passed_on(people.target.supabase_url)
        if request.path.endswith(str(someone.id)):
            asked.append(request.path)
            people.ban(someone)
            people.sql(
                "UPDATE bazar.users SET updated_at = clock_timestamp() WHERE id = %s AND %s", someone.id, first()
            )
        headers = {"X-Total-Count": answered.headers.get("X-Total-Count", "0")}
        return httpx.Response(answered.status_code, json=answered.json(), headers=headers)

    def first() -> bool:
        return len(asked) == 1

    with between(answer) as url, People(replace(people.target, supabase_url=url)) as there:
        assert in_process(there, ruler, auth_keys, proven=False)() == {}
    assert len(asked) == 2


# -- many ------------------------------------------------------------------------------------------------------


def test_ids_are_kept_in_little_room() -> None:
    ids = [uuid.uuid4() for _ in range(2000)]
    kept = IdSet()
    for wanted in [*ids, *ids]:
        kept.add(wanted)
    assert len(kept) == 2000
    assert all(wanted in kept for wanted in ids)
    assert not any(uuid.uuid4() in kept for _ in range(2000))


def test_the_middle_of_two_ids_is_no_id() -> None:
    kept = IdSet()
    for first in ("00000000-0000-0000-0000-00000000abab", "abababab-abab-abab-abab-abababababab"):
        kept.add(uuid.UUID(first))
    assert uuid.UUID("abababab-abab-abab-abab-abababababab") in kept
    assert uuid.UUID("0000abab-abab-abab-abab-abababababab") not in kept


# -- Postgres alone --------------------------------------------------------------------------------------------


def test_a_healthy_system_has_no_finding(bazar: Bazar, people: People) -> None:
    both(people, people.user({people.org(): Role.OWNER}))
    done = bazar("doctor", "-o", "json")
    assert findings(done) == {}
    assert {check["status"] for check in checks(done).values()} == {"ok"}
    assert checks(done)["marker"]["detail"] == "environment local, unprotected"


def test_single_superuser_is_shown_and_is_no_finding(bazar: Bazar, people: People) -> None:
    check = checks(bazar("doctor", "-o", "json"))["superusers"]
    assert (check["status"], check["count"]) == ("ok", 1)
    assert "if that account is lost" in check["detail"]
    people.superuser()
    assert checks(bazar("doctor", "-o", "json"))["superusers"]["detail"] == "2 active superusers on Premium"


def test_organizations_without_an_owner(bazar: Bazar, people: People) -> None:
    owned, empty, left, ending, lower, created, invited = (people.org() for _ in range(7))
    both(people, people.user({owned: Role.OWNER}))
    both(people, people.user({left: Role.OWNER}, state=UserState.SUSPENDED), banned=True)
    people.user({ending: Role.OWNER}, pending=Pending.DELETE)
    # Who is being created is about to own it, or is told of as pending.
    people.user({created: Role.OWNER}, pending=Pending.CREATE)
    people.user({invited: Role.OWNER}, pending=Pending.INVITE)
    at_it = "lease_owner = id, lease_until = now() + interval '1 h'"
    people.sql(f"UPDATE bazar.users SET {at_it} WHERE pending IS NOT NULL")
    both(people, people.user({lower: Role.ADMIN}))

    found = findings(bazar("doctor", "-o", "json"))

    assert list(found) == ["organizations-without-owner"]
    [check] = found.values()
    assert [(row["id"], row["name"]) for row in check["rows"]] == [
        (str(org.id), org.slug) for org in (empty, left, ending, lower)
    ]
    assert (check["status"], check["count"]) == ("failed", 4)
    assert "`bazar orgs members update ORG USER --role owner`" in check["remedy"]
    assert "`bazar orgs members add ORG USER --role owner`" in check["remedy"]


NOT_RULING = pytest.mark.parametrize(
    "change",
    ["plan = 'free'", "is_superuser = false", "state = 'suspended'"],
    ids=["on Free", "no superuser", "suspended"],
)


@NOT_RULING
@pytest.mark.parametrize("signed", [False, True], ids=["signed out", "signed in"])
def test_a_system_without_superuser_is_a_finding_for_everybody(
    tmp_path: Path, people: People, auth_keys: AuthKeys, ruler: Someone, change: str, signed: bool
) -> None:
    """It says nothing else: who could compare is missing."""
    people.sql(f"UPDATE bazar.users SET {change} WHERE id = %s", ruler.id)
    signed_out = Bazar(tmp_path / "nobody").on(people.target)
    bazar = signed_in(tmp_path, people, ruler, auth_keys, proven=True) if signed else signed_out
    check = checks(done := bazar("doctor", "-o", "json"))["superusers"]
    assert (done.code, check["status"], check["count"], check["rows"]) == (9, "failed", None, [])
    assert "SUPERUSER_EMAIL" in check["remedy"]


def test_migrations_are_skipped_for_a_signed_out_operator(tmp_path: Path, people: People) -> None:
    check = checks(Bazar(tmp_path).on(people.target)("doctor", "-o", "json"))["migrations"]
    assert check["status"] == "skipped"
    assert "signed in" in check["detail"]


def test_a_superuser_who_may_compare_and_does_not_rule(bazar: Bazar, people: People, ruler: Someone) -> None:
    people.sql("UPDATE bazar.users SET plan = 'plus' WHERE id = %s", ruler.id)
    people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', 'db:read')")
    try:
        done = bazar("doctor", "-o", "json")
    finally:
        people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus' AND permission = 'db:read'")
    assert list(findings(done)) == ["superusers"]
    assert checks(done)["pending"]["status"] == "ok"


@contextmanager
def plan_table_of(people: People, statement: str) -> Generator[None]:
    """Change the plan table for the block."""
    before = people.sql("SELECT plan, permission FROM bazar.plan_permissions")
    people.sql(statement)
    try:
        yield
    finally:
        people.sql("DELETE FROM bazar.plan_permissions")
        people.sql("INSERT INTO bazar.plans VALUES ('plus', 'Plus', 2) ON CONFLICT DO NOTHING")
        for row in before:
            people.sql("INSERT INTO bazar.plan_permissions VALUES (%s, %s)", row["plan"], row["permission"])


@pytest.mark.parametrize("lost", ["plans:manage", "db:migrate", "users:update", "db:read"])
def test_premium_lacks_what_it_must_keep(bazar: Bazar, people: People, lost: str) -> None:
    with plan_table_of(people, f"DELETE FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = '{lost}'"):
        found = findings(bazar("doctor", "-o", "json"))
        assert list(found) == ["plan-table"]
        [check] = found.values()
        assert (check["status"], [row["name"] for row in check["rows"]]) == ("failed", [f"premium {lost}"])
        assert f"`bazar plans grant premium {lost}`" in check["remedy"]
        people.sql(check["remedy"].partition("database: ")[2])
        assert findings(bazar("doctor", "-o", "json")) == {}


def test_what_premium_may_lose_and_what_is_unknown_is_no_finding(bazar: Bazar, people: People) -> None:
    change = (
        "WITH less AS (DELETE FROM bazar.plan_permissions WHERE permission IN ('files:read', 'users:delete'))"
        " INSERT INTO bazar.plan_permissions VALUES ('free', 'reports:read')"
    )
    with plan_table_of(people, change):
        done = bazar("doctor", "-o", "json")
    assert findings(done) == {}
    assert "not known to this release: free reports:read" in checks(done)["plan-table"]["detail"]


def test_a_plan_is_missing(bazar: Bazar, people: People) -> None:
    change = "WITH less AS (DELETE FROM bazar.plan_permissions WHERE plan = 'plus') SELECT 1"
    with plan_table_of(people, change):
        people.sql("DELETE FROM bazar.plans WHERE name = 'plus'")
        found = findings(bazar("doctor", "-o", "json"))
        [check] = found.values()
        assert [row["name"] for row in check["rows"]] == ["plus"]
        people.sql(check["remedy"].partition("database: ")[2].partition(";")[0])
        assert findings(bazar("doctor", "-o", "json")) == {}


# -- what others reach -----------------------------------------------------------------------------------------


@pytest.fixture
def data_api_roles(postgres_url: str) -> None:
    """The roles that Supabase's data API speaks as, on the server of the run."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for role in ("anon", "authenticated"):
            with suppress(errors.DuplicateObject, errors.UniqueViolation):
                connection.execute(f"CREATE ROLE {role} NOLOGIN".encode())


OPENED = {
    "no row security": ("ALTER TABLE bazar.users DISABLE ROW LEVEL SECURITY", "bazar.users", "no row security"),
    "a table": (
        "GRANT USAGE ON SCHEMA bazar TO anon; GRANT SELECT ON bazar.users TO anon",
        "bazar.users",
        "anon may SELECT",
    ),
    "one column": (
        "GRANT USAGE ON SCHEMA bazar TO authenticated; GRANT UPDATE (name) ON bazar.users TO authenticated",
        "bazar.users",
        "authenticated may UPDATE",
    ),
    "everybody": (
        "GRANT USAGE ON SCHEMA bazar TO PUBLIC; GRANT TRUNCATE ON bazar.plans TO PUBLIC",
        "bazar.plans",
        "PUBLIC may TRUNCATE",
    ),
    "the view": (
        "GRANT USAGE ON SCHEMA bazar TO anon; GRANT SELECT ON bazar.operators TO anon",
        "bazar.operators",
        "anon may SELECT",
    ),
    "a sequence": (
        "GRANT USAGE ON SCHEMA bazar TO anon; GRANT USAGE ON SEQUENCE bazar.audit_events_seq_seq TO anon",
        "bazar.audit_events_seq_seq",
        "anon may USAGE",
    ),
    "a function": (
        "GRANT USAGE ON SCHEMA bazar TO anon; CREATE FUNCTION bazar.\"Odd\"(a int) RETURNS void LANGUAGE sql AS ''",
        'bazar."Odd"(a integer)',
        "anon may EXECUTE",
    ),
    "making things": ("GRANT CREATE ON SCHEMA bazar TO anon", "schema bazar", "anon may CREATE"),
}


@pytest.mark.usefixtures("data_api_roles")
@pytest.mark.parametrize("what", OPENED)
def test_permissions_of_other_users_on_files(bazar: Bazar, people: People, what: str) -> None:
    statements, name, note = OPENED[what]
    try:
        for statement in statements.split("; "):
            people.sql(statement)
        found = findings(bazar("doctor", "-o", "json"))
        assert list(found) == ["tables-exposed"]
        [check] = found.values()
        [row] = [row for row in check["rows"] if row["name"] == name]
        assert note in row["note"]
        assert name in check["detail"]
        for statement in check["remedy"].partition("schema: ")[2].split(";"):
            if statement.strip():
                people.sql(statement)
        assert findings(bazar("doctor", "-o", "json")) == {}
    finally:
        people.sql('DROP FUNCTION IF EXISTS bazar."Odd"')


@pytest.mark.usefixtures("data_api_roles")
def test_what_nobody_reaches_without_the_schema(bazar: Bazar, people: People) -> None:
    people.sql("GRANT ALL ON ALL TABLES IN SCHEMA bazar TO anon, PUBLIC")
    try:
        assert findings(bazar("doctor", "-o", "json")) == {}
    finally:
        people.sql("REVOKE ALL ON ALL TABLES IN SCHEMA bazar FROM anon, PUBLIC")


# -- migrations ------------------------------------------------------------------------------------------------


def test_pending_migrations_skip_what_needs_them(bazar: Bazar, people: People) -> None:
    """An older schema lacks a column: the check that needs it says so, the others go on."""
    people.sql("ALTER TABLE bazar.alembic_version RENAME TO alembic_version_away")
    people.sql("ALTER TABLE bazar.organizations RENAME COLUMN created_at TO made_at")
    people.sql("ALTER TABLE bazar.users RENAME COLUMN lease_until TO leased_until")
    try:
        done = bazar("doctor", "-o", "json")
    finally:
        people.sql("ALTER TABLE bazar.alembic_version_away RENAME TO alembic_version")
        people.sql("ALTER TABLE bazar.organizations RENAME COLUMN made_at TO created_at")
        people.sql("ALTER TABLE bazar.users RENAME COLUMN leased_until TO lease_until")
    found = findings(done)
    assert list(found) == ["migrations"]
    assert (found["migrations"]["status"], found["migrations"]["rows"][0]["name"]) == ("failed", "0001")
    assert found["migrations"]["remedy"] == "run `bazar db migrate`"
    for name in ("organizations-without-owner", "pending"):
        assert checks(done)[name]["status"] == "skipped"
        assert "0001" in checks(done)[name]["detail"]
    assert checks(done)["plan-table"]["status"] == "ok"


def test_a_newer_release_migrated(bazar: Bazar, people: People) -> None:
    [before] = people.sql("SELECT version_num FROM bazar.alembic_version")
    people.sql("UPDATE bazar.alembic_version SET version_num = '9999'")
    try:
        found = findings(bazar("doctor", "-o", "json"))
    finally:
        people.sql("UPDATE bazar.alembic_version SET version_num = %s", before["version_num"])
    assert {name: check["status"] for name, check in found.items()} == {"migrations": "warning"}
    assert "9999" in found["migrations"]["detail"]


def test_a_column_that_is_gone_at_the_head_is_a_finding(bazar: Bazar, people: People) -> None:
    people.sql("ALTER TABLE bazar.organizations RENAME COLUMN created_at TO made_at")
    try:
        found = findings(bazar("doctor", "-o", "json"))
    finally:
        people.sql("ALTER TABLE bazar.organizations RENAME COLUMN made_at TO created_at")
    assert list(found) == ["organizations-without-owner"]


def test_a_database_without_tables(tmp_path: Path, people: People, fresh_database: Callable[[], str]) -> None:
    bazar = Bazar(tmp_path).on(people.target).having(DATABASE_URL=fresh_database())
    done = bazar("doctor", "-o", "json")
    assert list(findings(done)) == ["migrations"]
    assert "`bazar db migrate`" in checks(done)["migrations"]["remedy"]
    assert checks(done)["superusers"]["status"] == "skipped"


def test_a_lost_marker(bazar: Bazar, people: People) -> None:
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    people.sql("DELETE FROM bazar.deployment")
    try:
        done = bazar("doctor", "-o", "json")
    finally:
        people.sql(
            "INSERT INTO bazar.deployment (id, environment, protected) VALUES (%s, 'local', false)", marker["id"]
        )
    assert list(findings(done)) == ["marker"]
    assert checks(done)["pending"]["status"] == "skipped"


# -- the way there ---------------------------------------------------------------------------------------------


def test_plain_text_to_supabase_is_a_warning(tmp_path: Path, people: People) -> None:
    """A name may lead to this machine and is none of its loopback addresses."""
    target = replace(people.target, supabase_url="http://db.internal:9")
    bazar = Bazar(tmp_path).on(target).having(BAZAR_ALLOW_PLAINTEXT="db.internal, pg.internal")
    check = checks(bazar("doctor", "-o", "json"))["connection"]
    assert (check["status"], "db.internal (http)" in check["detail"]) == ("warning", True)
    assert "BAZAR_ALLOW_PLAINTEXT" in check["remedy"]


def test_plain_text_to_the_database_of_migrations_is_a_warning(tmp_path: Path, people: People) -> None:
    migrations = {"DATABASE_MIGRATION_URL": "postgresql://u:very-secret@pg.internal/x"}
    bazar = Bazar(tmp_path).on(people.target).having(**migrations, BAZAR_ALLOW_PLAINTEXT="pg.internal")
    check = checks(done := bazar("doctor", "-o", "json"))["connection"]
    assert (check["status"], "migrations at pg.internal" in check["detail"]) == ("warning", True)
    assert "very-secret" not in done.out


def test_plain_text_to_postgres_is_reported_by_the_connection(people: People) -> None:
    """No server of the suite listens beyond this machine, so the check is given what the probe would find."""
    place = Place("pg.internal", "bazar", None, "16.4")
    plain, encrypted = (public_checks.connection(people.target, DatabaseProbe(place, p, 0.0)) for p in (True, False))
    assert (plain.status, "Postgres at pg.internal" in plain.detail) == (Health.WARNING, True)
    assert encrypted.status is Health.OK
    assert public_checks.connection(people.target, None).status is Health.SKIPPED


@pytest.mark.parametrize(
    ("auth", "database", "status"),
    [(0.9, 0.1, "ok"), (-59, 59, "ok"), (61, 0, "warning"), (0, -61, "warning"), (-301, 0, "failed"), (None, 0, "ok")],
)
def test_how_far_clocks_may_differ(auth: float | None, database: float, status: str) -> None:
    found = public_checks.clock(
        auth, DatabaseProbe(Place("", "", None, ""), plaintext=False, clock_skew_seconds=database)
    )
    assert (found.status.value, bool(found.remedy)) == (status, status != "ok")
    assert "60 s" in found.detail
    assert "300 s" in found.detail
    assert public_checks.clock(None, None).status is Health.SKIPPED


def test_a_revision_was_applied_from_another_file(bazar: Bazar, people: People) -> None:
    [before] = people.sql("SELECT id, checksum FROM bazar.migration_log WHERE revision = '0003'")
    people.sql("UPDATE bazar.migration_log SET checksum = repeat('0', 64) WHERE id = %s", before["id"])
    try:
        found = findings(bazar("doctor", "-o", "json"))
    finally:
        people.sql("UPDATE bazar.migration_log SET checksum = %s WHERE id = %s", before["checksum"], before["id"])
    assert {name: (check["status"], check["rows"][0]["name"]) for name, check in found.items()} == {
        "migrations": ("failed", "0003")
    }
