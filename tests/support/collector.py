"""An OpenTelemetry collector, as far as a command sees one: it reads OTLP with OpenTelemetry's own messages."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS = ("traceId", "spanId", "parentSpanId")
"""OTLP writes these in hexadecimal, where the JSON form of protobuf has base64."""

PATIENT = {"bazar_cli.adapters.traces.SECONDS": 30.0}
"""Constants of a command whose trace must arrive, also where the machine is busy."""


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as the collector reads it."""

    trace_id: str
    id: str
    parent_id: str
    name: str
    kind: int
    began: int
    ended: int
    failed: bool
    attributes: Mapping[str, str | int]
    resource: Mapping[str, str | int]


@dataclass
class Collector:
    """A running collector."""

    url: str
    status: int = 200
    """What it answers."""
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(
        default_factory=list[tuple[str, Mapping[str, str], bytes]]
    )
    """Path, headers and body of each."""

    @property
    def spans(self) -> list[ReceivedSpan]:
        """All spans so far, the roots before their children."""
        return [span for _, _, body in self.requests for span in spans_of(body)]

    @property
    def roots(self) -> list[ReceivedSpan]:
        """The root spans of commands so far."""
        return [span for span in self.spans if "process.exit.code" in span.attributes]

    def take(self) -> list[ReceivedSpan]:
        """Return all spans so far, and forget them."""
        found = self.spans
        self.requests.clear()
        return found


def spans_of(body: bytes) -> list[ReceivedSpan]:
    """Read the body of a request. Raises: ParseError for a field or a value that OTLP does not have."""
    request: Any = ParseDict(_with_base64(json.loads(body)), ExportTraceServiceRequest())
    return [
        ReceivedSpan(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.name,
            span.kind,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == span.status.STATUS_CODE_ERROR,
            _values(span.attributes),
            _values(of_resource.resource.attributes),
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _values(attributes: Any) -> dict[str, str | int]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


def _with_base64(value: object) -> Any:
    if isinstance(value, list):
        return [_with_base64(item) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    pairs = cast("dict[str, Any]", value).items()
    return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in _IDS else _with_base64(v) for k, v in pairs}


@contextmanager
def running_collector() -> Generator[Collector]:
    """Serve on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests.append((self.path, dict(self.headers), body))
            self.send_response(collector.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield collector
        finally:
            server.shutdown()
            serving.join()
