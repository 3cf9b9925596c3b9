"""What the Auth service keeps: the schema, and the rows that each action leaves, as recorded from a real server."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Generator, Iterable
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.postgres import TEMPLATE, scratch_database
from tests.support.wire_records import differences, rows, schema

TABLES = ("users", "identities", "sessions", "refresh_tokens", "mfa_amr_claims", "one_time_tokens")
OWNER = {"users": "id", "mfa_amr_claims": "session_id"}
HASH = "$2a$10$FfdVeIY1fyrzGNXMTZpAauwlOSdy/2dM4E7x4RB42yyr2VLfPhlc2"
PASSWORD = {"password": "correct-horse-1", "email_confirm": True}
AGENT = "python-httpx/0.28.1"
Act = Callable[["Server", str], None]
COLUMNS = """
    SELECT table_name AS table, column_name AS column, is_nullable AS nullable, column_default AS default,
           data_type || coalesce('(' || character_maximum_length || ')', '') AS type
    FROM information_schema.columns WHERE table_schema = 'auth'
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'auth' AND tablename = ANY(%s)"
CONSTRAINTS = """
    SELECT conrelid::regclass::text AS table, conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
    WHERE contype IN ('p', 'u', 'f', 'c') AND conrelid::regclass::text = ANY(%s)
"""
NOT_KEPT = ("audit_log_entries",)
NO_CLIENTS = "sessions_oauth_client_id_fkey"
"""References a table of OAuth clients, which the service does not have."""


class Server:
    """An Auth service with a database of its own, far from UTC."""

    def __init__(self, client: httpx.Client, connection: psycopg.Connection[DictRow]) -> None:
        self._client = client
        self._connection = connection

    def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def signed_in(self, email: str) -> dict[str, Any]:
        self.ask("POST", "/admin/users", email=email, **PASSWORD)
        return self.ask("POST", "/token?grant_type=password", email=email, password=PASSWORD["password"])

    def query(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self._connection.execute(query.encode(), values).fetchall()

    def rows_of(self, email: str) -> list[tuple[str, dict[str, Any]]]:
        """Every row that belongs to the user, as the record writes them."""
        [user] = self.query("SELECT id FROM auth.users WHERE email = %s", email)
        mine = {
            "id": "id = %s",
            "user_id": "user_id::text = %s::text",
            "session_id": "session_id IN (SELECT id FROM auth.sessions WHERE user_id = %s)",
        }
        return [
            (f"auth.{table}", {name: _written(value) for name, value in row.items()})
            for table in TABLES
            for row in self.query(
                f"SELECT * FROM auth.{table} WHERE {mine[OWNER.get(table, 'user_id')]} ORDER BY created_at", user["id"]
            )
        ]


def _written(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        assert abs(value.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc)) < timedelta(hours=1), "is not UTC"
        return value.isoformat()
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID | IPv4Address) else value


@pytest.fixture(scope="module")
def server(postgres_url: str, auth_keys: AuthKeys) -> Generator[Server]:
    """A service beside a database whose sessions begin in another time zone than UTC."""
    headers = {"Authorization": f"Bearer {auth_keys.service_key}", "User-Agent": AGENT}
    with scratch_database(postgres_url, TEMPLATE) as url, psycopg.connect(url, autocommit=True) as setup:
        setup.execute(f"ALTER DATABASE {setup.info.dbname} SET timezone TO 'America/New_York'".encode())
        with (
            psycopg.Connection[DictRow].connect(url, autocommit=True, row_factory=dict_row) as connection,
            running_auth_service(environment_of(auth_keys, url), quick=False) as address,
            httpx.Client(base_url=f"{address}/auth/v1", headers=headers, timeout=30, trust_env=False) as client,
        ):
            yield Server(client, connection)


def with_password(server: Server, email: str) -> None:
    server.ask("POST", "/admin/users", email=email, **PASSWORD)


def without_password(server: Server, email: str) -> None:
    server.ask("POST", "/admin/users", email=email, email_confirm=False)


