"""The traces of a server process: sent by a thread, in the way of the commands, as the variables OTEL_* say."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping

from bazar_cli.adapters import traces
from bazar_cli.domain.calls import Calls, TraceContext

SEND_SECONDS = 5.0
_MOST_WAITING = 1000
"""If this many traces wait for a slow collector, further ones are dropped."""
_log = logging.getLogger(__name__)


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Say whether the environment names a collector."""
    return bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


class ServerTraces:
    """Begins and sends the traces of requests. Parameters: `hide` removes secrets from a text."""

    def __init__(self, environ: Mapping[str, str], hide: Callable[[str], str]) -> None:
        self._environ = {name: value for name, value in environ.items() if name.startswith("OTEL_")}
        self._hide = hide
        self._waiting: queue.Queue[tuple[TraceContext, list[traces.Span]] | None] = queue.Queue(_MOST_WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._send_all, name="traces", daemon=True)
        self._thread.start()

    def begin(self, traceparent: str, tracestate: str) -> TraceContext | None:
        """Return the context of a request, which is a part of the client's trace (W3C Trace Context) if it has one."""
        caller = {"TRACEPARENT": traceparent, "TRACESTATE": tracestate}
        return traces.begin({**self._environ, **caller}, os.urandom(16).hex())

    def end(
        self,
        name: str,
        calls: Calls,
        began: int,
        nanoseconds: int,
        error: str,
        attributes: Mapping[str, str | int | None],
    ) -> None:
        """Send the trace of a request that ended, if it is sampled.

        Parameters: `began` is in nanoseconds since 1970; `error` is a code, "" for a success.
        """
        trace = calls.trace
        if trace is None or not trace.sampled:
            return
        shared = {"bazar.calls.dropped": calls.dropped or None, "process.pid": os.getpid()}
        root = traces.Span(
            trace.span_id,
            trace.parent_id,
            name,
            traces.SERVER,
            began,
            began + nanoseconds,
            error,
            {**attributes, **shared},
        )
        try:
            self._waiting.put_nowait((trace, [root, *(traces.of_call(made, trace) for made in calls.kept)]))
        except queue.Full:
            self._note("they come faster than the collector takes them")

    def close(self) -> None:
        """Send what waits, for `SEND_SECONDS` at most."""
        try:
            self._waiting.put(None, timeout=SEND_SECONDS)
        except queue.Full:
            return
        self._thread.join(SEND_SECONDS)

    def _send_all(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            trace, spans = waiting
            request = traces.encode(trace, spans, self._environ, self._hide)
            self._note(traces.send(request, self._environ, SEND_SECONDS))

    def _note(self, problem: str) -> None:
        """Log the first failure after a success."""
        if problem and not self._failed:
            _log.warning("traces are not sent: %s", problem)
        self._failed = bool(problem)
