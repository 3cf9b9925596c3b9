"""A text that must never reach a log, an error or a traceback."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def announced_to(listener: Callable[[str], None]) -> Generator[None]:
    """Call `listener` with each secret that is made in the block, so that its text can be hidden in messages."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Secret:
    """Holds a secret; `reveal()` is the only way to read it, `repr` and `str` hide it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        listener = _listener.get()
        if listener is not None:
            listener(value)

    def reveal(self) -> str:
        """Return the secret itself, for the one call that sends or prints it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)
