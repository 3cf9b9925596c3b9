"""The calls of one command to each system: how many, how long, and for a trace each one by itself.

The adapters time each call with `timed`, at the one place where all calls to a system pass.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from bazar_cli.domain.text_enum import TextEnum

MOST_KEPT = 500
"""Calls that a trace has at most; later ones are only counted."""
_NO_ATTRIBUTES: Mapping[str, str | int] = {}


class System(TextEnum):
    """A system that a command calls."""

    POSTGRES = "postgres"
    AUTH = "auth"
    API = "api"


@dataclass(frozen=True)
class TraceContext:
    """The root span of a command, and the trace that it belongs to (W3C Trace Context)."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str
    """The span of the caller, "" without one."""
    sampled: bool
    """True if spans are recorded and sent."""
    state: str
    """The caller's TRACESTATE, which is passed on."""


@dataclass
class Call:
    """One call to a system."""

    system: System
    name: str
    attributes: dict[str, str | int]
    began: int
    """Nanoseconds since 1970."""
    nanoseconds: int = 0
    error: str = ""
    """A code or the name of a type, never a message; "" for a success."""
    span_id: str = field(default_factory=lambda: os.urandom(8).hex())


class Calls:
    """The calls of one command; safe to use by several threads."""

    def __init__(self, trace: TraceContext | None = None) -> None:
        self.trace = trace
        self.kept: list[Call] = []
        self._count = dict.fromkeys(System, 0)
        self._nanoseconds = dict.fromkeys(System, 0)
        self._lock = threading.Lock()

    @contextmanager
    def recording(self) -> Generator[None]:
        """Record the calls of the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def count(self, system: System) -> int:
        """Return how many calls a system got."""
        return self._count[system]

    def milliseconds(self, system: System) -> int:
        """Return how long all calls to a system took together; of parallel ones each counts."""
        return self._nanoseconds[system] // 1_000_000

    @property
    def dropped(self) -> int:
        """How many calls of a trace were counted and not kept."""
        return sum(self._count.values()) - len(self.kept)

    def add(self, call: Call) -> None:
        """Count a call that has ended."""
        with self._lock:
            self._count[call.system] += 1
            self._nanoseconds[call.system] += call.nanoseconds
            if self.trace is not None and self.trace.sampled and len(self.kept) < MOST_KEPT:
                self.kept.append(call)


_current: ContextVar[Calls | None] = ContextVar("calls", default=None)


@contextmanager
def timed(system: System, name: str, attributes: Mapping[str, str | int] = _NO_ATTRIBUTES) -> Generator[Call]:
    """Time the block as one call of the present command.

    Parameters: `name` and `attributes` hold no value of a user and no secret; the block may add attributes and an
    error. An exception ends the call with its SQLSTATE, else with the name of its type.
    """
    call = Call(system, name, dict(attributes), time.time_ns())
    began = time.monotonic_ns()
    try:
        yield call
    except BaseException as error:
        sqlstate = getattr(error, "sqlstate", None)
        call.error = str(sqlstate or type(error).__name__)
        if sqlstate:
            call.attributes["db.response.status_code"] = call.error
        raise
    finally:
        call.nanoseconds = time.monotonic_ns() - began
        calls = _current.get()
        if calls is not None:
            calls.add(call)


def trace_of_caller() -> TraceContext | None:
    """Return the trace of the command whose block this is, such as a batch that runs other commands."""
    calls = _current.get()
    return None if calls is None else calls.trace


def trace_headers(call: Call) -> dict[str, str]:
    """Return the headers that make the called system's spans children of this call; none without a trace."""
    trace = trace_of_caller()
    if trace is None:
        return {}
    headers = {"traceparent": f"00-{trace.trace_id}-{call.span_id}-{'01' if trace.sampled else '00'}"}
    return {**headers, "tracestate": trace.state} if trace.state else headers
