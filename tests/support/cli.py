"""`bazar` as users run it: a process of its own, with an environment that holds nothing but what is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bazar_cli.domain.target import Target

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "COVERAGE_PROCESS_START")
_SECONDS = 120
"""No time limit of a test: only so that a hang ends the run with a trace."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of standard error, its last line."""
        return json.loads(self.err.strip().splitlines()[-1])["error"]

    def ok(self) -> Done:
        """Return itself if the command succeeded; else fail with what it said."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass(frozen=True)
class Bazar:
    """The command with a home of its own."""

    home: Path
    environ: Mapping[str, str] = field(default_factory=dict[str, str])

    def __call__(self, *words: str, stdin: str | bytes = "", cwd: Path | None = None) -> Done:
        """Run one command to its end."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        ended = subprocess.run(
            self.command(*words),
            input=given,
            capture_output=True,
            env=self.environment(),
            cwd=cwd or self.folder("work"),
            timeout=_SECONDS,
            check=False,
        )
        return Done(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start one command and return its process, its streams piped unless given otherwise."""
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        return subprocess.Popen[bytes](self.command(*words), env=self.environment(), cwd=self.folder("work"), **streams)

    def command(self, *words: str) -> list[str]:
        """The arguments that run `bazar`."""
        return [sys.executable, "-m", "bazar_cli", *words]

    def environment(self) -> dict[str, str]:
        """The whole environment of its processes."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        places = {"BAZAR_CONFIG_DIR": str(self.home / "config"), "BAZAR_DATA_DIR": str(self.home / "data")}
        return {**kept, **places, **self.environ}

    def having(self, **values: str) -> Bazar:
        """The same command with more environment variables."""
        return replace(self, environ={**self.environ, **values})

    def lacking(self, *names: str) -> Bazar:
        """The same command without these environment variables."""
        return replace(self, environ={k: v for k, v in self.environ.items() if k not in names})

    def on(self, target: Target) -> Bazar:
        """The same command with a target in its environment."""
        return self.having(
            SUPABASE_URL=target.supabase_url,
            SUPABASE_KEY=target.supabase_key.reveal(),
            DATABASE_URL=target.database_url.reveal(),
        )

    def folder(self, name: str) -> Path:
        """A folder below the home, made when it is not there."""
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        return path
