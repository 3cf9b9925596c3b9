"""A proxy of Supabase Auth that makes faults: a real server does not fail on demand.

Everything is passed on to the target's own Auth service. A `Fault` meets the requests that it names, before or
after the service acted on them: it answers in the service's place, drops the connection, or holds the answer
back until the test lets it go.
"""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from bazar_cli.domain.target import Target
from tests.support.tls import trusted

_PASSED_BACK = ("Content-Type", "X-Supabase-Api-Version", "X-Total-Count", "Link", "Date", "Retry-After")


@dataclass
class Fault:
    """A fault of the requests to one endpoint."""

    method: str
    path: str
    """A regular expression for the whole path below `/auth/v1`, query included."""
    status: int | None = None
    """Answered in the service's place; None drops the connection instead."""
    acts: bool = False
    """Whether the service gets the request first; its answer is lost in any case."""
    times: int | None = 1
    """How many requests it meets; None for all."""
    retry_after: str | None = None
    """In how many seconds, or when, the answer wants to be asked again."""
    passes: bool = False
    """Nothing goes wrong with these: the first ones before a fault that meets the next."""
    page: bool = False
    """Whether the answer is the page of a gateway, in place of one in JSON."""
    lasting: bool = False
    """Once it met a request, every later one to any endpoint ends like it, and is not acted on."""
    held: threading.Event | None = None
    """Set when a request has come (and was acted on); its answer waits for `release`, then is dropped."""
    release: threading.Event = field(default_factory=threading.Event)
    met: int = 0
    """How many requests it met so far."""

    def meets(self, method: str, path: str) -> bool:
        """Whether this request is one of them; counts it."""
        if method != self.method or not re.fullmatch(self.path, path) or self.met == self.times:
            return False
        self.met += 1
        return True


class RandomFaults:
    """Faults of a share of the requests of the admin API: each sort as often as the others.

    Parameters: `share` is from 0 to 1. 429 has Retry-After: 0, so that no test waits for it.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.met = 0
        self._share = share
        self._random = random.Random(seed)  # noqa: S311 - faults, no secret
        self._release = threading.Event()

    def meet(self, method: str, path: str) -> Fault | None:
        """Return the fault that meets this request, if one does."""
        if not path.startswith("/admin/users") or self._random.random() >= self._share:
            return None
        self.met += 1
        held = threading.Event() if self._random.randrange(6) == 0 else None
        if held is not None:  # a timeout, before or after the service acted
            return Fault(method, path, acts=self._random.random() < 0.5, held=held, release=self._release)
        status = self._random.choice([429, 500, 502, None])
        acts = status != 429 and self._random.random() < 0.5
        return Fault(method, path, status, acts=acts, retry_after="0" if status == 429 else None, page=status == 502)

    def heal(self) -> None:
        """Let the held requests go, and make no more faults."""
        self._share = 0
        self._release.set()


class Limit:
    """A limit of requests that create users, as gateways have one: a bucket of `burst` that leaks `rate` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self.refused = 0
        self._rate = rate
        self._burst = burst
        self._filled = 0.0
        self._at = time.monotonic()

    def meet(self, method: str, path: str) -> Fault | None:
        """Return the answer of a request that comes too soon."""
        if (method, path) != ("POST", "/admin/users"):
            return None
        now = time.monotonic()
        self._filled = max(0.0, self._filled - (now - self._at) * self._rate)
        self._at = now
        if self._filled > self._burst:
            self.refused += 1
            return Fault(method, path, 429)
        self._filled += 1
        return None


