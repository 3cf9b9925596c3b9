"""Traces of requests, sent by a thread in the way of the commands (`adapters.traces`), as the variables OTEL_* say."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bazar_cli.adapters import traces
from bazar_cli.api.serving.records import route_of
from bazar_cli.domain.calls import Calls, TraceContext

if TYPE_CHECKING:
    from starlette.types import Scope

    from bazar_cli.api.calls import Call

SEND_SECONDS = 5.0
_MOST_WAITING = 1000
"""More traces than this wait for a slow collector; further ones are dropped."""
_log = logging.getLogger(__name__)


class Tracer:
    """Begins and sends the traces of a process. Parameters: `hide` removes secrets from a text."""

    def __init__(self, environ: Mapping[str, str], hide: Callable[[str], str]) -> None:
        self._environ = {name: value for name, value in environ.items() if name.startswith("OTEL_")}
        self._hide = hide
        self._waiting: queue.Queue[tuple[TraceContext, list[traces.Span]] | None] = queue.Queue(_MOST_WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._send_all, name="traces", daemon=True)
        self._thread.start()

    @staticmethod
    def is_wanted(environ: Mapping[str, str]) -> bool:
        """Say whether the environment names a collector."""
        return bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))

    def begin(self, scope: Scope) -> TraceContext | None:
        """Return the context of a request, a part of the client's trace if it sends one (W3C Trace Context)."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        caller = {
            "TRACEPARENT": headers.get(b"traceparent", ""),
            "TRACESTATE": headers.get(b"tracestate", ""),
        }
        return traces.begin({**self._environ, **caller}, os.urandom(16).hex())

    def end(
        self,
        trace: TraceContext,
        calls: Calls,
        scope: Scope,
        call: Call | None,
        status: int,
        began: int,
        nanoseconds: int,
    ) -> None:
        """Send the trace of a request that ended, if it is sampled."""
        if not trace.sampled:
            return
        route = route_of(scope)
        attributes: dict[str, str | int | None] = {
            "http.request.method": scope["method"],
            "http.response.status_code": status,
            "http.route": route,
            "url.scheme": scope.get("scheme"),
            "user.id": str(call.operator) if call and call.operator else None,
            "bazar.request_id": call.request_id if call else None,
            "bazar.use_case": call.use_case if call else None,
            "bazar.calls.dropped": calls.dropped or None,
            "process.pid": os.getpid(),
        }
        # As the conventions say: a request that the client made wrongly is no error of the server.
        kind = (call.code if call and call.code else str(status)) if status >= 500 else ""
        name = f"{scope['method']} {route}" if route else scope["method"]
        root = traces.Span(
            trace.span_id, trace.parent_id, name, traces.SERVER, began, began + nanoseconds, kind, attributes
        )
        try:
            self._waiting.put_nowait((trace, [root, *(traces.of_call(made, trace) for made in calls.kept)]))
        except queue.Full:
            self._note("they come faster than the collector takes them")

    def close(self) -> None:
        """Send what waits, for `SEND_SECONDS` at most."""
        self._waiting.put(None)
        self._thread.join(SEND_SECONDS)

    def _send_all(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            trace, spans = waiting
            problem = traces.send(traces.encode(trace, spans, self._environ, self._hide), self._environ, SEND_SECONDS)
            self._note(problem)

    def _note(self, problem: str) -> None:
        """Log the first failure after a success."""
        if problem and not self._failed:
            _log.warning("traces are not sent: %s", problem)
        self._failed = bool(problem)
