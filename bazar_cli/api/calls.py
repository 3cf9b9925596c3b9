"""The record of one request, for problems, headers and the access log."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import UUID

from bazar_cli import __version__
from bazar_cli.api.errors import Unserved

if TYPE_CHECKING:
    from starlette.types import Scope

_REQUEST_ID = re.compile(r"[0-9A-Za-z_-]{8,64}", re.A)
_VERSION = re.compile(r"(?P<major>[0-9]{1,9})\.[0-9]{1,9}(?:\.[0-9]{1,9})?(?:[-.+]?[0-9A-Za-z.-]{1,40})?", re.A)
_KEY = "bazar.call"
GONE = 499
"""In place of a status, where the client went before it got one: as nginx logs it."""
ASIDE = "\ue000"
"""Stands for a slash inside a part of a path (%2F), which is no separator. No name of ours has this character."""


class Hider(Protocol):
    """Hides secrets in texts. `terminal.redact.Redactor` is one."""

    def remember_secret(self, secret: str) -> None:
        """Hide this text from now on."""
        ...

    def hide_in(self, value: object) -> object:
        """Return a JSON value without the known secrets."""
        ...


@dataclass
class Call:
    """One request."""

    new_hider: Callable[[], Hider]
    request_id: str
    address: str
    """The client's, "" where it is not known."""
    client_version: str | None
    """The value of the header Bazar-Version."""
    use_case: str | None = None
    """The name of the spec, once the route is known."""
    operator: UUID | None = None
    """The user, once the token is proven."""
    code: str | None = None
    """The code of the problem that it was answered with."""
    started: bool = field(default=False, repr=False)
    """The head of the answer was sent."""

    secrets: list[str] = field(default_factory=list[str], repr=False)
    """The secrets of the request, such as its token and a password in its body."""

    def hidden(self, value: object) -> Any:
        """Return a JSON value without the secrets of the server and of this request."""
        hider = self.new_hider()
        for secret in self.secrets:
            hider.remember_secret(secret)
        return hider.hide_in(value)

    @property
    def is_of_another_release(self) -> bool:
        """Whether the header Bazar-Version names another release than the server's."""
        return self.client_version not in {None, __version__}

    def check_version(self) -> None:
        """Refuse a client that speaks another version of the API.

        Raises: Unserved `request.other_version`, `request.unreadable`.
        """
        if self.client_version is None:
            return
        found = _VERSION.fullmatch(self.client_version)
        if found is None:
            raise Unserved(
                400,
                "request.unreadable",
                f"the header Bazar-Version {self.client_version[:40]!r} is not a version",
                hint="send the version of the client, such as 1.2.0, or leave the header out",
            )
        if found["major"] != __version__.partition(".")[0]:
            raise Unserved(
                400,
                "request.other_version",
                f"this server is bazar {__version__}, and the client {self.client_version} speaks another version"
                " of the API",
                hint="use a client and a server with the same first number",
                details={"server": __version__, "client": self.client_version},
            )


def begin(scope: Scope, new_hider: Callable[[], Hider]) -> Call:
    """Return the record of a new request, which `call_of` finds again."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    given = headers.get(b"x-request-id", "")
    client = scope.get("client")
    call = Call(
        new_hider=new_hider,
        request_id=given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex(),
        address=client[0] if client else "",
        client_version=headers.get(b"bazar-version"),
    )
    scope[_KEY] = call
    return call


def known_call(scope: Scope) -> Call | None:
    """Return the record of a request; None if it ended before it had one."""
    return cast("Call | None", scope.get(_KEY))


def call_of(scope: Scope) -> Call:
    """Return the record of a request."""
    return cast("Call", scope[_KEY])
