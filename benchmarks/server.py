"""Measure the HTTP API against bare handlers with the same statements: `python -m benchmarks.server`.

The statements, transactions and calls to Auth of each use case are recorded in this process first. The bare handlers
(`benchmarks/floors/bare_api.py`) replay them on a pool of the same size, without tokens, permissions or rules.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from psycopg.types.json import Jsonb

from bazar_cli.adapters.postgres import connections
from bazar_cli.adapters.supabase.http import auth_url
from bazar_cli.devstack.auth.keys import generate_keys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from bazar_cli.domain.users.changes import CREATE, CreateUser
from bazar_cli.domain.users.users import GET, LIST, GetUser, ListUsers
from bazar_cli.services.gate.service import Places, Service
from bazar_cli.services.users import create, read
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.people import People
from tests.support.postgres import TEMPLATE, ScratchPostgres, scratch_database
from tests.support.tokens import Signer, claims_of

_RESULTS = Path(__file__).parent / "results" / "server.md"
_BARE = Path(__file__).parent / "floors" / "bare_api.py"
_USERS = 200
_CLIENTS = 16
_STUCK = 40
_GARBAGE, _GARBAGE_RATE = 1_000, 100
"""Requests with garbage tokens, and how many a second."""
_AIM, _TAIL_AIM = 1.3, 4.0
_Running = tuple[str, psutil.Process]
"""The address of a server, and its process."""


@dataclass
class Recording:
    """What one use case does to both systems, in order."""

    steps: list[tuple[str, Any, Any]] = field(default_factory=list[tuple[str, Any, Any]])
    """`sql`, `commit`, `rollback` or `auth`, with a statement and its parameters, or a request and its body."""


@dataclass(frozen=True)
class Ask:
    """One kind of request: its bytes are made anew for each, because a creation needs another address."""

    name: str
    make: Callable[[], bytes]
    status: int


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="requests of each kind and round (default 400)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (default 5)")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with _systems() as (target, people, signer):
        text = _page(target, people, signer, given.requests, given.rounds, load)
    _RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def _page(target: Target, people: People, signer: Signer, count: int, rounds: int, load: float) -> str:
    root = people.known_superuser()
    token = people.access_token(root)
    users = [people.user() for _ in range(_USERS)]
    held = people.user()
    people.sql(
        "UPDATE bazar.users SET pending = 'suspend', lease_owner = gen_random_uuid(), lease_until = now() + '1 h'"
        " WHERE id = %s",
        held.id,
    )
    recordings = _record(target, token, str(users[0].id))
    kinds = [
        Ask("GET /users/{id}", lambda: _request("GET", f"/api/v1/users/{users[0].id}", token), 200),
        Ask("GET /users/?limit=50", lambda: _request("GET", "/api/v1/users/?limit=50", token), 200),
        Ask("POST /users/", lambda: _request("POST", "/api/v1/users/", token, {"email": _address()}), 201),
    ]
    places = Places()
    with (
        _served(target) as (ours, our_process),
        _bare(target, recordings, token, str(root.id)) as (bare, bare_process),
    ):
        rows, at_once = list[str](), list[str]()
        for kind in kinds:
            rounds_of_both = [
                (_one_client(bare, bare_process, kind, count), _one_client(ours, our_process, kind, count))
                for _ in range(rounds)
            ]
            row = f"| `{kind.name}` "
            for wall_or_cpu in (0, 1):
                floor = median(of_bare[wall_or_cpu] for of_bare, _ in rounds_of_both)
                one = median(of_ours[wall_or_cpu] for _, of_ours in rounds_of_both)
                row += f"| {floor * 1e3:.2f} | {one * 1e3:.2f} | {one / floor:.2f} "
            rows.append(f"{row}|")
            all_times, rate = _many_clients(ours, kind, count * 2)
            _, bare_rate = _many_clients(bare, kind, count * 2)
            p50, p99 = median(all_times), quantiles(all_times, n=100)[98]
            milliseconds = f"{p50 * 1e3:.1f} | {p99 * 1e3:.1f} | {p99 / p50:.1f}"
            at_once.append(f"| `{kind.name}` | {milliseconds} | {rate:.0f} | {bare_rate:.0f} |")
        me = Ask("GET /users/me", lambda: _request("GET", "/api/v1/users/me", token), 200)
        garbage = _garbage(signer, root)
        alone = _one_client(ours, our_process, me, count)[0]
        beside_garbage = median(asyncio.run(_beside(ours, me, count * 5, garbage, 4, pause=4 / _GARBAGE_RATE)))
        stuck = [_request("PATCH", f"/api/v1/users/{held.id}", token, {"name": "New"}) for _ in range(_STUCK)]
        beside_stuck = median(asyncio.run(_beside(ours, me, count, iter(stuck), _STUCK, pause=0)))
    return "\n".join(
        [
            "# The HTTP API against bare handlers\n",
            "Written by `python -m benchmarks.server`.\n",
            _setting(count, rounds, load),
            f"One client, medians in ms, and processor time of the server; the aim is a ratio of at most {_AIM}:\n",
            "| Request | bare | bazar | ratio | bare, CPU | bazar, CPU | ratio |\n|---|--:|--:|--:|--:|--:|--:|",
            *rows,
            f"\n{_CLIENTS} clients, one worker, {places.connections} connections; the aim is {_TAIL_AIM:g}:\n",
            "| Request | p50 ms | p99 ms | ratio | requests/s | bare, requests/s |\n|---|--:|--:|--:|--:|--:|",
            *at_once,
            "\n`GET /users/me`, one client, median in ms:\n",
            "| Beside | ms | ratio | aim |\n|---|--:|--:|--:|",
            f"| nothing | {alone * 1e3:.2f} | | |",
            f"| {_GARBAGE} garbage tokens, {_GARBAGE_RATE} a second | {_beside_row(beside_garbage, alone)} | 1.5 |",
            f"| {_STUCK} writes of one leased user | {_beside_row(beside_stuck, alone)} | 2 |",
        ]
    )


def _beside_row(seconds: float, alone: float) -> str:
    return f"{seconds * 1e3:.2f} | {seconds / alone:.2f}"


def _setting(count: int, rounds: int, load: float) -> str:
    return (
        f"{rounds} rounds of {count} requests; {os.cpu_count()} cores, which clients, both servers, Postgres and Auth"
        f" share; load {load:.1f} at the start; Python {sys.version.split()[0]}. Bare is FastAPI with `def` handlers"
        " that replay the recorded statements, transactions and calls to Auth.\n"
    )


@contextmanager
def _systems() -> Generator[tuple[Target, People, Signer]]:
    server, keys = ScratchPostgres(in_memory=True), generate_keys()
    try:
        source = TargetSource(TargetKind.ENVIRONMENT, "environment")
        with (
            scratch_database(server.start(), TEMPLATE) as url,
            running_auth_service(environment_of(keys, url)) as auth,
            People(Target(source, auth, Secret(keys.secret_key), Secret(url))) as people,
        ):
            yield people.target, people, Signer.of(keys)
    finally:
        server.stop()


# -- servers ----------------------------------------------------------------------------------------------


@contextmanager
def _served(target: Target) -> Generator[_Running]:
    environ = {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_KEY": target.supabase_key.reveal(),
        "DATABASE_URL": target.database_url.reveal(),
    }
    port = _free_port()
    words = ["-m", "bazar_cli", "serve", "--port", str(port), "--drain", "0"]
    with _running(words, environ, port) as running:
        yield running


@contextmanager
def _bare(target: Target, recordings: dict[str, Recording], token: str, operator: str) -> Generator[_Running]:
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "recordings"
        given.write_bytes(pickle.dumps({name: recording.steps for name, recording in recordings.items()}))
        environ = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": target.database_url.reveal(),
            "AUTH_URL": auth_url(target),
            "SUPABASE_KEY": target.supabase_key.reveal(),
            "TOKEN": token,
            "OPERATOR": operator,
            "POOL": str(Places().connections),
        }
        with _running([str(_BARE), str(given), str(port)], environ, port) as running:
            yield running


@contextmanager
def _running(words: list[str], environ: dict[str, str], port: int) -> Generator[_Running]:
    with subprocess.Popen([sys.executable, *words], env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                assert process.poll() is None, words
                try:
                    httpx.get(f"{url}/healthz")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


# -- recording --------------------------------------------------------------------------------------------


def _record(target: Target, token: str, user_id: str) -> dict[str, Recording]:
    """Run each use case once in this process, and return what it did; a first run warms everything up."""
    service = Service(target)
    try:
        return {
            "get": _recorded(service, token, lambda gate: gate.perform(read.get, GET, GetUser(user_id))),
            "list": _recorded(service, token, lambda gate: gate.perform(read.list_page, LIST, ListUsers(limit=50))),
            "create": _recorded(
                service, token, lambda gate: gate.perform(create.create, CREATE, CreateUser(_address()))
            ),
        }
    finally:
        service.close()


def _recorded(service: Service, token: str, act: Callable[[Any], object]) -> Recording:
    found = Recording()
    cursor: Any = connections._TimedCursor  # pyright: ignore[reportPrivateUsage]
    connection: Any = connections.TimedConnection
    originals = cursor.execute, connection.commit, connection.rollback, httpx.Client.send

    def execute(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        text = query if isinstance(query, str | bytes) else query.as_string(self)
        found.steps.append(("sql", text if isinstance(text, str) else text.decode(), params))
        return originals[0](self, query, params, **options)

    def commit(self: Any) -> None:
        found.steps.append(("commit", None, None))
        originals[1](self)

    def rollback(self: Any) -> None:
        found.steps.append(("rollback", None, None))
        originals[2](self)

    def send(self: Any, request: httpx.Request, **options: Any) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        found.steps.append(("auth", (request.method, request.url.path.removeprefix("/auth/v1")), body))
        return originals[3](self, request, **options)

    for number in range(2):
        with service.gate(Secret(token), f"benchmark-{number}", "127.0.0.1") as gate:
            if number:
                cursor.execute, connection.commit, connection.rollback = execute, commit, rollback
                httpx.Client.send = send  # pyright: ignore[reportAttributeAccessIssue]
            try:
                act(gate)
            finally:
                cursor.execute, connection.commit, connection.rollback, httpx.Client.send = originals
    assert not any(isinstance(v, Jsonb) and v.dumps for _, _, p in found.steps for v in _values(p))
    return found


def _values(parameters: Any) -> Iterator[Any]:
    yield from parameters.values() if isinstance(parameters, dict) else parameters or ()


# -- clients ----------------------------------------------------------------------------------------------


def _address() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def _request(method: str, path: str, token: str, body: object = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


def _garbage(signer: Signer, root: Any) -> Iterator[bytes]:
    forged = [Signer.stranger().sign(claims_of(root)).reveal() for _ in range(20)]
    wrong = Signer.stranger(signer.kid).sign(claims_of(root)).reveal()
    texts = [*forged, wrong, "garbage", "a.b.c"]
    return iter([_request("GET", "/api/v1/users/me", texts[n % len(texts)]) for n in range(_GARBAGE)])


class _Client:
    """One kept connection. It reads heads and bodies of known length, and nothing else of HTTP."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, float]:
        """Return the status and the seconds of one request."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
        reader, writer = self._streams
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length"))
        await reader.readexactly(length)
        return int(head[9:12]), time.perf_counter() - began

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def _asked(url: str, kind: Ask, count: int) -> list[float]:
    client = _Client(url)
    try:
        found = [await client.ask(kind.make()) for _ in range(count)]
    finally:
        client.close()
    assert {status for status, _ in found} == {kind.status}, kind.name
    return [seconds for _, seconds in found]


def _one_client(url: str, process: psutil.Process, kind: Ask, count: int) -> tuple[float, float]:
    """Return the median of the seconds, and the server's processor time of one request."""
    asyncio.run(_asked(url, kind, 20))
    before = process.cpu_times()
    found = median(asyncio.run(_asked(url, kind, count)))
    after = process.cpu_times()
    return found, (after.user + after.system - before.user - before.system) / count


