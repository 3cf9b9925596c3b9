"""The suite itself: what it counts on of its own tools."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Bazar
from tests.support.fork_requests import ask
from tests.support.release import HEAD, NEXT, Release


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Workers know a group by the names of its tests alone; unnoticed, each starts an embedded stack of its own."""
    # A worker of xdist keeps there what the whole run was told with `--dist`.
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("the tests run in one process, or are dealt out in another way")
    assert os.environ["PYTEST_CURRENT_TEST"].endswith("@together (call)")


def test_a_command_that_ends_at_once_is_asked_for() -> None:
    ours, theirs = socket.socketpair()

    class Fast(socket.socket):
        """The other end answers and closes as soon as it has the request."""

        def sendmsg(self, *words: Any) -> int:
            sent = super().sendmsg(*words)
            theirs.send(b"3")
            theirs.close()
            return sent

    with Fast(fileno=ours.detach()) as connection:
        assert ask(connection, {"words": []}, [0]) == 3


# -- commands that are forked and not waited for --------------------------------------------------------------


@pytest.fixture
def bazar(tmp_path: Path) -> Bazar:
    """`bazar` without any target."""
    return Bazar(tmp_path)


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "interpreter"])
def test_a_started_command_is_a_process_with_streams_and_an_exit_code(bazar: Bazar, fresh: bool) -> None:
    words = ("users", "get", "nobody@example.com", "-o", "json")
    with replace(bazar, fresh=fresh).start(*words, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(b"nothing that it reads")
    assert (process.returncode, process.poll(), out) == (2, 2, b"")
    assert json.loads(err)["error"]["code"] == "target.missing"


@pytest.fixture
def full_pipe() -> Generator[int]:
    """The end of a pipe that takes no more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "interpreter"])
def test_a_started_command_can_be_killed(bazar: Bazar, full_pipe: int, fresh: bool) -> None:
    with replace(bazar, fresh=fresh).start("--version", stdout=full_pipe) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.kill()  # it has ended: no other process gets the signal


def test_a_command_of_another_release_has_its_migrations(bazar: Bazar, tmp_path: Path) -> None:
    release = Release(tmp_path / "release")
    release.add(NEXT, "pass")
    for fresh in (False, True):
        heads = release.on(replace(bazar, fresh=fresh))("db", "heads", "-o", "ids").ok()
        assert heads.out.split() == [NEXT]
    assert bazar("db", "heads", "-o", "ids").ok().out.split() == [HEAD]
