"""`bazar db wait`: at once, after a while, or not in time."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.domain.target import Target
from tests.cli.db.conftest import On
from tests.support.cli import Bazar


@pytest.mark.live
def test_answers_at_once_without_a_sign_in(signed_out: Bazar, target: Target) -> None:
    done = signed_out("db", "wait", "-o", "json").ok()
    assert list(done.json) == ["host", "database", "server_version", "waited_ms"]
    assert f"/{done.json['database']}" == urlsplit(target.database_url.reveal()).path
    assert done.json["server_version"]
    assert done.err == ""


def passed_on(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until either end has enough."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(server, client))
    back.start()
    pump(client, server)
    back.join()


def test_server_that_comes_up_later(nobody: Bazar, database_url: str) -> None:
    """The port refuses first, as a server's that is starting, and leads to a real Postgres then."""
    real = Path(str(conninfo_to_dict(database_url)["host"])) / ".s.PGSQL.5432"
    with socket.create_server(("127.0.0.1", 0)) as port:
        url = f"postgresql://bazar@127.0.0.1:{port.getsockname()[1]}{urlsplit(database_url).path}?sslmode=disable"
        bazar = nobody.having(SUPABASE_URL="http://127.0.0.1:1", SUPABASE_KEY="sb_secret_unused", DATABASE_URL=url)
        with bazar.start("db", "wait", "-o", "json") as process:
            assert process.stdout is not None
            early, _ = port.accept()
            early.close()
            client, _ = port.accept()
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(str(real))
                passed_on(client, server)
            waited = json.loads(process.stdout.read())
            assert process.wait() == 0
    assert waited["waited_ms"] > 0
    assert f"/{waited['database']}" == urlsplit(database_url).path


def test_not_in_time(nobody: Bazar) -> None:
    url = "postgresql://someone:very-secret@127.0.0.1:1/nothing"
    bazar = nobody.having(SUPABASE_URL="http://127.0.0.1:1", SUPABASE_KEY="sb_secret_unused", DATABASE_URL=url)
    done = bazar("db", "wait", "--timeout", "1", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (7, "", "db.wait_timeout")
    assert "within 1 s" in done.error["message"]
    assert "127.0.0.1:1/nothing" in done.error["message"]
    assert "very-secret" not in done.err
    for seconds in ("soon", "-1", "nan", "inf", "1e99"):
        refused = bazar("db", "wait", "--timeout", seconds, "-o", "json")
        assert (refused.code, refused.out, refused.error["code"]) == (2, "", "usage.invalid_value"), seconds


def test_without_a_target(nobody: Bazar) -> None:
    done = nobody("db", "wait", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "target.missing")
    assert "bazar local start" in done.error["hint"]


def test_database_that_is_not_there_yet_is_waited_for(first: On, database_url: str) -> None:
    """The server is up, and another step creates the database."""
    url = urlsplit(database_url)._replace(path="/not_there_yet").geturl()
    done = first(url)("db", "wait", "--timeout", "0", "-o", "json")
    assert (done.code, done.error["code"]) == (7, "db.wait_timeout")
    assert "not_there_yet" in done.error["message"]
