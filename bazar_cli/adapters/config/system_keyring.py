"""The keyring of the system: a back end is other people's code, which may be missing, refuse, lie or hang."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bazar_cli.adapters.files import is_there
from bazar_cli.domain.errors import BackendUnavailable

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SECONDS = 3.0
"""How long a back end may take, as with gh: one that waits for a dialog that nobody sees never answers."""
_SERVICE = "bazar"
_VARIABLE = "PYTHON_KEYRING_BACKEND"
_NULL = "keyring.backends.null.Keyring"
_KEEP_NOTHING = frozenset({_NULL, "keyring.backends.fail.Keyring"})
_unanswered: list[threading.Thread] = []
"""Calls that were given up: while one of them hangs, the next would too."""


class SystemKeyring:
    """Named texts in the keyring that the library `keyring` chooses."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._named = environ.get(_VARIABLE)
        self._name = f"the keyring {self._named}" if self._named else "the keyring of this system"

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> SystemKeyring | None:
        """Return the keyring, None where nothing would be kept in it.

        The library takes 128-250 ms to import, so it is asked only where a keyring can be.
        Raises: BackendUnavailable `keyring.unavailable` for a back end that cannot be loaded.
        """
        found = cls(environ)
        possible = (
            sys.platform == "darwin" or _has_bus(environ) if not found._named else found._named not in _KEEP_NOTHING
        )
        return found if possible and found._ask(_keeps) else None

    def get(self, name: str) -> str | None:
        """Return a secret, None where there is none. Raises: BackendUnavailable `keyring.unavailable`."""
        found: object = self._ask(lambda backend: backend.get_password(_SERVICE, name))
        if found is None:
            return None
        if isinstance(found, str):
            return str.__str__(found)  # a plain one: a subclass may compare as it likes
        raise self._unavailable(f"answered with a {type(found).__name__}")

    def set(self, name: str, value: str) -> None:
        """Keep a secret. Raises: BackendUnavailable `keyring.unavailable`, also where it was not kept."""
        before = self.get(name)
        self._ask(lambda backend: backend.set_password(_SERVICE, name, value))
        kept = self.get(name)
        if kept == value:
            return
        if kept != before:
            # What it kept instead would be taken for a broken session from now on.
            self._ask(lambda backend: backend.delete_password(_SERVICE, name))
        raise self._unavailable("did not keep what was stored in it")

    def delete(self, name: str) -> None:
        """Forget a secret, where there is one. Raises: BackendUnavailable `keyring.unavailable`, also if it stays."""
        if self.get(name) is None:
            return
        self._ask(lambda backend: backend.delete_password(_SERVICE, name))
        if self.get(name) is not None:
            raise self._unavailable("did not delete what was to be forgotten")

    def _ask(self, question: Callable[[Any], T]) -> T:
        import keyring

        answers: list[T] = []
        faults: list[str] = []

        def work() -> None:
            try:
                answers.append(question(keyring.get_keyring()))
            except BaseException as fault:  # noqa: BLE001 - whatever other people's code raises here is a refusal
                # Only the type: the text comes from code that was given the secret.
                faults.append(type(fault).__name__)

        if not any(thread.is_alive() for thread in _unanswered):
            # A daemon, because a thread that hangs must not keep the process from ending.
            thread = threading.Thread(target=work, name="keyring", daemon=True)
            thread.start()
            thread.join(SECONDS)
            if answers:
                return answers[0]
            if faults:
                raise self._unavailable(f"refuses: {faults[0]}")
            _unanswered.append(thread)
        raise self._unavailable(f"has not answered for {SECONDS:.0f} s")

    def _unavailable(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(
            "keyring.unavailable",
            f"{self._name} {what}",
            hint=f"unlock the keyring and try again, or keep secrets in private files: set {_VARIABLE}={_NULL};"
            " with BAZAR_TOKEN and a target in the environment no keyring is asked",
        )


def _has_bus(environ: Mapping[str, str]) -> bool:
    runtime = environ.get("XDG_RUNTIME_DIR")
    return bool(environ.get("DBUS_SESSION_BUS_ADDRESS")) or bool(runtime and is_there(Path(runtime) / "bus"))


def _keeps(backend: KeyringBackend) -> bool:
    """Say whether a back end is one that keeps anything."""
    from keyring.backends import chainer, fail, null

    if isinstance(backend, chainer.ChainerBackend):
        return any(map(_keeps, backend.backends))
    return not isinstance(backend, (fail.Keyring, null.Keyring))