class AuthProxy:
    """A proxy of one Auth service, its faults and the requests so far."""

    def __init__(self, target: Target) -> None:
        self.target = target
        """The target that uses the proxy."""
        self.requests: list[str] = []
        """Method and path of every request, the oldest first."""
        self._faults: list[Fault] = []
        self._random: RandomFaults | Limit | None = None
        self._down: Fault | None = None
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Let `fault` meet requests from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def hold(self, method: str, path: str, *, acts: bool) -> Fault:
        """Hold the next such request back, before or after the service acted on it."""
        return self.add(Fault(method, path, acts=acts, held=threading.Event()))

    def fail_at_random(self, share: float, seed: int) -> RandomFaults:
        """Let faults of all sorts meet this share of the requests of the admin API."""
        with self._lock:
            self._random = RandomFaults(share, seed)
            return self._random

    def limit(self, rate: float, burst: int) -> Limit:
        """Answer 429 to creations that come faster than `rate` a second."""
        with self._lock:
            self._random = limit = Limit(rate, burst)
            return limit

    def heal(self) -> None:
        """Pass everything on from now."""
        if isinstance(self._random, RandomFaults):
            self._random.heal()
        with self._lock:
            faults, self._faults, self._down = self._faults, [], None
        for fault in faults:
            fault.release.set()

    def met_by(self, method: str, whole_path: str) -> Fault | None:
        """Remember a request; return the fault that meets it."""
        path = whole_path.removeprefix("/auth/v1")
        with self._lock:
            self.requests.append(f"{method} {whole_path}")
            if self._down is not None:
                return self._down
            met = next((fault for fault in self._faults if fault.meets(method, path)), None)
            if met is None and self._random is not None:
                met = self._random.meet(method, path)
            if met is not None and met.lasting:
                self._down = Fault(method, path, met.status)
            return met


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def passed_on(self, base_url: str) -> httpx.Response:
        """Return what the service at `base_url` answers to it."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        url = base_url + self.path
        return httpx.request(
            self.method, url, headers=headers, content=self.body, trust_env=False, timeout=30, verify=trusted()
        )


@contextmanager
def between(answer: Callable[[Asked], httpx.Response | None]) -> Generator[str]:
    """Serve HTTP on this machine and yield the base URL; an answer of None drops the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answered = answer(Asked(self.command, self.path, dict(self.headers.items()), body))
            if answered is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response_only(answered.status_code)
            for name in _PASSED_BACK:
                if name in answered.headers:
                    self.send_header(name, answered.headers[name])
            self.send_header("Content-Length", str(len(answered.content)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
                self.wfile.write(answered.content)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@contextmanager
def auth_proxy(target: Target) -> Generator[AuthProxy]:
    """Yield a proxy of the Auth service of `target`."""

    def answer(asked: Asked) -> httpx.Response | None:
        fault = proxy.met_by(asked.method, asked.path)
        if fault is None or fault.passes:
            return asked.passed_on(target.supabase_url)
        if fault.acts:
            asked.passed_on(target.supabase_url)
        if fault.held is not None:
            fault.held.set()
            fault.release.wait()
        if fault.status is None:
            return None
        content = {"code": "unexpected_failure", "message": "Something went wrong, on purpose"}
        headers = {"X-Supabase-Api-Version": "2024-01-01"}
        if fault.retry_after is not None:
            headers["Retry-After"] = fault.retry_after
        if fault.page:
            return httpx.Response(fault.status, html="<html>Slow down</html>", headers=headers)
        return httpx.Response(fault.status, json=content, headers=headers)

    proxy = AuthProxy(target)
    with between(answer) as url:
        proxy.target = replace(target, supabase_url=url)
        try:
            yield proxy
        finally:
            proxy.heal()


@dataclass(frozen=True)
class HeldWire:
    """The target to use, the event of the request's arrival, the one that lets it go, and what was asked."""

    target: Target
    held: threading.Event
    release: threading.Event
    requests: list[str]
    """Method and path of every request, the oldest first."""


@contextmanager
def held_wire(target: Target, method: str, path: str, *, arrives: bool) -> Generator[HeldWire]:
    """Pass everything on to `target`, but hold the first `method` request to `path...`.

    Parameters: `arrives` says whether Supabase gets that request before it is held; its answer is never sent.
    """
    with auth_proxy(target) as proxy:
        hold = proxy.hold(method, re.escape(path) + ".*", acts=arrives)
        assert hold.held is not None
        yield HeldWire(proxy.target, hold.held, hold.release, proxy.requests)


@contextmanager
def broken_wire(target: Target, method: str, *, arrives: bool, heals: bool) -> Generator[Target]:
    """Yield a target whose connection to Supabase breaks at the first request with `method`.

    Parameters: `arrives` says whether Supabase still gets that request, its answer is lost in any case;
    `heals` whether later requests get through again.
    """
    with auth_proxy(target) as proxy:
        proxy.add(Fault(method, ".*", acts=arrives, lasting=not heals))
        yield proxy.target
