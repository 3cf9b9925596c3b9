"""The two systems of one command: opened on use, closed together."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from bazar_cli.domain import waits
from bazar_cli.domain.authz.spec import Grant, Sealed
from bazar_cli.domain.target import Target
from bazar_cli.domain.waits import Waits

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.migrator import Migrator
    from bazar_cli.adapters.migrations.reset.resetter import Resetter
    from bazar_cli.adapters.migrations.reverter import Reverter
    from bazar_cli.adapters.postgres.database import Database
    from bazar_cli.adapters.postgres.pool import Pool
    from bazar_cli.adapters.postgres.server import Server
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.adapters.supabase.auth_client import AuthClient
    from bazar_cli.adapters.supabase.bulk import BulkAdminClient
    from bazar_cli.adapters.supabase.http import Connections


@dataclass(frozen=True)
class Kept:
    """What a server process keeps for the use cases of all requests."""

    pool: Pool
    http: Connections
    waits: Waits = waits.OF_A_SERVER


class Backends:
    """Postgres and Supabase Auth of one target, imported and opened on first use.

    Parameters: `kept` are the connections of a server process. A command has none: it opens its own.
    """

    def __init__(self, target: Target, request_id: str, kept: Kept | None = None) -> None:
        self.target = target
        self.request_id = request_id
        self.kept = kept
        self.waits = kept.waits if kept else waits.OF_A_COMMAND
        self._database: Database | None = None
        self._admins: dict[bool, AdminClient] = {}

    def database(self) -> Database:
        """Return Postgres, which opens transactions for a Grant only."""
        if self._database is None:
            from bazar_cli.adapters.postgres.database import Database

            pool = self.kept.pool if self.kept else None
            self._database = Database(self.target, pool, self.waits.row)
        return self._database

    def auth(self) -> AuthClient:
        """Return a client of Supabase Auth for requests on behalf of a user; the caller closes it."""
        from bazar_cli.adapters.supabase.auth_client import AuthClient

        return AuthClient(self.target, self.kept.http if self.kept else None)

    def admin(self, grant: Grant) -> AdminClient:
        """Return Supabase's admin client for this Grant; it refuses to write in a dry run or a read.

        Raises: Sealed without a Grant.
        """
        _demand(grant, "the Supabase admin client was")
        read_only = grant.dry_run or not grant.spec.writes
        if read_only not in self._admins:
            from bazar_cli.adapters.supabase.admin import AdminClient

            http = self.kept.http if self.kept else None
            self._admins[read_only] = AdminClient(self.target, read_only=read_only, http=http)
        return self._admins[read_only]

    def bulk_admin(self, grant: Grant, connections: int) -> AbstractAsyncContextManager[BulkAdminClient]:
        """Open Supabase's admin API for many requests side by side; it refuses to write as `admin` does.

        Raises: Sealed without a Grant.
        """
        _demand(grant, "the Supabase admin client was")
        from bazar_cli.adapters.supabase.bulk import open_bulk

        return open_bulk(self.target, connections, read_only=grant.dry_run or not grant.spec.writes)

    def migrator(self, grant: Grant) -> Migrator:
        """Return the migrations of this target; a Grant that reads may only ask for the status.

        Raises: Sealed without a Grant.
        """
        _demand(grant, "the migrations were")
        from bazar_cli.adapters.migrations.migrator import Migrator

        return Migrator(self.target, grant)

    def reverter(self, grant: Grant) -> Reverter:
        """Return what rolls back the migrations of this target.

        Raises: Sealed without a Grant.
        """
        _demand(grant, "the migrations were")
        from bazar_cli.adapters.migrations.reverter import Reverter

        return Reverter(self.target, grant)

    def resetter(self, grant: Grant) -> Resetter:
        """Return what resets the database of this target.

        Raises: Sealed without a Grant.
        """
        _demand(grant, "the migrations were")
        from bazar_cli.adapters.migrations.reset.resetter import Resetter

        return Resetter(self.target, grant)

    def server(self, grant: Grant) -> Server:
        """Return the server of this target's database, which creates and drops databases.

        Raises: Sealed without a Grant.
        """
        _demand(grant, "the server was")
        from bazar_cli.adapters.postgres.server import Server

        return Server(self.target)

    def close(self) -> None:
        """Close what was opened."""
        if self._database is not None:
            self._database.close()
        for admin in self._admins.values():
            admin.close()
        self._database = None
        self._admins.clear()

    def __enter__(self) -> Backends:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _demand(grant: Grant, what: str) -> None:
    # Type annotations do not hold at run time.
    if type(grant) is not Grant:
        raise Sealed(f"{what} asked for without a Grant")
