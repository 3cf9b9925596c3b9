"""What each request leaves: a line of the access log, metrics, and a trace if the environment names a collector."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bazar_cli.api.calls import GONE, known_call
from bazar_cli.domain.calls import Calls, System, TraceContext

if TYPE_CHECKING:
    from starlette.types import Scope

    from bazar_cli.api.calls import Call
    from bazar_cli.api.serving.metrics import Metrics
    from bazar_cli.services.server_traces import ServerTraces

_log = logging.getLogger("bazar_cli.access")


class Records:
    """Makes the records of all requests of a process."""

    def __init__(self, metrics: Metrics | None, traces: ServerTraces | None) -> None:
        self._metrics = metrics
        self._traces = traces

    @contextmanager
    def of(self, scope: Scope) -> Generator[Record]:
        """Time the block as one request, and record it at its end."""
        record, began = Record(Calls(self._context(scope))), time.time_ns()
        clock = time.monotonic_ns()
        if self._metrics:
            self._metrics.began()
        try:
            with record.calls.recording():
                yield record
        finally:
            nanoseconds = time.monotonic_ns() - clock
            call = known_call(scope)
            use_case = call.use_case if call else None
            if self._metrics:
                self._metrics.ended(use_case, scope["method"], record.status, nanoseconds / 1e9, record.calls)
            if self._traces:
                self._end_trace(self._traces, scope, call, record, began, nanoseconds)
            _write_line(scope, call, record, nanoseconds)

    def _context(self, scope: Scope) -> TraceContext | None:
        if self._traces is None:
            return None
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        return self._traces.begin(headers.get(b"traceparent", ""), headers.get(b"tracestate", ""))

    @staticmethod
    def _end_trace(
        traces: ServerTraces, scope: Scope, call: Call | None, record: Record, began: int, nanoseconds: int
    ) -> None:
        route = route_of(scope)
        attributes: dict[str, str | int | None] = {
            "http.request.method": scope["method"],
            "http.response.status_code": record.status,
            "http.route": route,
            "url.scheme": scope.get("scheme"),
            "user.id": str(call.operator) if call and call.operator else None,
            "bazar.request_id": call.request_id if call else None,
            "bazar.use_case": call.use_case if call else None,
        }
        # A request that the client made wrongly is no error of the server (OpenTelemetry's HTTP conventions).
        error = ((call.code if call else None) or str(record.status)) if record.status >= 500 else ""
        name = f"{scope['method']} {route}" if route else scope["method"]
        traces.end(name, record.calls, began, nanoseconds, error, attributes)


class Record:
    """One request."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.status = GONE

    def answered(self, status: int) -> None:
        """Note the status of the answer."""
        self.status = status


def route_of(scope: Scope) -> str | None:
    """Return the path of the route with the names of its values; None where nothing is served."""
    route = scope.get("route")
    return getattr(route, "path", None)


def _write_line(scope: Scope, call: Call | None, record: Record, nanoseconds: int) -> None:
    calls, milliseconds = record.calls, nanoseconds // 1_000_000
    use_case = call.use_case if call else None
    fields = {
        "event": "request",
        "request_id": call.request_id if call else None,
        "method": scope["method"],
        # The path itself may name people, and for a path without a route anything.
        "route": route_of(scope),
        "use_case": use_case,
        "status": record.status,
        "error_code": call.code if call else None,
        "operator_id": str(call.operator) if call and call.operator else None,
        "client": scope["client"][0] if scope.get("client") else None,
        "client_version": call.client_version if call else None,
        "duration_ms": milliseconds,
        "postgres_calls": calls.count(System.POSTGRES),
        "postgres_ms": calls.milliseconds(System.POSTGRES),
        "auth_calls": calls.count(System.AUTH),
        "auth_ms": calls.milliseconds(System.AUTH),
        "worker": os.getpid(),
        "trace_id": calls.trace.trace_id if calls.trace else None,
        "span_id": calls.trace.span_id if calls.trace else None,
    }
    _log.info(
        "%s %s %d %d ms", scope["method"], fields["route"] or "no route", record.status, milliseconds, extra=fields
    )
