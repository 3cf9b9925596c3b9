"""Runs of an import as `stage` leaves them, and what came of their rows in both systems."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from bazar_cli.domain.entities import Role
from bazar_cli.domain.imports.imports import ImportRun, OnConflict, Via
from bazar_cli.domain.progress import ignored
from bazar_cli.domain.target import Target
from bazar_cli.services.imports.apply import apply
from bazar_cli.services.users.ids import time_ordered_uuid
from tests.support.gates import gate_of
from tests.support.people import OLD_HASH, Org, People, Someone, an_address

_INSERT_RUN = """
    INSERT INTO bazar.import_runs (id, content_hash, columns, via, on_conflict, operator_id, operator_email, request_id,
                                   rows, staged_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, 'test-request', %s, now()) RETURNING *
"""
_INSERT_ROW = """
    INSERT INTO bazar.import_rows (run_id, line, email, user_id, name, plan, organizations, user_metadata, app_metadata,
                                   password_hash, action, chosen_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


@dataclass
class Row:
    """A row of a file, by default of a new user whose password is `people.OLD_PASSWORD`."""

    email: str = field(default_factory=an_address)
    name: str | None = None
    plan: str | None = None
    roles: Mapping[Org, Role] = field(default_factory=dict[Org, Role])
    user_metadata: Mapping[str, object] | None = None
    app_metadata: Mapping[str, object] | None = None
    password_hash: str | None = OLD_HASH
    id: uuid.UUID = field(default_factory=time_ordered_uuid)
    action: str = "create"


@contextmanager
def refusing_trigger(people: People) -> Generator[str]:
    """Let a trigger of others on `auth.users` refuse addresses that begin with a text, which the context returns."""
    people.sql(
        "CREATE FUNCTION public.their_rule() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'not at our company'; END$$"
    )
    people.sql(
        "CREATE TRIGGER their_rule BEFORE INSERT ON auth.users FOR EACH ROW WHEN (starts_with(NEW.email, 'unwanted'))"
        " EXECUTE FUNCTION public.their_rule()"
    )
    try:
        yield "unwanted"
    finally:
        people.sql("DROP FUNCTION public.their_rule() CASCADE")


def rows(count: int) -> list[Row]:
    """Make rows of this many new users."""
    return [Row() for _ in range(count)]


@dataclass
class Importing:
    """Imports of one operator into one target."""

    people: People
    operator: Someone

    def stage(
        self, file: Sequence[Row], via: Via, on_conflict: OnConflict = OnConflict.FAIL, *, chosen_ids: bool = False
    ) -> ImportRun:
        """Write a run and its rows; their lines begin at 2, below the names of the columns."""
        columns = ["email", "name", "plan", "organizations", "user_metadata", "password_hash"]
        columns += ["app_metadata"] if any(row.app_metadata for row in file) else []
        columns += ["id"] if chosen_ids else []
        run_id, content = uuid.uuid4(), secrets.token_bytes(32)
        (run,) = self.people.sql(
            _INSERT_RUN,
            *(run_id, content, columns, via.value, on_conflict.value, self.operator.id, self.operator.email, len(file)),
        )
        for line, row in enumerate(file, 2):
            places = [{"id": str(o.id), "slug": o.slug, "role": role.value} for o, role in row.roles.items()]
            self.people.sql(
                _INSERT_ROW,
                *(run_id, line, row.email, row.id, row.name, row.plan, Jsonb(places) if places else None),
                *(None if m is None else Jsonb(m) for m in (row.user_metadata, row.app_metadata)),
                *(row.password_hash, row.action, chosen_ids),
            )
        values: dict[str, Any] = {**run, "columns": tuple(run["columns"]), "via": via, "on_conflict": on_conflict}
        return ImportRun(**values)

    def apply(
        self,
        run: ImportRun,
        ended: Callable[[], bool] = lambda: False,
        *,
        target: Target | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Apply the open rows, as one command does."""
        with gate_of(self.people, self.operator, target) as gate:
            apply(gate, run, ignored, ended, concurrency)

    def results(self, run: ImportRun) -> list[dict[str, Any]]:
        """Return the rows of a run by line."""
        return self.people.sql("SELECT * FROM bazar.import_rows WHERE run_id = %s ORDER BY line", run.id)

    def statuses(self, run: ImportRun) -> list[tuple[str, str | None]]:
        """Return status and code of each row by line."""
        return [(row["status"], row["code"]) for row in self.results(run)]

    def assert_exact(self, run: ImportRun, file: Sequence[Row]) -> None:
        """Assert that every row was created once, in both systems under its id, with one event and nothing left."""
        assert self.statuses(run) == [("created", None)] * len(file)
        found = self.people.sql(
            "SELECT id, email, name, plan, pending, lease_owner, updated_at FROM bazar.users WHERE email = ANY(%s)",
            [row.email for row in file],
        )
        wanted = {(row.id, row.email, row.name, row.plan or "free", None, None) for row in file}
        assert {tuple(u.values())[:-1] for u in found} == wanted
        assert len(found) == len(file)
        results = self.results(run)
        assert {(r["user_id"], r["user_updated_at"]) for r in results} == {(u["id"], u["updated_at"]) for u in found}
        kept = ("password_hash", "name", "plan", "user_metadata", "app_metadata", "claim", "claimed_until")
        assert {r[name] for r in results for name in kept} == {None}
        identities = {(row.id, row.email) for row in file}
        assert {(i["id"], i["email"]) for row in file for i in self.people.identities(row.email)} == identities
        made = self.people.sql(
            "SELECT target_id, count(*) FROM bazar.audit_events WHERE target_id = ANY(%s)"
            " AND use_case = 'users.import' AND outcome = 'done' AND after ? 'email' GROUP BY 1",
            [str(row.id) for row in file],
        )
        assert {(m["target_id"], m["count"]) for m in made} == {(str(row.id), 1) for row in file}
