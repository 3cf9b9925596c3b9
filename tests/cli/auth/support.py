"""Signing in by the command itself, and commands at a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, Someone
from tests.support.waiting import poll


def sign_in(bazar: Bazar, someone: Someone, *words: str, password: str = OLD_PASSWORD) -> Done:
    """Run `bazar auth login` without a terminal."""
    given = ("--email", someone.email, "--password-stdin", *words)
    return bazar("auth", "login", "-o", "json", *given, stdin=password + "\n")


def session_file(bazar: Bazar) -> Path:
    """The one stored session."""
    (found,) = (bazar.home / "config").glob("secrets/session-*.json")
    return found


def stored_session(bazar: Bazar) -> dict[str, str]:
    """What is stored of the one session."""
    return json.loads(session_file(bazar).read_text())


def let_it_end_soon(bazar: Bazar, seconds: float = 30) -> None:
    """Make the stored session one that ends in half a minute, or that has ended."""
    ends = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    session_file(bazar).write_text(json.dumps({**stored_session(bazar), "expires_at": ends.isoformat()}))


class Terminal:
    """A command at a terminal of its own, and what a person there sees."""

    def __init__(self, bazar: Bazar, *words: str) -> None:
        leader, follower = pty.openpty()
        # Without a session of its own the command would ask at the terminal of whoever runs the tests.
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), follower)
        self.process: subprocess.Popen[bytes] = bazar.start(*words, start_new_session=True, **streams)
        # Held open to the end: what a process wrote last can be lost when the last of its side closes.
        self._follower = follower
        self._leader: Any = import_module("pexpect.fdpexpect").fdspawn(leader, timeout=None, encoding="utf-8")
        self._pause: Any = import_module("pexpect").TIMEOUT
        self.seen = ""

    def answer(self, question: str, answer: str) -> None:
        """Wait for a question, then type the answer."""
        self.wait_for(question)
        self._leader.send(answer + "\n")

    def wait_for(self, text: object) -> None:
        """Wait until this text is seen."""
        self._leader.expect_exact(text)
        self.seen += self._leader.before + (text if isinstance(text, str) else "")

    def interrupt_at(self, question: str) -> None:
        """Wait until the command reads the answer to a question, and send SIGINT.

        Python sees a signal that comes just before it begins to read only when the read ends.
        """
        self.wait_for(question)
        waits_in = Path(f"/proc/{self.process.pid}/wchan")
        if waits_in.exists():
            poll(lambda: waits_in.read_text() == "wait_woken")  # where Linux waits for a line of a terminal
        self.process.send_signal(signal.SIGINT)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._follower)[3] & termios.ECHO)

    def end(self) -> int:
        """Wait for the command's end and return its exit code."""
        code: int | None = None
        while code is None:
            code = self.process.poll()
            self._leader.expect([self._pause], timeout=0.05)
        self.seen += self._leader.buffer
        return code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._follower)
        self._leader.close()
