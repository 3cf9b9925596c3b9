"""One process that serves: uvicorn on a socket that listens already, until a signal.

The first SIGTERM turns `/readyz` to 503. After the drain the socket closes, and requests in hand end. Ctrl-C has no
drain. The second signal ends the process at once: whatever it leaves is safe to run again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from bazar_cli.api.serving.readiness import Readiness

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACEFUL_SECONDS = 25
"""How long requests in hand may take to end, below the 30 s that container runtimes wait by default."""
_KEPT_SECONDS = 75
"""How long an idle connection is kept: longer than nginx keeps its own (60 s), so that the proxy closes first."""
_SHELL = 128


def run(
    app: ASGIApp, listener: socket.socket, readiness: Readiness, *, root_path: str, drain: float, parent: int
) -> None:
    """Serve until a signal.

    Parameters: `drain` is in seconds; `parent` is a pipe whose other end closes when the parent process ends,
    -1 without one.
    """
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        root_path=root_path,
        timeout_keep_alive=_KEPT_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    _Server(config, readiness, drain, parent).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, readiness: Readiness, drain: float, parent: int) -> None:
        super().__init__(config)
        self._readiness = readiness
        self._drain = drain
        self._parent = parent
        self._closes_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._parent >= 0:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._parent, self._orphaned, loop)

    async def on_tick(self, counter: int) -> bool:
        if self._closes_at is not None and time.monotonic() >= self._closes_at:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        with handling(self._stop):
            yield

    def _stop(self, number: int) -> None:
        self._readiness.stop()
        self._closes_at = time.monotonic() + (self._drain if number == signal.SIGTERM else 0)

    def _orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._parent)
        self._stop(signal.SIGHUP)


@contextmanager
def handling(stop: Callable[[int], None]) -> Generator[None]:
    """Call `stop` with the number of a first signal in the block; a second one ends the process at once.

    Signals that the caller ignores, as nohup does, remain ignored.
    """
    first = True

    def arrived(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if not first:
            end_now(number)
        first = False
        stop(number)

    ours = {number: signal.getsignal(number) for number in SIGNALS}
    ours = {number: before for number, before in ours.items() if before is not signal.SIG_IGN}
    for number in ours:
        signal.signal(number, arrived)
    try:
        yield
    finally:
        for number, before in ours.items():
            signal.signal(number, before)


def end_now(number: int) -> None:
    """End this process by a signal."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    # Only process 1 is still here.
    os._exit(_SHELL + number)
