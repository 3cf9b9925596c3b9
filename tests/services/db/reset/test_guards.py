"""Who may reset, which database, and what changed since they were asked."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bazar_cli.adapters.migrations import session
from bazar_cli.adapters.migrations.reset import resetter
from bazar_cli.domain.db.reset import RESET, ResetDatabase
from bazar_cli.domain.errors import BackendUnavailable, Conflict, Refused
from bazar_cli.domain.secrets import Secret
from bazar_cli.services.db.reset import reset
from tests.services.db.reset.support import after_preview, by_bootstrap, refused, run, url_of
from tests.support.people import People, Someone, an_address, granted
from tests.support.postgres import name_of

Databases = Callable[..., str]


def test_rights_are_looked_at_again_with_the_tables_locked(alone: People) -> None:
    ruler = alone.superuser()
    alone.superuser()
    grant = granted(alone.operator(ruler), RESET)
    alone.sql("UPDATE bazar.users SET plan = 'plus' WHERE id = %s", ruler.id)
    with refused(alone, Conflict, "access.changed"):
        alone.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(alone))))


def test_port_of_a_transaction_pooler_is_refused_before_anything_connects(alone: People) -> None:
    ruler = alone.superuser()
    # Nobody listens there: whoever connects ends with `postgres.unavailable`.
    target = replace(alone.target, migration_url=Secret("postgresql://nobody@127.0.0.1:6543/nowhere"))
    with People(target) as astray:
        for dry_run in (False, True):
            with refused(alone, Refused, "db.transaction_pooler"):
                run(astray, ruler, dry_run=dry_run)


def test_superuser_made_meanwhile_stops_a_bootstrap(alone: People) -> None:
    first = alone.user()
    grant = by_bootstrap(first)
    alone.superuser()
    with refused(alone, Conflict, "access.changed"):
        alone.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(alone))))


@pytest.mark.parametrize("state", ["unknown", "a user", "suspended"])
def test_missing_view_does_not_let_superuser_email_take_over(alone: People, state: str) -> None:
    alone.superuser()
    someone = Someone(uuid.uuid4(), an_address()) if state == "unknown" else alone.user(superuser=state == "suspended")
    alone.sql("UPDATE bazar.users SET plan = 'premium', state = 'suspended' WHERE id = %s AND is_superuser", someone.id)
    alone.sql("DROP VIEW bazar.operators")
    with refused(alone, Conflict, "db.superuser_exists") as error:
        alone.run_with(by_bootstrap(someone), reset, ResetDatabase(confirm=name_of(url_of(alone))))
    assert f"{someone.email} is not one" in error.message


def test_superusers_that_row_security_hides_stop_a_bootstrap(plain: People) -> None:
    plain.superuser()
    plain.sql("DROP VIEW bazar.operators")
    grant = by_bootstrap(plain.user())
    plain.sql("ALTER TABLE bazar.users FORCE ROW LEVEL SECURITY")
    with pytest.raises(Conflict) as error:
        plain.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(plain))))
    assert error.value.code == "postgres.privilege"
    plain.sql("ALTER TABLE bazar.users NO FORCE ROW LEVEL SECURITY")
    assert plain.sql("SELECT count(*) AS n FROM bazar.users") == [{"n": 2}]


def test_database_must_be_the_one_where_the_operator_was_found(alone: People, fresh_database: Databases) -> None:
    ruler, url = alone.superuser(), fresh_database(migrated=True)
    other = replace(alone.target, migration_url=Secret(url))
    with People(replace(other, database_url=Secret(url))) as there, People(other) as astray:
        there.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
        there.sql("INSERT INTO bazar.users SELECT (jsonb_populate_record(NULL::bazar.users, %s)).*", _row(alone, ruler))
        with refused(there, Conflict, "db.urls_differ"):
            astray.run(ruler, reset, RESET, ResetDatabase(confirm=name_of(url_of(there))))


def _row(people: People, someone: Someone) -> Jsonb:
    (found,) = people.sql("SELECT to_jsonb(u) AS row FROM bazar.users u WHERE id = %s", someone.id)
    return Jsonb(found["row"])


def test_marker_is_read_again_under_the_lock(alone: People, monkeypatch: pytest.MonkeyPatch) -> None:
    ruler = alone.superuser()
    after_preview(monkeypatch, lambda: alone.sql("UPDATE bazar.deployment SET protected = true"))
    with pytest.raises(Refused) as error:
        run(alone, ruler)
    assert error.value.code == "db.protected"
    assert alone.row(ruler) is not None
    assert alone.sql("SELECT count(*) AS n FROM bazar.audit_events") == [{"n": 0}]


def test_sessions_that_hold_a_table_are_named(alone: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "RETRIES", 0)
    monkeypatch.setattr(resetter, "_LOCK_SECONDS", 0.3)
    ruler = alone.superuser()
    with psycopg.connect(url_of(alone), application_name="a long report") as reader:
        reader.execute("SELECT FROM bazar.users")
        with refused(alone, BackendUnavailable, "postgres.busy") as error:
            run(alone, ruler)
        with refused(alone, BackendUnavailable, "postgres.busy"):
            run(alone, ruler, dry_run=True)
    assert "the reset needs stayed locked" in error.message
    assert "a long report" in error.message
