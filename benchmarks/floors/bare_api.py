"""The floor of the HTTP API: FastAPI with plain handlers that replay recorded statements and calls to Auth."""

from __future__ import annotations

import json
import os
import pickle
import sys
import uuid
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI, Response
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

app = FastAPI(openapi_url=None)
steps: dict[str, list[tuple[str, Any, Any]]] = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - our own
url, key = os.environ["AUTH_URL"], os.environ["SUPABASE_KEY"]
auth = httpx.Client(trust_env=False, limits=httpx.Limits(max_connections=100))
pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
    os.environ["DATABASE_URL"],
    min_size=1,
    max_size=int(os.environ["POOL"]),
    kwargs={"autocommit": True, "prepare_threshold": None},
    open=True,
)
EMAIL = next((body["email"] for kind, _, body in steps["create"] if kind == "auth" and body), "")


def ids_in(value: Any) -> set[str]:
    """Return the ids among parameters."""
    if isinstance(value, dict):
        return set[str]().union(*map(ids_in, cast("dict[str, Any]", value).values()))
    if isinstance(value, list | tuple):
        return set[str]().union(*map(ids_in, cast("list[Any]", value)))
    return {str(value)} if isinstance(value, uuid.UUID) else set()


MADE = set[str]().union(*(ids_in(given) for _, _, given in steps["create"])) - {os.environ["OPERATOR"]}


def replayed(name: str, changed: dict[str, str]) -> list[tuple[Any, ...]]:
    """Take the steps of a use case; return the rows of its last query."""
    rows: list[tuple[Any, ...]] = []
    connection = None
    try:
        for kind, what, given in steps[name]:
            if kind == "auth":
                method, path = what
                bearer = os.environ["TOKEN"] if path == "/user" else key
                headers = {"apikey": key, "Authorization": f"Bearer {bearer}"}
                auth.request(method, url + path, headers=headers, json=renamed(given, changed)).raise_for_status()
                continue
            if connection is None:
                connection = pool.getconn()
            if kind == "sql":
                cursor = connection.execute(what, renamed(given, changed))
                rows = cursor.fetchall() if cursor.description else rows
                continue
            (connection.commit if kind == "commit" else connection.rollback)()
            pool.putconn(connection)
            connection = None
    finally:
        if connection is not None:
            pool.putconn(connection)
    return rows


def renamed(value: Any, changed: dict[str, str]) -> Any:
    """Return parameters with other texts and ids."""
    if not changed or value is None:
        return value
    if isinstance(value, dict):
        return {name: renamed(part, changed) for name, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [renamed(part, changed) for part in cast("list[Any]", value)]
    if isinstance(value, uuid.UUID):
        return uuid.UUID(changed.get(str(value), str(value)))
    if isinstance(value, Jsonb):
        return Jsonb(renamed(value.obj, changed))
    if isinstance(value, str):
        return changed.get(value, value)
    return value


def answer(rows: list[tuple[Any, ...]], status: int = 200) -> Response:
    """Return rows as JSON."""
    return Response(json.dumps(rows, default=str), status, media_type="application/json")


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Answer."""
    return {"status": "ok"}


@app.get("/api/v1/users/")
def users() -> Response:
    """Answer with the rows of a list."""
    return answer(replayed("list", {}))


@app.get("/api/v1/users/{user_id}")
def user(user_id: str) -> Response:  # noqa: ARG001 - of the path
    """Answer with one row."""
    return answer(replayed("get", {}))


@app.post("/api/v1/users/")
def create(body: dict[str, str]) -> Response:
    """Create a user, as recorded, with another id and address."""
    made = {old: str(uuid.uuid4()) for old in MADE}
    return answer(replayed("create", {EMAIL: body["email"], **made}), 201)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
