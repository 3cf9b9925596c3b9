"""The suite itself: what it counts on of its own tools."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.generate import ROOT
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


def test_of_a_product_that_is_spread_a_run_has_a_square_and_a_long_run_the_rest() -> None:
    product = "tests/services/users/test_change_email.py::test_running_again_finishes"
    ran: list[set[str]] = []
    for options in ((), ("-m", "long")):
        collected = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", *options, product],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        ran.append(set(re.findall(r"\[(.*)\]", collected.stdout)))
    assert ran == [
        {"False-old", "False-id", "True-new", "True-doctor"},
        {"True-old", "True-id", "False-new", "False-doctor"},
    ]


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
        assert ask(connection, {"words": []}, [0]) == (3, False)


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


_LEFT = """
import json, os, signal, sys, threading
from bazar_cli.terminal import streams
from tests.support.process_state import ProcessState
state, before = ProcessState(()), streams._kept
left = {"nothing": state.restore()}
streams._kept = "changed"
left["a variable"] = state.restore() and streams._kept is before
handle = os.open(os.devnull, os.O_RDONLY)
left["an open file"] = state.restore()
os.close(handle)
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
left["a thread"] = state.restore()
done.set()
thread.join()
kept = signal.signal(signal.SIGTERM, signal.SIG_IGN)
left["a signal handler"] = state.restore()
signal.signal(signal.SIGTERM, kept)
child = os.fork()
if not child:
    signal.pause()
left["a child"] = state.restore()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
left["nothing again"] = state.restore()
import this_module
left["an import"] = state.restore()
os.write(int(sys.argv[1]), json.dumps(left).encode())
"""


def test_process_with_something_left_runs_no_other_command(tmp_path: Path) -> None:
    (tmp_path / "this_module.py").touch()
    reader, writer = os.pipe()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))}
    subprocess.run([sys.executable, "-c", _LEFT, str(writer)], env=environ, pass_fds=[writer], check=True)
    os.close(writer)
    with os.fdopen(reader) as found:
        reusable = [name for name, answer in json.load(found).items() if answer]
    assert reusable == ["nothing", "a variable", "nothing again"]


def test_next_command_of_a_process_has_its_own_environment_and_folder(bazar: Bazar, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.env").write_text(f"SUPABASE_URL=http://{name}.example.com\n")
        own = replace(bazar, home=tmp_path / name)
        assert str(tmp_path / name) in own("config", "path").ok().out
        shown = own("config", "show", "--env-file", "settings.env", "-o", "json", cwd=tmp_path / name)
        assert f"{name}.example.com" in shown.out + shown.err


def test_a_command_of_another_release_has_its_migrations(bazar: Bazar, tmp_path: Path) -> None:
    release = Release(tmp_path / "release")
    release.add(NEXT, "pass")
    for fresh in (False, True):
        heads = release.on(replace(bazar, fresh=fresh))("db", "heads", "-o", "ids").ok()
        assert heads.out.split() == [NEXT]
    assert bazar("db", "heads", "-o", "ids").ok().out.split() == [HEAD]
