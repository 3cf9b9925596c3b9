"""Errors that only HTTP has."""

from __future__ import annotations

from collections.abc import Mapping

from bazar_cli.domain.errors import NotFound, UsageError


class Unserved(UsageError):
    """A request that HTTP or its JSON makes impossible to serve.

    Parameters: `status` is that of HTTP; `headers` are those of the answer, such as Allow.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, details=details)
        self.status = status
        self.headers = dict(headers or {})


class NoRoute(NotFound):
    """Nothing is served at the path."""
