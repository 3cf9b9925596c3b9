"""Files of `users import`, their results, and what both systems have of their rows."""

from __future__ import annotations

import csv
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.people import OLD_HASH, RUN, People


@dataclass
class UsersFile:
    """A CSV file of new users, whose password is `people.OLD_PASSWORD`."""

    folder: Path
    size: int
    tag: str = field(default_factory=lambda: f"{secrets.token_hex(4)}.{RUN}")

    def __post_init__(self) -> None:
        with self.path.open("w", newline="") as file:
            written = csv.writer(file)
            written.writerow(["email", "name", "password_hash"])
            written.writerows([email, "Ada", OLD_HASH] for email in self.emails)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.tag}.csv"

    @property
    def emails(self) -> list[str]:
        """The addresses, in the order of the lines."""
        return [f"u{number}@{self.tag}.example.com" for number in range(self.size)]

    def words(self, results: str, *more: str) -> tuple[str, ...]:
        """The command line that imports it."""
        return ("users", "import", self.path.name, "--results", results, *more)

    def results(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a file of results, which is in JSON Lines."""
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def assert_exact(self, people: People, *results: str) -> None:
        """Assert that every row is in both systems once, and that every file of results says so."""
        users = people.sql(
            "SELECT id, email, pending, lease_owner FROM bazar.users WHERE email LIKE %s", f"%{self.tag}%"
        )
        ids = {user["email"]: user["id"] for user in users}
        assert sorted(ids) == sorted(self.emails)
        assert len(users) == self.size
        assert {(user["pending"], user["lease_owner"]) for user in users} == {(None, None)}
        found = people.identities_like(self.tag)
        assert len(found) == self.size
        assert {identity["email"]: identity["id"] for identity in found} == ids
        events = people.sql(
            "SELECT target_id FROM bazar.audit_events WHERE use_case = 'users.import' AND outcome = 'done'"
            " AND after ->> 'email' LIKE %s",
            f"%{self.tag}%",
        )
        assert sorted(event["target_id"] for event in events) == sorted(map(str, ids.values()))
        assert (
            people.sql("SELECT 1 FROM bazar.import_rows WHERE email LIKE %s AND password_hash <> ''", f"%{self.tag}%")
            == []
        )
        wanted = [
            {"line": line, "email": email, "status": "created", "id": str(ids[email]), "code": None, "message": None}
            for line, email in enumerate(self.emails, 2)
        ]
        for name in results:
            assert self.results(name) == wanted

    def claims_run_out(self, people: People) -> bool:
        """Let the claims and leases of dead importers run out, as 20 s would; return whether rows are open."""
        people.sql(
            "UPDATE bazar.import_rows SET claimed_until = clock_timestamp()"
            " WHERE claim IS NOT NULL AND status = 'open' AND email LIKE %s",
            f"%{self.tag}%",
        )
        people.sql(
            "UPDATE bazar.users SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL AND email LIKE %s",
            f"%{self.tag}%",
        )
        return bool(
            people.sql("SELECT 1 FROM bazar.import_rows WHERE status = 'open' AND email LIKE %s", f"%{self.tag}%")
        )

    def is_open(self, people: People) -> bool:
        """Say whether an import of this file has to be continued, or was not begun."""
        tag = f"%{self.tag}%"
        runs = people.sql(
            "SELECT r.finished_at FROM bazar.import_runs r WHERE r.id IN"
            " (SELECT run_id FROM bazar.import_rows WHERE email LIKE %s)",
            tag,
        )
        return [run["finished_at"] is None for run in runs] != [False]
