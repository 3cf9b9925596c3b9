"""Signals to a command that is process 1, as in a container: the kernel drops those without a handler."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from bazar_cli.domain.target import Target
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar
from tests.support.people import People

_AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")
"""Others than root need a namespace of users. Root must not get one: it could not open the files of others there."""
UNSHARE = ("unshare", *_AS_ROOT, "--pid", "--fork", "--kill-child", "--mount-proc")
ENDING = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    """Skip where the system allows no new namespace of processes."""
    try:
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if tried.returncode:
        pytest.skip(f"no new namespace of processes can be made: {tried.stderr.strip()}")


@contextmanager
def as_process_one(bazar: Bazar, *words: str) -> Generator[subprocess.Popen[bytes]]:
    """Start a command as process 1; `unshare` ends with its exit code."""
    command = [*UNSHARE, sys.executable, "-m", "bazar_cli", *words]
    process = subprocess.Popen(
        command,
        env=bazar.environment(),
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def inner(process: subprocess.Popen[bytes]) -> int:
    """Return the number, in the namespace of the tests, of the process that is 1 in its own."""
    [child] = psutil.Process(process.pid).children()
    return child.pid


@ENDING
def test_it_ends_at_once_where_no_step_is_in_hand(admin: Bazar, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bazar = admin.having(SUPABASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with as_process_one(bazar, "users", "list") as process:
            connection, _ = silent.accept()
            os.kill(inner(process), number)
            # The request is answered only after the command has ended.
            assert process.wait() == 128 + number
            connection.close()


@ENDING
def test_it_finishes_the_step_in_hand(
    admin: Bazar, target: Target, people: People, unique_email: Callable[[str], str], number: signal.Signals
) -> None:
    email = unique_email("process-one")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        as_process_one(admin.on(wire.target), "users", "create", email) as process,
    ):
        assert wire.held.wait(60)
        os.kill(inner(process), number)
        wire.release.set()
        assert process.wait() == 128 + number
    [row] = people.sql("SELECT id, pending, lease_owner FROM bazar.users WHERE email = %s", email)
    [identity] = people.identities(email)
    assert (row["id"], row["pending"], row["lease_owner"]) == (identity["id"], None, None)


def test_a_second_signal_ends_it_at_once(admin: Bazar, target: Target, unique_email: Callable[[str], str]) -> None:
    email = unique_email("process-one-impatient")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        as_process_one(admin.on(wire.target), "users", "create", email) as process,
    ):
        assert wire.held.wait(60)
        first = inner(process)
        # Signals that arrive together count once, so they are sent until the command has ended.
        while process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGTERM)
            time.sleep(0.02)
        assert process.returncode == 128 + signal.SIGTERM
        assert not wire.release.is_set()
