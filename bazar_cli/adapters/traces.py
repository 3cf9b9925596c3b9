"""The trace of one command, sent to an OpenTelemetry collector in the JSON form of OTLP, as the variables OTEL_* say.

A command imports this module only where the environment names a collector. Nothing that a collector or a variable does
changes the outcome of the command: `send` returns why the trace was not taken, and takes as long as its caller says.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bazar_cli import __version__
from bazar_cli.domain.calls import Call, TraceContext, trace_of_caller

SECONDS = 0.15
"""For all that `send` does for a command: imports, name look-up, connecting, TLS, sending, waiting for the answer."""
INTERNAL, SERVER, CLIENT = 1, 2, 3
"""Kinds of spans, as opentelemetry/proto/trace/v1/trace.proto numbers them."""
_ERROR = 2
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]{1,512}")
_DONE = frozenset(range(200, 300))


@dataclass(frozen=True)
class Span:
    """One span of a trace."""

    id: str
    parent_id: str
    name: str
    kind: int
    began: int
    """Nanoseconds since 1970, as `ended`."""
    ended: int
    error: str
    """A stable code; "" for a success."""
    attributes: Mapping[str, str | int | None]
    """None for what is not known."""


def begin(environ: Mapping[str, str], new_trace_id: str) -> TraceContext | None:
    """Return the context of this command's root span; None where the variables switch traces off.

    A line of a batch is a part of the batch's trace. A caller's TRACEPARENT makes the command a part of the caller's
    trace; one that cannot be read does not count.
    Parameters: `new_trace_id` names the trace of a command without a caller.
    """
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").lower().replace(" ", "").split(",")
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not {"", "otlp"} & set(exporters):
        return None
    span_id = os.urandom(8).hex()
    caller = trace_of_caller()
    if caller is not None:
        return TraceContext(caller.trace_id, span_id, caller.span_id, caller.sampled, caller.state)
    found = _PARENT.fullmatch(environ.get("TRACEPARENT", "").strip())
    if found is None or (found[1] == "00" and found[5]):
        return TraceContext(new_trace_id, span_id, "", _is_sampled(environ, new_trace_id, None), "")
    state = environ.get("TRACESTATE", "").strip()
    sampled = _is_sampled(environ, found[2], bool(int(found[4], 16) & 1))
    return TraceContext(found[2], span_id, found[3], sampled, state if _STATE.fullmatch(state) else "")


def of_call(call: Call, context: TraceContext) -> Span:
    """Return the span of one call, a child of the root span."""
    ended = call.began + call.nanoseconds
    return Span(call.span_id, context.span_id, call.name, CLIENT, call.began, ended, call.error, call.attributes)


def encode(
    context: TraceContext, spans: Iterable[Span], environ: Mapping[str, str], hide: Callable[[str], str]
) -> object:
    """Return an ExportTraceServiceRequest as a JSON value. Parameters: `hide` removes secrets from a text."""
    encoded = [
        {
            "traceId": context.trace_id,
            "spanId": span.id,
            "parentSpanId": span.parent_id,
            "traceState": context.state,
            "name": hide(span.name),
            "kind": span.kind,
            "startTimeUnixNano": str(span.began),
            "endTimeUnixNano": str(span.ended),
            "attributes": _attributes({**span.attributes, "error.type": span.error or None}, hide),
            "status": {"code": _ERROR} if span.error else {},
        }
        for span in spans
    ]
    scope = {"name": "bazar", "version": __version__}
    resource = {"attributes": _attributes(_resource(environ), hide)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": encoded}]}]}


def send(request: object, environ: Mapping[str, str], seconds: float) -> str:
    """Send a request once, to the collector that the variables name; return why it was not taken, "" if it was.

    A thread sends, and is left behind at the deadline: a name look-up cannot be cancelled.
    """
    ends = time.monotonic() + seconds
    outcome = f"the collector did not answer within {seconds:g} s"
    try:
        post = _Post(environ, json.dumps(request).encode())
    except ValueError as error:
        return str(error)

    def work() -> None:
        nonlocal outcome
        outcome = post.run(ends)

    thread = threading.Thread(target=work, name="traces", daemon=True)
    thread.start()
    thread.join(max(0.0, ends - time.monotonic()))
    return outcome


class _Post:
    """One HTTP request. Raises: ValueError, which names the variable, for a collector that cannot be sent to."""

    def __init__(self, environ: Mapping[str, str], body: bytes) -> None:
        variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
        endpoint = environ.get(variable, "").strip()
        if not endpoint:
            variable = "OTEL_EXPORTER_OTLP_ENDPOINT"
            base, mark, query = environ.get(variable, "").strip().partition("?")
            endpoint = f"{base.rstrip('/')}/v1/traces{mark}{query}"
        if _chosen(environ, "PROTOCOL").lower() == "grpc":
            raise ValueError("OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and bazar sends over HTTP only")
        try:
            parts = urlsplit(endpoint)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError(f"{variable} is not a URL") from None
        if parts.scheme not in {"http", "https"} or not self._host or not endpoint.isascii():
            raise ValueError(f"{variable} must look like http://HOST:4318")
        if "@" in parts.netloc:
            raise ValueError(
                f"{variable} has a user or password, which bazar does not send: "
                "set OTEL_EXPORTER_OTLP_HEADERS to Authorization=Basic%20..."
            )
        self._secure = parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._certificate = _chosen(environ, "CERTIFICATE") or None
        self._headers = {**dict(_pairs(_chosen(environ, "HEADERS"))), "Content-Type": "application/json"}
        self._body = body

    def run(self, ends: float) -> str:
        """Send it and return why it was not taken. Parameters: `ends` is the deadline on the monotonic clock."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        try:
            left = max(0.001, ends - time.monotonic())
            connection = HTTPConnection(self._host, self._port, timeout=left)
            if self._secure:
                import ssl

                context = ssl.create_default_context(cafile=self._certificate)
                connection = HTTPSConnection(self._host, self._port, timeout=left, context=context)
            connection.request("POST", self._path, self._body, self._headers)
            status = connection.getresponse().status
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a header or a host that HTTP cannot have
            return f"the collector cannot be reached: {type(error).__name__}"
        return "" if status in _DONE else f"the collector answered with status {status}"