def with_hash_and_metadata(server: Server, email: str) -> None:
    more = {"user_metadata": {"name": "Ada"}, "app_metadata": {"org": "acme"}}
    server.ask("POST", "/admin/users", email=email, password_hash=HASH, email_confirm=True, **more)


def signed_in(server: Server, email: str) -> None:
    server.signed_in(email)


def refreshed(server: Server, email: str) -> None:
    token = server.signed_in(email)["refresh_token"]
    server.ask("POST", "/token?grant_type=refresh_token", refresh_token=token)


def banned(server: Server, email: str) -> None:
    user = server.ask("POST", "/admin/users", email=email, **PASSWORD)
    server.ask("PUT", f"/admin/users/{user['id']}", ban_duration="24h")


def banned_from_the_beginning(server: Server, email: str) -> None:
    server.ask("POST", "/admin/users", email=email, ban_duration="24h", **PASSWORD)


def invited(server: Server, email: str) -> None:
    server.ask("POST", "/invite", email=email)


def link_made(server: Server, email: str) -> None:
    with_password(server, email)
    server.ask("POST", "/admin/generate_link", type="recovery", email=email)


def mail_sent(server: Server, email: str) -> None:
    with_password(server, email)
    server.ask("POST", "/recover", email=email)


ACTIONS: list[tuple[str, Act]] = [
    ("confirmed with password", with_password),
    ("unconfirmed no password", without_password),
    ("password hash and metadata", with_hash_and_metadata),
    ("signed in", signed_in),
    ("signed in and refreshed", refreshed),
    ("banned 24h", banned),
    ("banned 24h", banned_from_the_beginning),
    ("invited", invited),
    ("recovery link made", link_made),
    ("recovery link made", mail_sent),
]
SOFT_DELETED = "soft deleted"
"""The one recorded case of what the service does not serve."""


@pytest.mark.parametrize(("case", "act"), ACTIONS, ids=[act.__name__ for _, act in ACTIONS])
def test_rows_are_those_of_a_real_server(server: Server, case: str, act: Act) -> None:
    recorded = [r for r in rows() if r["case"] == case]
    email = recorded[0]["row"]["email"].replace("RUN", secrets.token_hex(4))
    act(server, email)
    given = server.rows_of(email)
    wanted = json.dumps([[r["table"], r["row"]] for r in recorded])
    wanted = wanted.replace("<user id>", given[0][1]["id"]).replace(recorded[0]["row"]["email"], email)
    assert differences(case, [list(g) for g in given], json.loads(wanted)) == []


def test_every_recorded_case_is_compared() -> None:
    assert {case for case, _ in ACTIONS} | {SOFT_DELETED} == {r["case"] for r in rows()}


def test_a_link_can_be_used_beside_a_database_in_another_time_zone(server: Server) -> None:
    email = f"west.{secrets.token_hex(4)}@example.com"
    link = server.ask("POST", "/admin/generate_link", type="invite", email=email)
    server.ask("POST", "/verify", type="invite", token_hash=link["hashed_token"])


def test_columns_are_those_of_a_real_server(server: Server) -> None:
    recorded = [c for c in schema()["columns"] if c["table"] not in NOT_KEPT]
    assert _sorted(server.query(COLUMNS)) == _sorted(recorded)


def test_indexes_are_those_of_a_real_server(server: Server) -> None:
    recorded = schema()["indexes"]
    tables = [table for table in TABLES if any(f" ON auth.{table} " in index for index in recorded)]
    assert sorted(row["indexdef"] for row in server.query(INDEXES, tables)) == sorted(recorded)


def test_constraints_are_those_of_a_real_server(server: Server) -> None:
    recorded = [c for c in schema()["constraints"] if c[1] != NO_CLIENTS]
    tables = [c[0] for c in recorded]
    assert _sorted(list(row.values()) for row in server.query(CONSTRAINTS, tables)) == _sorted(recorded)


def _sorted(things: Iterable[object]) -> list[str]:
    return sorted(json.dumps(thing, sort_keys=True) for thing in things)
