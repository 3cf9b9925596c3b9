"""A server in trouble: killed and stopped in the middle of writes, without Postgres or Auth, with clients of all kinds.

The seed is printed with a failure; BAZAR_TEST_SEED plays the same moments again, as far as a machine repeats itself.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from bazar_cli.adapters.postgres.connections import database_of
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.api_server import Api, Reply
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.server import Server, running_server
from tests.support.tokens import JWKS, USER, Signer, Wire, claims_of, wire_to
from tests.support.waiting import poll

pytestmark = pytest.mark.xdist_group("serve")

FEW, MANY = 3, 100
WORKERS = 2
STUCK = 40


@pytest.fixture
def bazar(tmp_path: Path, target: Target) -> Bazar:
    return Bazar(tmp_path / "server").on(target)


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    with wire_to(target) as lent:
        yield lent


@pytest.fixture
def wired(bazar: Bazar, wire: Wire, target: Target) -> Generator[Server]:
    """A server that reaches Auth over the wire."""
    with running_server(bazar.on(wire.target), "--issuer", f"{target.supabase_url}/auth/v1") as server:
        yield server


@pytest.fixture
def token(people: People, root: Someone) -> str:
    return people.access_token(root)


# -- ends in the middle of writes -------------------------------------------------------------------------


@dataclass
class Writer:
    """Creates users by the API, one after another, and knows what became of each."""

    api: Api
    stop: threading.Event
    created: set[str] = field(default_factory=set[str])
    """The addresses that the server said to have created."""
    unknown: set[str] = field(default_factory=set[str])
    """Those whose request got no answer."""
    refused: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def run(self) -> None:
        while not self.stop.is_set():
            email = f"storm.{secrets.token_hex(6)}@example.com"
            try:
                answer = self.api.ask("POST", "/users/", {"email": email})
            except (OSError, HTTPException):
                self.unknown.add(email)
                continue
            if answer.status == 201:
                self.created.add(email)
            else:
                self.unknown.add(email)
                self.refused.append((answer.status, answer.code))


def storm(server: Server, token: str, kills: int, number: signal.Signals, moments: random.Random) -> list[Writer]:
    """Let four clients write while workers are ended at random moments; return the clients."""
    parent, stop = psutil.Process(server.process.pid), threading.Event()
    writers = [Writer(server.by(token), stop) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(writer.run) for writer in writers]
        try:
            for _ in range(kills):
                before = sum(len(writer.created) for writer in writers)
                poll(partial(_created_more, writers, before))
                time.sleep(moments.uniform(0, 0.1))
                ended = moments.choice(parent.children())
                ended.send_signal(number)
                poll(partial(_is_replaced, parent, ended.pid))
        finally:
            stop.set()
        for run in running:
            run.result()
    return writers


def _created_more(writers: list[Writer], before: int) -> bool:
    return sum(len(writer.created) for writer in writers) > before


def _is_replaced(parent: psutil.Process, ended: int) -> bool:
    working = {child.pid for child in parent.children()}
    return ended not in working and len(working) == WORKERS


@pytest.mark.parametrize(
    ("number", "kills"),
    [
        (signal.SIGKILL, FEW),
        (signal.SIGTERM, FEW),
        pytest.param(signal.SIGKILL, MANY, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, MANY, marks=pytest.mark.long),
    ],
)
def test_workers_that_end_lose_and_double_nothing(
    bazar: Bazar, admin: Bazar, people: People, token: str, number: signal.Signals, kills: int
) -> None:
    seed = int(os.environ.get("BAZAR_TEST_SEED") or secrets.randbits(32))
    print(f"BAZAR_TEST_SEED={seed}")
    again = replace(bazar, constants={"bazar_cli.api.serving.workers.LONGEST_PAUSE_SECONDS": 0.0})
    with running_server(again, "--workers", str(WORKERS)) as server:
        writers = storm(server, token, kills, number, random.Random(seed))  # noqa: S311 - moments, no secret
    created = set[str]().union(*(writer.created for writer in writers))
    unknown = set[str]().union(*(writer.unknown for writer in writers))
    assert len(created) > kills
    assert {status for writer in writers for status, _ in writer.refused} <= {503}
    pending = people.sql("SELECT email FROM bazar.users WHERE email = ANY(%s) AND pending IS NOT NULL", [*unknown])
    if number is signal.SIGTERM:
        assert not pending, "a request in hand was not ended"
    for row in pending:
        people.lease_runs_out(row["email"])
    admin("doctor", "--fix", "--yes")
    for email in created | unknown:
        rows = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
        ids = [(row["id"], row["pending"]) for row in rows]
        assert ids == [(i["id"], None) for i in people.identities(email)], email
        assert ids or email in unknown, f"{email} is lost"


# -- clients that wait for each other ---------------------------------------------------------------------


def test_reads_are_answered_while_writes_wait_for_one_lease(bazar: Bazar, people: People, token: str) -> None:
    held = people.user()
    people.sql(
        "UPDATE bazar.users SET pending = 'suspend', lease_owner = gen_random_uuid(), lease_until = now() + '1 h'"
        " WHERE id = %s",
        held.id,
    )
    with running_server(bazar) as server, ThreadPoolExecutor(STUCK) as threads:
        api = server.by(token)
        stuck = [threads.submit(api.ask, "PATCH", f"/users/{held.id}", {"name": "New"}) for _ in range(STUCK)]
        reads: list[int] = []
        while not all(write.done() for write in stuck):
            reads.append(api.ask("GET", "/users/me").status)
        answers = [write.result() for write in stuck]
    people.sql("UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL WHERE id = %s", held.id)
    assert set(reads) == {200}
    assert {(answer.status, answer.code) for answer in answers} == {(409, "users.busy"), (503, "server.busy")}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)


def test_garbage_tokens_cost_one_request_to_auth(
    wired: Server, wire: Wire, people: People, root: Someone, token: str, auth_keys: AuthKeys, target: Target
) -> None:
    claims = claims_of(root, iss=f"{target.supabase_url}/auth/v1")
    forged = [Signer.stranger().sign(claims).reveal() for _ in range(20)]
    wrong = Signer.stranger(Signer.of(auth_keys).kid).sign(claims).reveal()
    tokens = [*forged, wrong, "garbage", "a.b.c", "x" * 9000] * 10
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(_ask_for_oneself, map(wired.by, tokens)))
    assert {(answer.status, answer.code) for answer in answers} == {(401, "auth.token_invalid")}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert wired.by(token).ask("GET", "/users/me").status == 200
    assert wire.requests == [JWKS]


def _ask_for_oneself(api: Api) -> Reply:
    return api.ask("GET", "/users/me")


def test_slow_client_is_told_so_and_holds_nobody_up(bazar: Bazar, people: People, token: str) -> None:
    impatient = replace(bazar, constants={"bazar_cli.api.serving.front.BODY_SECONDS": 0.5})
    with running_server(impatient) as server, ExitStack() as opened:
        address = urlsplit(server.url)
        place = (str(address.hostname), int(address.port or 0))
        slow = [opened.enter_context(socket.create_connection(place)) for _ in range(30)]
        head = f"POST /api/v1/users/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        for client in slow:
            client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert server.by(token).ask("GET", "/users/me").status == 200
        for client in slow:
            with client.makefile("rb") as stream:
                answer = stream.read()  # to the end: the server closes the connection
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request.too_slow"


# -- systems that go away and come back -------------------------------------------------------------------


def test_auth_goes_away_and_comes_back(wired: Server, wire: Wire, people: People, root: Someone, token: str) -> None:
    api, email = wired.by(token), f"away.{secrets.token_hex(6)}@example.com"
    assert api.ask("GET", "/users/me").status == 200
    wire.cut = True
    refused = api.ask("POST", "/users/", {"email": email})
    assert (refused.status, refused.code) == (503, "supabase.unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert api.ask("GET", "/users/me").json["email"] == root.email
    assert wired.is_ready()
    wire.cut = False
    assert api.ask("POST", "/users/", {"email": email}).status == 201
    assert USER in wire.requests


def test_postgres_goes_away_and_comes_back(
    bazar: Bazar, target: Target, postgres_url: str, fresh_database: Callable[..., str]
) -> None:
    url = fresh_database(migrated=True)
    name = database_of(Secret(url))
    with (
        People(replace(target, database_url=Secret(url))) as people,
        psycopg.connect(postgres_url, autocommit=True) as keeper,
    ):
        root = people.known_superuser()
        with running_server(bazar.on(people.target)) as server:
            api = server.by(people.access_token(root))
            assert api.ask("GET", "/users/me").status == 200
            keeper.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'bazar'"
            keeper.execute(f"{ended} AND datname = %s".encode(), (name,))
            refused = api.ask("GET", "/users/me")
            assert (refused.status, refused.headers["Retry-After"] is not None) == (503, True)
            poll(lambda: not server.is_ready())
            assert server.by(None).ask("GET", "//healthz").status == 200
            keeper.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
            poll(server.is_ready)
            poll(lambda: api.ask("GET", "/users/me").status == 200)
