"""Who keeps a migration waiting: seen by another connection, as whoever waits for a lock cannot ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import psycopg

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.domain.secrets import Secret

_LONGEST_SILENCE_SECONDS = 1.0
_EVERY_SECONDS = 0.25
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


class BlockerWatch:
    """Looks, while the block runs, who blocks the server process `pid`.

    Parameters: what is done within half of `lock_timeout` seconds (1 at most) costs no connection; `on_found` is
    told once.
    """

    def __init__(self, url: Secret, pid: int, lock_timeout: float, on_found: Callable[[str], None]) -> None:
        self._url = url
        self._pid = pid
        self._after = min(lock_timeout / 2, _LONGEST_SILENCE_SECONDS)
        self._on_found = on_found
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="blockers", daemon=True)
        self.found: tuple[Blocker, ...] = ()

    def __enter__(self) -> BlockerWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        # A pooler may let it wait for a server process of its own much longer than anybody needs the names.
        self._thread.join(_LONGEST_SILENCE_SECONDS)

    def _look(self) -> None:
        if self._done.wait(self._after):
            return
        try:
            with connect(
                self._url, autocommit=True, connect_timeout=5, prepare_threshold=None, application_name="bazar db watch"
            ) as connection:
                while not self._done.is_set():
                    rows = connection.execute(_BLOCKING, (self._pid,)).fetchall()
                    if rows:
                        first = not self.found
                        self.found = tuple(Blocker(*row) for row in rows)
                        if first:
                            self._on_found(named(self.found))
                    self._done.wait(_EVERY_SECONDS)
        except psycopg.Error:
            # It only adds names to what the migration itself reports; a server without room for it changes nothing.
            return


def named(blockers: tuple[Blocker, ...]) -> str:
    """Return the blockers in a sentence."""
    return ", ".join(str(blocker) for blocker in blockers) or "another session"
