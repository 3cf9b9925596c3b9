"""The audit log proves itself: tampering is named, sealing loses nothing and keeps nobody waiting."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from bazar_cli.domain import audit as use_cases
from bazar_cli.domain.audit import Break, Verification, VerifyLog
from bazar_cli.domain.doctor import COMPARE, Check, Health
from bazar_cli.domain.errors import UsageError
from bazar_cli.services.audit import read as audit
from bazar_cli.services.doctor.postgres_checks import PostgresChecks
from bazar_cli.services.gate.backends import Backends
from tests.support.people import People, Someone, granted
from tests.support.postgres import target_of

Databases = Callable[..., str]

UNLOCK = tuple(f"ALTER TABLE bazar.{table} DISABLE TRIGGER USER" for table in ("audit_events", "audit_seals"))
EVENT_HASH = """
    UPDATE bazar.audit_events SET hash = sha256(convert_to(jsonb_build_array(
        id, seq, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC'), operator_id,
        operator_email, use_case, outcome, target_type, target_id, organization_id, before::text, after::text,
        reason, request_id)::text, 'UTF8'))
"""
SET, DELETE = "UPDATE bazar.audit_events SET", "DELETE FROM bazar.audit_events"
SET_SEAL, DELETE_SEAL = "UPDATE bazar.audit_seals SET", "DELETE FROM bazar.audit_seals"
REQUEUE = "INSERT INTO bazar.audit_unsealed SELECT seq, id FROM bazar.audit_events WHERE seq = 5"
SEAL_HASH = """
    UPDATE bazar.audit_seals SET hash = sha256(int8send(position) || previous
        || convert_to(to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC'), 'UTF8') || entries)
"""


@pytest.fixture
def vault(fresh_database: Databases) -> Generator[People]:
    """A database with 30 events in three seals, and two that wait."""
    with People(target_of(fresh_database(migrated=True))) as arranged:
        arranged.superuser()
        for _ in range(3):
            insert(arranged, 10)
            arranged.sql("SELECT bazar.seal_audit(NULL)")
        insert(arranged, 2)
        yield arranged


def insert(people: People, count: int) -> None:
    people.sql(
        "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, target_id, request_id)"
        " SELECT gen_random_uuid(), 'x', 'users.create', 'done', 'user', n, 'r' FROM generate_series(1, %s) n",
        count,
    )


def verified(people: People, expect: str | None = None, *, dry_run: bool = True) -> Verification:
    [ruler] = people.sql("SELECT id, email FROM bazar.users WHERE is_superuser LIMIT 1")
    who = Someone(ruler["id"], ruler["email"])
    return people.run(who, audit.verify, use_cases.VERIFY, VerifyLog(expect), dry_run=dry_run)


def inspected(people: People) -> dict[str, Check]:
    """What `doctor` sees of the database, by the names of its checks."""
    [ruler] = people.sql("SELECT id, email FROM bazar.users WHERE is_superuser LIMIT 1")
    grant = granted(people.operator(Someone(ruler["id"], ruler["email"])), COMPARE)
    with Backends(people.target, "test-request") as backends:
        return {check.name: check for check in PostgresChecks(backends, grant).all()}


def tamper(people: People, *statements: str) -> None:
    """Do as the owner of the database can."""
    for statement in (*UNLOCK, *statements):
        people.sql(statement)


def event(people: People, seq: int) -> uuid.UUID:
    return people.sql("SELECT id FROM bazar.audit_events WHERE seq = %s", seq)[0]["id"]


def test_an_untouched_log_is_whole(vault: People) -> None:
    before = verified(vault)
    assert (before.whole, before.events, before.seals, before.unsealed) == (True, 32, 3, 2)
    after = verified(vault, dry_run=False)
    assert (after.whole, after.events, after.seals, after.unsealed) == (True, 32, 4, 0)
    again = verified(vault, before.head, dry_run=False)
    assert (again.whole, again.head, again.seals) == (True, after.head, 4)
    assert after.head != before.head


def test_a_log_without_events_is_whole(fresh_database: Databases) -> None:
    with People(target_of(fresh_database(migrated=True))) as people:
        people.superuser()
        found = verified(people, dry_run=False)
    assert (found.whole, found.events, found.seals, found.head) == (True, 0, 0, None)


# Each as the owner of the database could: what was done, and what is named first: its kind, and an event's seq or a
# seal's position.
TAMPERED: dict[str, tuple[tuple[str, ...], Break, int]] = {
    "a changed event": ((f"{SET} reason = 'x' WHERE seq = 15",), Break.EVENT_CHANGED, 15),
    "a changed time": (
        (f"{SET} occurred_at = occurred_at + interval '1 microsecond' WHERE seq = 30",),
        Break.EVENT_CHANGED,
        30,
    ),
    "a JSON null for nothing": ((f"{SET} after = 'null' WHERE seq = 3",), Break.EVENT_CHANGED, 3),
    "a changed event that waits": ((f"{SET} reason = 'x' WHERE seq = 31",), Break.EVENT_CHANGED, 31),
    "a changed event with its hash": (
        (f"{SET} operator_email = 'y' WHERE seq = 15", f"{EVENT_HASH} WHERE seq = 15"),
        Break.EVENT_CHANGED,
        15,
    ),
    "no hash": (
        ("ALTER TABLE bazar.audit_events ALTER hash DROP NOT NULL", f"{SET} hash = NULL WHERE seq = 8"),
        Break.EVENT_CHANGED,
        8,
    ),
    "two changed events": ((f"{SET} reason = 'x' WHERE seq IN (25, 4)",), Break.EVENT_CHANGED, 4),
    "a removed event": ((f"{DELETE} WHERE seq = 15",), Break.EVENT_REMOVED, 15),
    "a removed event that waits": ((f"{DELETE} WHERE seq = 32",), Break.EVENT_REMOVED, 32),
    "a removed event before a changed one": (
        (f"{DELETE} WHERE seq = 11", f"{SET} reason = 'x' WHERE seq IN (12, 20)"),
        Break.EVENT_REMOVED,
        11,
    ),
    "a changed event before a removed one": (
        (f"{DELETE} WHERE seq = 11", f"{SET} reason = 'x' WHERE seq = 10"),
        Break.EVENT_CHANGED,
        10,
    ),
    "all events": ((DELETE,), Break.EVENT_REMOVED, 1),
    "an inserted event": (
        (
            """
            INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id, hash)
            VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', '')
            """,
            f"{EVENT_HASH} WHERE seq > 32",
        ),
        Break.EVENT_INSERTED,
        33,
    ),
    "an inserted event with another hash": (
        (
            """
            INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id, hash)
            VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', '')
            """,
        ),
        Break.EVENT_INSERTED,
        33,
    ),
    "an event that came out of the queue": (
        ("DELETE FROM bazar.audit_unsealed WHERE seq = 31",),
        Break.EVENT_INSERTED,
        31,
    ),
    "a sealed event queued again": ((REQUEUE,), Break.EVENT_REPEATED, 5),
    "an event sealed twice": ((REQUEUE, "SELECT bazar.seal_audit(NULL)"), Break.EVENT_REPEATED, 5),
    "a copy of an event": (
        (
            "ALTER TABLE bazar.audit_events DROP CONSTRAINT audit_events_pkey, DROP CONSTRAINT audit_events_seq_key",
            """
            INSERT INTO bazar.audit_events OVERRIDING SYSTEM VALUE SELECT * FROM bazar.audit_events WHERE seq = 5
            """,
        ),
        Break.EVENT_REPEATED,
        5,
    ),
    "a changed seal": ((f"{SET_SEAL} sealed_at = now() WHERE position = 2",), Break.SEAL_CHANGED, 2),
    "a seal with another hash": (
        (f"{SET_SEAL} sealed_at = now() WHERE position = 2", f"{SEAL_HASH} WHERE position = 2"),
        Break.SEAL_CHANGED,
        3,
    ),
    "entries cut short": (
        (
            "ALTER TABLE bazar.audit_seals DROP CONSTRAINT audit_seals_entries_check",
            f"{SET_SEAL} entries = substr(entries, 1, 470) WHERE position = 3",
        ),
        Break.SEAL_CHANGED,
        3,
    ),
    "the first seal": ((f"{DELETE_SEAL} WHERE position = 1",), Break.SEAL_REMOVED, 1),
    "a seal in the middle": ((f"{DELETE_SEAL} WHERE position = 2",), Break.SEAL_REMOVED, 2),
    "the last seals": ((f"{DELETE_SEAL} WHERE position > 1",), Break.EVENT_INSERTED, 11),
    "two seals swapped": (
        (
            f"{SET_SEAL} position = -position WHERE position IN (2, 3)",
            f"{SET_SEAL} position = 5 + position WHERE position < 0",
        ),
        Break.SEAL_CHANGED,
        2,
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_named(vault: People, what: str) -> None:
    statements, kind, place = TAMPERED[what]
    ids = {row["seq"]: row["id"] for row in vault.sql("SELECT seq, id FROM bazar.audit_events")}
    tamper(vault, *statements)

    found = verified(vault)

    assert not found.whole
    first = found.findings[0]
    assert first.kind is kind, first.message
    if kind.value.startswith("event"):
        assert first.event_id == (ids.get(place) or event(vault, place))
        assert str(first.event_id) in first.message
    else:
        assert first.seal == place
    if kind is Break.EVENT_CHANGED:
        assert (first.action, first.at is not None) == ("users.create", True)
    # Sealing takes no trace away: what is broken stays so.
    assert not verified(vault, dry_run=False).whole


def test_a_log_that_was_rewritten_is_known_by_a_head_that_was_kept(vault: People) -> None:
    kept = verified(vault).head
    tamper(
        vault,
        f"{SET} reason = 'x' WHERE seq = 1",
        EVENT_HASH,
        DELETE_SEAL,
        "DELETE FROM bazar.audit_unsealed",
        "INSERT INTO bazar.audit_unsealed SELECT seq, id FROM bazar.audit_events",
        "SELECT bazar.seal_audit(NULL)",
    )

    assert verified(vault).whole, "a chain alone does not prove that its owner did not write it anew"
    found = verified(vault, kept)
    assert [f.kind for f in found.findings] == [Break.NOT_AS_EXPECTED]
    assert str(kept) in found.findings[0].message


def test_events_older_than_the_one_before_them_are_counted_and_break_nothing(vault: People) -> None:
    assert verified(vault).out_of_order == ()
    for age in ("59 minutes", "61 minutes"):
        vault.sql(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id,"
            " occurred_at) VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r', now() - %s::interval)",
            age,
        )

    found = verified(vault, dry_run=False)

    assert (found.whole, [f.event_id for f in found.out_of_order]) == (True, [event(vault, 34)])


def test_a_function_that_lies_is_not_asked(vault: People) -> None:
    [database] = vault.sql("SELECT current_database() AS name")
    tamper(
        vault,
        f"{SET} reason = 'x' WHERE seq = 15",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT 'the same'::bytea $$",
        f'ALTER DATABASE "{database["name"]}" SET search_path = public, pg_catalog',
    )

    with People(vault.target) as people:
        assert [f.event_id for f in verified(people).findings] == [event(vault, 15)]


@pytest.mark.parametrize("hash_", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_an_invalid_hash_is_refused(people: People, hash_: str) -> None:
    with pytest.raises(UsageError) as refused:
        people.run(people.superuser(), audit.verify, use_cases.VERIFY, VerifyLog(hash_), dry_run=True)
    assert refused.value.code == "audit.hash_invalid"


# -- many at once -------------------------------------------------------------------------------------------


@contextmanager
def a_writer(people: People, count: int) -> Generator[psycopg.Connection]:
    """An open transaction that wrote this number of events: from 64 on it holds a seal that nobody sees."""
    with psycopg.connect(people.target.database_url.reveal()) as connection:
        connection.execute(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
            " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r' FROM generate_series(1, %s) n",
            (count,),
        )
        yield connection


def test_no_writer_waits_for_another(vault: People) -> None:
    with a_writer(vault, 70) as sealing, a_writer(vault, 1) as other:
        [(own,)] = sealing.execute("SELECT count(*) FROM bazar.audit_seals WHERE position > 3").fetchall()
        assert own, "the first writer is in the middle of a seal"
        with psycopg.connect(vault.target.database_url.reveal(), autocommit=True) as third:
            third.execute("SET lock_timeout = '1ms'")
            for _ in range(130):
                third.execute(
                    "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
                    " VALUES (gen_random_uuid(), 'x', 'u', 'done', 'user', 'r')"
                )
        meanwhile = verified(vault, dry_run=False)
        assert (meanwhile.whole, meanwhile.events, meanwhile.unsealed) == (True, 162, 132)
        # The one that seals gives up; the other commits late, after events that have higher numbers.
        sealing.rollback()
        assert verified(vault, dry_run=False).unsealed == 0
        other.commit()
    late = verified(vault)
    assert (late.whole, late.events, late.unsealed) == (True, 163, 1)
    assert verified(vault, dry_run=False).unsealed == 0


def test_a_transaction_with_one_snapshot_seals_nothing_and_fails_at_nothing(vault: People) -> None:
    with psycopg.connect(vault.target.database_url.reveal()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM bazar.audit_seals")
        insert(vault, 64)
        connection.execute(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
            " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r' FROM generate_series(1, 64) n"
        )
    assert verified(vault, dry_run=False).whole


def test_twenty_writers_while_it_is_verified(vault: People) -> None:
    done = threading.Event()

    def write(_number: int) -> None:
        with psycopg.connect(vault.target.database_url.reveal()) as connection:
            for turn in range(12):
                connection.execute(
                    "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
                    " SELECT gen_random_uuid(), 'x', 'u', 'done', 'user', 'r' FROM generate_series(1, %s) n",
                    (1 + secrets.randbelow(9),),
                )
                connection.rollback() if turn % 4 == 3 else connection.commit()

    def check() -> list[Verification]:
        found: list[Verification] = []
        while not done.is_set():
            found.append(verified(vault, found[-1].head if found else None, dry_run=False))
        return found

    with ThreadPoolExecutor(21) as pool:
        checks = pool.submit(check)
        list(pool.map(write, range(20)))
        done.set()
        results = checks.result()
    assert [f for r in results for f in r.findings] == []
    last = verified(vault, results[-1].head, dry_run=False)
    assert (last.whole, last.unsealed) == (True, 0)
    assert last.events > 20 * 9


def test_a_seal_costs_the_same_in_a_long_log(vault: People) -> None:
    insert(vault, 5_000)
    with a_writer(vault, 128) as connection:
        [(read,)] = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relid = 'bazar.audit_events'::regclass"
        ).fetchall()
    assert 128 <= read < 1_000, "whoever seals looks its events up by their keys"


def test_a_sealing_writer_that_is_killed_leaves_no_half_seal(vault: People) -> None:
    with a_writer(vault, 70) as doomed:
        vault.sql("SELECT pg_terminate_backend(%s)", doomed.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("SELECT 1")
    found = verified(vault, dry_run=False)
    assert (found.whole, found.events, found.unsealed) == (True, 32, 0)


OF_OTHERS = "ON bazar.audit_events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
ANOTHER = "CREATE OR REPLACE TRIGGER"
GAPS = {
    "rule": (
        "CREATE RULE lost AS ON INSERT TO bazar.audit_events DO INSTEAD NOTHING",
        "the rule lost on bazar.audit_events",
    ),
    "rule on the queue": (
        'CREATE RULE "Also Lost" AS ON INSERT TO bazar.audit_unsealed DO INSTEAD NOTHING',
        "the rule Also Lost on bazar.audit_unsealed",
    ),
    "disabled": (
        "ALTER TABLE bazar.audit_events DISABLE TRIGGER audit_events_refuse_change",
        "the trigger audit_events_refuse_change of bazar.audit_events is disabled",
    ),
    "disabled but for replicas": (
        "ALTER TABLE bazar.audit_seals ENABLE REPLICA TRIGGER audit_seals_refuse_truncate",
        "the trigger audit_seals_refuse_truncate of bazar.audit_seals is disabled",
    ),
    "enabled, but not always": (
        "ALTER TABLE bazar.audit_events ENABLE TRIGGER audit_events_refuse_change",
        "the trigger audit_events_refuse_change of bazar.audit_events is off where session_replication_role is replica",
    ),
    "with a condition": (
        (
            f"{ANOTHER} audit_events_queue AFTER INSERT ON bazar.audit_events FOR EACH ROW WHEN (false)"
            " EXECUTE FUNCTION bazar.audit_queue_event()"
        ),
        "the trigger audit_events_queue of bazar.audit_events is not as bazar made it",
    ),
    "with another function": (
        f"{ANOTHER} audit_events_hash BEFORE INSERT {OF_OTHERS}",
        "the trigger audit_events_hash of bazar.audit_events is not as bazar made it",
    ),
    "for other events": (
        (
            f"{ANOTHER} audit_seals_refuse_change BEFORE UPDATE OF position OR DELETE ON bazar.audit_seals FOR EACH ROW"
            " EXECUTE FUNCTION bazar.audit_refuse_change()"
        ),
        "the trigger audit_seals_refuse_change of bazar.audit_seals is not as bazar made it",
    ),
    "dropped": (
        "DROP TRIGGER audit_events_queue ON bazar.audit_events",
        "the trigger audit_events_queue of bazar.audit_events is gone",
    ),
    "added": (
        f"CREATE TRIGGER a BEFORE INSERT {OF_OTHERS}",
        "the trigger a on bazar.audit_events is not bazar's",
    ),
    "at its end": (
        "ALTER TABLE bazar.audit_events ALTER COLUMN seq SET MAXVALUE 32",
        "the sequence bazar.audit_events_seq_seq, which numbers events, is at its end",
    ),
    "at the end of bigint": (
        "SELECT setval('bazar.audit_events_seq_seq', 9223372036854775807)",
        "the sequence bazar.audit_events_seq_seq, which numbers events, is at its end",
    ),
    "set back": (
        "SELECT setval('bazar.audit_events_seq_seq', 1)",
        "the sequence bazar.audit_events_seq_seq, which numbers events, continues at 2, but events have numbers up",
    ),
    "backwards": (
        "ALTER TABLE bazar.audit_events ALTER COLUMN seq SET INCREMENT -1",
        "the sequence bazar.audit_events_seq_seq, which numbers events, continues at 31, but events",
    ),
    "begun again": (
        "ALTER TABLE bazar.audit_events ALTER COLUMN seq RESTART",
        "the sequence bazar.audit_events_seq_seq, which numbers events, continues at 1, but events have numbers up",
    ),
    "without a sequence": (
        "ALTER TABLE bazar.audit_events ALTER COLUMN seq DROP IDENTITY",
        "the column seq of bazar.audit_events has no sequence",
    ),
    "in circles": (
        "ALTER TABLE bazar.audit_events ALTER COLUMN seq SET CYCLE",
        "the sequence bazar.audit_events_seq_seq, which numbers events, begins again at its end",
    ),
}


@pytest.mark.parametrize("what", GAPS)
def test_disabled_triggers_of_the_log_are_named_and_enabled(vault: People, what: str) -> None:
    statement, said = GAPS[what]
    assert verified(vault).unguarded == ()
    vault.sql(statement)
    found = verified(vault)
    assert found.whole
    (gap,) = found.unguarded
    assert gap.message.startswith(said)
    check = inspected(vault)["audit-tables"]
    assert (check.status, check.count) == (Health.FAILED, 1)
    assert gap.remedy in check.remedy
    if "create it" in gap.remedy:
        return
    vault.sql(gap.remedy)
    insert(vault, 1)
    assert verified(vault).unguarded == ()


def test_others_may_listen(vault: People) -> None:
    """A trigger after the event changes nothing of it."""
    vault.sql(f"CREATE TRIGGER z AFTER INSERT {OF_OTHERS}")
    assert verified(vault).unguarded == ()
