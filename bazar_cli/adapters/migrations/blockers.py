"""Who keeps a migration waiting: seen by another connection, as whoever waits for a lock cannot ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import psycopg

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.domain.secrets import Secret

_LONGEST_SILENCE_SECONDS = 1.0
_EVERY_SECONDS = 0.25
_SHORTEST_PAUSE_SECONDS = 0.01
_BLOCKING = """
    SELECT a.pid, a.application_name, a.usename::text, extract(epoch FROM clock_timestamp() - a.xact_start)::int
    FROM unnest(pg_blocking_pids(%s)) AS b (pid) JOIN pg_stat_activity a ON a.pid = b.pid
"""


@dataclass(frozen=True)
class Blocker:
    """A session that holds what a migration waits for, and for how many seconds its transaction has been open."""

    pid: int
    application: str
    user: str
    seconds: int | None
    """None where the database user may not see it."""

    def __str__(self) -> str:
        since = "" if self.seconds is None else f", in a transaction for {self.seconds} s"
        return f"pid {self.pid} ({self.application or 'no name'}, user {self.user}{since})"

    @property
    def details(self) -> dict[str, object]:
        """The same for machines."""
        return {"pid": self.pid, "application": self.application, "user": self.user, "seconds": self.seconds}


@dataclass
class Watched:
    """One thing that may wait: from when on that is looked at, and who blocked it when it was last looked at."""

    overdue: float
    blockers: tuple[Blocker, ...] = ()
    given_up: bool = False


class BlockerWatch:
    """Looks, while something waits for too long, who blocks the server process `pid`.

    Parameters: what is done within half of `lock_timeout` seconds (1 at most) costs no connection; `on_found` is
    told once for each `over`. One thread serves a whole run, which may be of hundreds of revisions.
    """

    def __init__(self, url: Secret, pid: int, lock_timeout: float, on_found: Callable[[str], None]) -> None:
        self._url = url
        self._pid = pid
        self._after = min(lock_timeout / 2, _LONGEST_SILENCE_SECONDS)
        self._every = max(_SHORTEST_PAUSE_SECONDS, min(self._after / 2, _EVERY_SECONDS))
        self._on_found = on_found
        self._ended = threading.Event()
        self._watched: Watched | None = None
        self._thread = threading.Thread(target=self._look, name="blockers", daemon=True)

    def __enter__(self) -> BlockerWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        # A pooler may let it wait for a server process of its own much longer than anybody needs the names.
        self._thread.join(_LONGEST_SILENCE_SECONDS)

    @contextmanager
    def over(self) -> Generator[Watched]:
        """Watch what is done in the block; lends what then holds its blockers."""
        watched = self._watched = Watched(time.monotonic() + self._after)
        try:
            yield watched
        finally:
            self._watched = None

    def _look(self) -> None:
        while not self._ended.wait(self._every):
            watched = self._watched
            if watched is None or watched.given_up or time.monotonic() < watched.overdue:
                continue
            try:
                self._name(watched)
            except psycopg.Error:
                # It only adds names to what the migration itself reports; a server without room changes nothing.
                watched.given_up = True

    def _name(self, watched: Watched) -> None:
        with connect(
            self._url, autocommit=True, connect_timeout=5, prepare_threshold=None, application_name="bazar db watch"
        ) as connection:
            while self._watched is watched and not self._ended.is_set():
                rows = connection.execute(_BLOCKING, (self._pid,)).fetchall()
                if rows and self._watched is watched:
                    first = not watched.blockers
                    watched.blockers = tuple(Blocker(*row) for row in rows)
                    if first:
                        self._on_found(named(watched.blockers))
                self._ended.wait(_EVERY_SECONDS)


def named(blockers: tuple[Blocker, ...]) -> str:
    """Return the blockers in a sentence."""
    return ", ".join(str(blocker) for blocker in blockers) or "another session"
