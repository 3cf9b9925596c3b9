"""The routes, made from the specs and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from bazar_cli.api import answers, problems
from bazar_cli.api.bodies import parsed, read_body
from bazar_cli.api.calls import ASIDE, Call, call_of
from bazar_cli.api.errors import Unserved
from bazar_cli.api.idempotency import Kept, done_once, key_of
from bazar_cli.api.places import Kind, Threads
from bazar_cli.api.preconditions import answered, wanted_versions
from bazar_cli.api.requests import read_request, take_dry_run
from bazar_cli.api.use_cases import Binding
from bazar_cli.domain.consent import ConsentNeeded, with_consent
from bazar_cli.domain.errors import BazarError, NotSignedIn
from bazar_cli.domain.route import PREFIX, Answer
from bazar_cli.domain.secrets import Secret

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from bazar_cli.services.gate.gate import Gate


_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Gates(Protocol):
    """Lends the gate of one request; `services.gate.service.Service` is one."""

    def gate(self, token: Secret | None, request_id: str, address: str) -> AbstractContextManager[Gate]:
        """Lend the gate."""
        ...


def add_routes(app: FastAPI, bindings: tuple[Binding, ...], gates: Gates, threads: Threads) -> None:
    """Serve these use cases."""
    # A path without names is found before one whose name it would fit.
    for binding in sorted(bindings, key=lambda b: [part.startswith("{") for part in b.route.path.split("/")]):
        route = binding.route
        app.add_api_route(
            PREFIX + route.path,
            partial(_serve, binding, gates, threads),
            methods=methods_of(binding),
            include_in_schema=False,
            response_model=None,
            name=binding.spec.name,
        )
        if not route.names:
            # Its other methods are not those of a path with a name, such as DELETE /users/{user} for /users/me.
            others = _METHODS.difference(served_methods(bindings)[PREFIX + route.path])
            app.add_api_route(PREFIX + route.path, _refuse, methods=sorted(others), include_in_schema=False)


def served_methods(bindings: tuple[Binding, ...]) -> dict[str, list[str]]:
    """Return the methods of each path."""
    found: dict[str, list[str]] = {}
    for binding in bindings:
        found.setdefault(PREFIX + binding.route.path, []).extend(methods_of(binding))
    return {path: sorted(methods) for path, methods in found.items()}


def _refuse() -> None:
    raise HTTPException(405)


def methods_of(binding: Binding) -> list[str]:
    """Return the methods of a use case on its path."""
    return [binding.route.method, *(["PUT"] if binding.route.replaced else [])]


async def _serve(binding: Binding, gates: Gates, threads: Threads, request: Request) -> Response:
    call = call_of(request.scope)
    call.use_case = binding.spec.name
    call.check_version()
    token = _bearer(request)
    if token is None and binding.needs_token:
        raise _no_token()
    body = await read_body(request)
    served = _Served(binding, gates, call, request, token, body)
    if binding.route.answer is Answer.STREAM:
        return await _stream(served, threads)
    async with threads.place(Kind.WRITES if binding.spec.writes else Kind.READS):
        return await threads.run(served.respond)


class _Served:
    """One request on one route, in a thread."""

    def __init__(
        self, binding: Binding, gates: Gates, call: Call, request: Request, token: Secret | None, body: bytes
    ) -> None:
        self._binding = binding
        self._gates = gates
        self._call = call
        self._request = request
        self._token = token
        self._body = body

    def respond(self) -> Response:
        """Run the use case, and return its response. Raises: BazarError."""
        binding, request = self._binding, self._request
        with self._gate() as gate:
            self._prove(gate)
            asked, dry_run = self._read()
            if binding.is_public:
                result = gate.perform_public(binding.service, asked)
                return answers.to_response(binding.route, result, request, dry_run=False)
            key = request.headers.get("idempotency-key")
            service = binding.service if key is None else done_once(binding, key_of(key, binding, asked))
            try:
                result = gate.perform(service, binding.spec, asked, dry_run=dry_run)
            except ConsentNeeded as needed:
                again = with_consent(asked, answered(needed, request.headers.get("bazar-consent")))
                result = gate.perform(service, binding.spec, again, dry_run=dry_run)
            if isinstance(result, Kept):
                return answers.one(binding.route, result.content, request.scope, dry_run=False)
            return answers.to_response(binding.route, result, request, dry_run=dry_run)

    def lines(self, stack: ExitStack) -> Iterator[bytes]:
        """Return the lines of a stream, whose gate the stack closes. Raises: BazarError."""
        gate = stack.enter_context(self._gate())
        self._prove(gate)
        asked, _ = self._read()
        parts = gate.prepared(self._binding.service, self._binding.spec, asked)(asked)
        stack.callback(parts.close)
        return answers.lines(parts)

    def problem(self, error: BazarError) -> dict[str, Any]:
        """Return the problem of an error that ended a stream."""
        self._call.code = error.code
        return problems.problem(error, self._call, self._request.url.path)

    def _gate(self) -> AbstractContextManager[Gate]:
        return self._gates.gate(self._token, self._call.request_id, self._call.address)

    def _prove(self, gate: Gate) -> None:
        """Prove the identity before the request is read: a stranger learns nothing about it."""
        if self._binding.needs_token:
            self._call.operator = gate.prove()

    def _parsed(self) -> dict[str, Any]:
        return parsed(self._body, self._request.headers, takes_one=self._binding.route.has_body)

    def _read(self) -> tuple[Any, bool]:
        request, route = self._request, self._binding.route
        path = {name: value.replace(ASIDE, "/") for name, value in request.path_params.items()}
        query = request.query_params.multi_items()
        dry_run, query = take_dry_run(query, writes=self._binding.spec.writes and not self._binding.is_public)
        asked: Any = read_request(route, request.method, path, query, self._parsed())
        if_match = request.headers.get("if-match")
        if if_match is not None:
            if not route.versioned:
                raise Unserved(400, "request.unreadable", "this route takes no If-Match", hint="leave the header out")
            asked = replace(asked, version=wanted_versions(if_match))
        return asked, dry_run


async def _stream(served: _Served, threads: Threads) -> Response:
    """Answer with JSON Lines. An error before the first line is a problem; a later one is the last line."""
    async with AsyncExitStack() as held:
        await held.enter_async_context(threads.place(Kind.STREAMS))
        stack = ExitStack()
        held.push_async_callback(threads.run, stack.close)

        def first() -> tuple[Iterator[bytes], bytes | None]:
            lines = served.lines(stack)
            return lines, next(lines, None)

        lines, chunk = await threads.run(first)
        kept = held.pop_all()

    async def rest() -> AsyncIterator[bytes]:
        nonlocal chunk
        try:
            while chunk is not None:
                yield chunk
                chunk = await threads.run(partial(next, lines, None))
        except BazarError as error:
            yield answers.encoded({"error": served.problem(error)}) + b"\n"
        else:
            yield b'{"end":true}\n'

    return _Lines(rest(), kept)


class _Lines(StreamingResponse):
    """A response of JSON Lines that gives back what it holds, also where the client goes before the first line."""

    media_type = "application/jsonl"

    def __init__(self, content: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        super().__init__(content)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._held.aclose()


def _bearer(request: Request) -> Secret | None:
    """Return the bearer token of a request; None without one. Raises: NotSignedIn for another credential."""
    given = request.headers.getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise NotSignedIn(
            "auth.token_invalid",
            "the header Authorization holds no bearer token",
            hint="send it once, as `Authorization: Bearer TOKEN`",
        )
    return Secret(token.strip())


def _no_token() -> NotSignedIn:
    return NotSignedIn(
        "auth.not_signed_in",
        "the request has no access token",
        hint="send the header `Authorization: Bearer TOKEN`; POST /api/v1/auth/login gives one",
    )
