"""What the commands of one process share: built commands, the target, the sign-in and the connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bazar_cli.terminal.redact import Redactor

if TYPE_CHECKING:
    from bazar_cli.adapters.config.target import TargetChoice
    from bazar_cli.adapters.remote.client import ApiClient
    from bazar_cli.domain.target import RemoteTarget, Target
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.identities import Identities, SignInSettings
    from bazar_cli.terminal.typer_lite import LiteCommand


class Shared:
    """Parts that are made on first use, and closed when the process has run its last command.

    Nearly always that is the first command; a batch has many.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.redactor = Redactor(environ)
        self.collector_failed = False
        """Whether a trace could not be sent."""
        self._commands: dict[str, LiteCommand] = {}
        self._targets: dict[TargetChoice, Target | RemoteTarget] = {}
        self._identities: dict[Target, Identities] = {}
        self._backends: dict[Target, Backends] = {}
        self._apis: dict[RemoteTarget, ApiClient] = {}

    def command(self, path: str, build: Callable[[], LiteCommand]) -> LiteCommand:
        """Return the command of these words, which `build` makes for its first run."""
        if path not in self._commands:
            self._commands[path] = build()
        return self._commands[path]

    def target(self, choice: TargetChoice, find: Callable[[], Target | RemoteTarget]) -> Target | RemoteTarget:
        """Return the target of this choice, which `find` finds for the first command."""
        if choice not in self._targets:
            self._targets[choice] = find()
        return self._targets[choice]

    def identities(self, target: Target, sign_in: SignInSettings) -> Identities:
        """Return what finds the operator of the next command. Only a sign-in by SUPERUSER_PASSWORD is shared."""
        found = self._identities.get(target)
        if found is None:
            from bazar_cli.services.gate.identities import Identities

            found = self._identities[target] = Identities(target, sign_in)
        else:
            found.begin_command(self.redactor.remember)
        return found

    def backends(self, target: Target, request_id: str) -> Backends:
        """Return both systems of a target for the next command, with the connections of the earlier ones."""
        found = self._backends.get(target)
        if found is None:
            from bazar_cli.services.gate.backends import Backends

            found = self._backends[target] = Backends(target, request_id)
        found.request_id = request_id
        return found

    def api(self, target: RemoteTarget, environ: Mapping[str, str], request_id: str) -> ApiClient:
        """Return the API of a remote target for the next command, with the connection of the earlier ones."""
        found = self._apis.get(target)
        if found is None:
            from bazar_cli.adapters.remote.client import ApiClient

            found = self._apis[target] = ApiClient(target, environ)
        found.request_id = request_id
        return found

    def close(self) -> None:
        """Close what was opened, and end sessions that were begun only for these commands."""
        for api in self._apis.values():
            api.close()
        try:
            for backends in self._backends.values():
                backends.close()
        finally:
            for identities in self._identities.values():
                identities.close()