def _many_clients(url: str, kind: Ask, count: int) -> tuple[list[float], float]:
    """Return the seconds of each request, and how many a second were answered."""

    async def all_of() -> list[list[float]]:
        return await asyncio.gather(*(_asked(url, kind, count // _CLIENTS) for _ in range(_CLIENTS)))

    asyncio.run(all_of())
    began = time.perf_counter()
    found = [seconds for times in asyncio.run(all_of()) for seconds in times]
    return found, len(found) / (time.perf_counter() - began)


async def _beside(
    url: str, kind: Ask, count: int, others: Iterator[bytes], clients: int, *, pause: float
) -> list[float]:
    """Return the seconds of requests that were answered while other clients sent their requests.

    Parameters: `pause` is the time between two requests of one of these clients, in seconds.
    """
    ended = False

    async def bother() -> None:
        client = _Client(url)
        try:
            for request in others:
                await client.ask(request)
                await asyncio.sleep(pause)
        finally:
            client.close()

    async def measure() -> list[float]:
        client, found = _Client(url), list[float]()
        try:
            while not ended and len(found) < count:
                status, seconds = await client.ask(kind.make())
                assert status == kind.status
                found.append(seconds)
        finally:
            client.close()
        return found

    async def bothered() -> None:
        nonlocal ended
        await asyncio.gather(*(bother() for _ in range(clients)))
        ended = True

    both: list[Awaitable[Any]] = [measure(), bothered()]
    return (await asyncio.gather(*both))[0]


if __name__ == "__main__":
    main()
