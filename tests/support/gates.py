"""The gate of one command of an operator, for services that pass it more than once."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.gate.gate import Gate
from bazar_cli.services.gate.identities import Identities, SignInSettings
from tests.support.people import People, Someone


@contextmanager
def gate_of(people: People, operator: Someone, target: Target | None = None) -> Generator[Gate]:
    """Yield the gate of one command with another request id. Parameters: `target` is the people's, unless given."""
    target = target or people.target
    token = Secret(people.access_token(operator))
    with tempfile.TemporaryDirectory(prefix="bazar-") as home, Backends(target, secrets.token_hex(16)) as backends:
        settings = SignInSettings({"BAZAR_CONFIG_DIR": home, "BAZAR_DATA_DIR": home}, token)
        with closing(Identities(target, settings)) as identities:
            yield Gate(backends, identities)
