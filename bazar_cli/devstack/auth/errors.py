"""Error answers in both shapes (Supabase Auth v2.196). The client chooses by X-Supabase-Api-Version."""

from __future__ import annotations

import re
import uuid
from typing import Any

import psycopg
from starlette.responses import JSONResponse

VERSION_HEADER = "X-Supabase-Api-Version"
VERSION = "2024-01-01"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def wants_dated(version: str) -> bool:
    """Say whether the client's X-Supabase-Api-Version asks for the 2024 shape: its date or a later one."""
    return _DATE.fullmatch(version) is not None and version >= VERSION


class Fault(Exception):
    """An error answer: HTTP status, Supabase's error code and message."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        extra: dict[str, Any] | None = None,
        with_id: bool = False,
        code_header: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra or {}
        self.with_id = with_id
        self.code_header = code_header

    def response(self, *, dated: bool) -> JSONResponse:
        """Return the error in the 2024 shape (`dated`) or the legacy one."""
        headers = {"X-Sb-Error-Code": self.code}
        if self.code_header is False or (dated and self.code_header is None and self.code == "weak_password"):
            headers = {}
        if dated:
            headers[VERSION_HEADER] = VERSION
            return JSONResponse({"code": self.code, "message": self.message, **self.extra}, self.status, headers)
        body: dict[str, Any] = {"code": self.status, "error_code": self.code, "msg": self.message, **self.extra}
        if self.with_id:
            body["error_id"] = uuid.uuid4().hex
        return JSONResponse(body, self.status, headers)


class DatabaseFault(Fault):
    """A violated constraint. The legacy shape shows Postgres' message, the 2024 shape hides it."""

    def __init__(self, error: psycopg.errors.IntegrityError, message: str) -> None:
        super().__init__(500, "unexpected_failure", message)
        self._sqlstate = error.sqlstate
        self._primary = error.diag.message_primary
        self._detail = error.diag.message_detail

    def response(self, *, dated: bool) -> JSONResponse:
        if dated:
            return super().response(dated=True)
        body = {"code": self._sqlstate, "detail": self._detail, "message": self._primary}
        return JSONResponse(body, 500, {"X-Sb-Error-Code": self.code})


def validation_failed(message: str, status: int = 400) -> Fault:
    """Return the error for a value that breaks a rule."""
    return Fault(status, "validation_failed", message)


def internal(message: str = "Internal Server Error") -> Fault:
    """Return an error of the server itself, which has no header with the error code (recorded)."""
    return Fault(500, "unexpected_failure", message, code_header=False)