def _is_sampled(environ: Mapping[str, str], trace_id: str, by_parent: bool | None) -> bool:
    """Decide by OTEL_TRACES_SAMPLER; a name that OpenTelemetry does not define stands for its default."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if name not in {"always_on", "always_off", "traceidratio"} and by_parent is not None:
        return by_parent
    kind = name.removeprefix("parentbased_")
    if kind == "traceidratio":
        try:
            ratio = float(environ.get("OTEL_TRACES_SAMPLER_ARG") or 1)
        except ValueError:
            ratio = 1.0
        return int(trace_id[16:], 16) < ratio * 2**64
    return kind != "always_off"


def _resource(environ: Mapping[str, str]) -> dict[str, str | int | None]:
    named = dict(_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    service = environ.get("OTEL_SERVICE_NAME") or named.get("service.name") or "bazar"
    return {**named, "service.name": service, "service.version": __version__}


def _chosen(environ: Mapping[str, str], name: str) -> str:
    """Return the variable for traces, else the one for all signals."""
    of_all = environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
    return (environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or of_all).strip()


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    """Yield the pairs of `a=b,c=d`, whose values are percent-encoded (W3C Baggage); others do not count."""
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if name.strip() and equals:
            yield name.strip(), unquote(value.strip())


def _attributes(values: Mapping[str, str | int | None], hide: Callable[[str], str]) -> list[dict[str, object]]:
    # int64 is a string in the JSON form of protobuf. Half a surrogate pair, from bytes of a variable, is not UTF-8.
    return [
        {
            "key": _utf8(name),
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": _utf8(hide(value))},
        }
        for name, value in values.items()
        if value is not None
    ]


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
