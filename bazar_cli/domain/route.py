"""Where the HTTP API serves a use case: method, path, and the types of request and result."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import Enum
from functools import cached_property
from typing import Any

PREFIX = "/api/v1"
"""Every path is below it."""

_NAME = re.compile(r"\{(\w+)\}")


class Answer(str, Enum):
    """The form of an answer."""

    ONE = "one"
    """One result."""
    LIST = "list"
    """All results at once, below `items`."""
    PAGE = "page"
    """One page of results, and the cursor that continues it."""
    STREAM = "stream"
    """Any number of results as JSON Lines."""


@dataclass(frozen=True)
class Route:
    """How the HTTP API serves one use case. A Route is a part of a Spec, so that no route is without a permission.

    The names in braces are fields of the request. The other fields are in the query of GET and DELETE, and in the JSON
    body of the other methods. Every route that writes takes `dry_run=true` in the query.
    """

    method: str
    path: str
    """Below PREFIX, such as /users/{user}."""
    request: type[Any] | None
    """The dataclass of the request; None for a use case without one."""
    result: type[Any] | None
    """The dataclass of the result, or of one item; None for an answer without a body (204)."""
    answer: Answer = Answer.ONE
    creates: bool = False
    """It creates something: the status is 201, and the request may have an Idempotency-Key."""
    replaced: tuple[str, ...] = ()
    """The fields that PUT requires on the same path; without them it serves no PUT."""

    def __post_init__(self) -> None:
        known = {f.name for f in fields(self.request)} if self.request else set[str]()
        if unknown := {*self.names, *self.replaced} - known:
            raise ValueError(f"{self.method} {self.path}: the request has no {', '.join(sorted(unknown))}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields of the request that the path holds."""
        return tuple(_NAME.findall(self.path))

    @cached_property
    def versioned(self) -> bool:
        """Whether the request may require a version of what it changes, by the header If-Match."""
        return self.request is not None and any(f.name == "version" for f in fields(self.request))

    @property
    def has_body(self) -> bool:
        """Whether the other fields of the request are in a JSON body; they are in the query otherwise."""
        return self.method not in {"GET", "DELETE"}
