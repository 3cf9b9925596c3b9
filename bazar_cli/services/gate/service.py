"""What one server process holds for all its requests: the target, connections to both systems, proofs of tokens."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain import waits
from bazar_cli.services.gate.backends import Backends, Kept
from bazar_cli.services.gate.bearer import Bearer
from bazar_cli.services.gate.gate import Gate

if TYPE_CHECKING:
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target
    from bazar_cli.domain.waits import Waits


@dataclass(frozen=True)
class Places:
    """How many use cases of each kind one process runs at a time, each with a connection to Postgres.

    Each kind has places for itself, so writes that wait for each other, or clients that read a stream slowly, never
    stop the reads.
    """

    reads: int = 6
    writes: int = 4
    streams: int = 2

    @classmethod
    def sharing(cls, connections: int) -> Places:
        """Return the places for this many connections, 3 at least."""
        streams = max(1, connections // 6)
        writes = max(1, connections // 3)
        return cls(connections - writes - streams, writes, streams)

    @property
    def connections(self) -> int:
        """How many connections they need together."""
        return self.reads + self.writes + self.streams


class Service:
    """The gate of a server process. It is made after a fork, and safe to use by several threads.

    Parameters: `target` may come from an environment with SUPERUSER_*, which do not count here. `issuer` is the `iss`
    of the target's access tokens, by default that of SUPABASE_URL.
    """

    def __init__(
        self,
        target: Target,
        *,
        issuer: str = "",
        places: Places | None = None,
        waits: Waits = waits.OF_A_SERVER,
    ) -> None:
        from bazar_cli.adapters.postgres.pool import Pool
        from bazar_cli.adapters.supabase.bearer_tokens import BearerTokens
        from bazar_cli.adapters.supabase.http import auth_url, open_http
        from bazar_cli.adapters.supabase.sign_in_limits import SignInLimits

        self.target = replace(target, migration_url=None, superuser_email=None, superuser_password=None)
        self.places = places or Places()
        pool = Pool(target.database_url, self.places.connections)
        self._kept = Kept(pool, open_http(target), waits)
        self._tokens = BearerTokens(target, issuer or auth_url(target), self._kept.http)
        self._sign_ins = SignInLimits()

    @contextmanager
    def gate(self, token: Secret | None, request_id: str, address: str) -> Generator[Gate]:
        """Lend the gate of one request.

        Parameters: `token` is the bearer token of the request, None without one; `request_id` names the request in the
        audit log; `address` is that of the client, for limits.
        """
        with Backends(self.target, request_id, self._kept) as backends:
            yield Gate(backends, Bearer(token, self._tokens, self._sign_ins, address))

    def check(self) -> None:
        """Check that Postgres answers and has the revisions of this release, for a probe. Raises: BazarError."""
        from bazar_cli.adapters.migrations import readiness

        readiness.check(self.target, self._kept.pool)

    @property
    def connections_in_use(self) -> int:
        """How many connections to Postgres are in use."""
        return self._kept.pool.in_use

    def close(self) -> None:
        """Close all connections, when no request is in hand any more."""
        self._kept.pool.end()
        self._kept.http.close()
