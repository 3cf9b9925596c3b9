"""Creating and dropping the database itself."""

from __future__ import annotations

from dataclasses import dataclass

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.consent import Consent

CREATE = requires(
    "db.create", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True, bootstrap=True, without_database=True
)
DROP = requires("db.drop", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True)


@dataclass(frozen=True)
class CreateDatabase:
    """The request of `db create`."""


@dataclass(frozen=True)
class DropDatabase:
    """The request of `db drop`; `confirm` is the name of the database, typed again."""

    confirm: Consent = None


@dataclass(frozen=True)
class CreatedDatabase:
    """The database of the target, and whether this run made it, or would."""

    host: str
    database: str
    created: bool
    planned: bool = False
    """In a dry run `created` is the result of the real run."""


@dataclass(frozen=True)
class DroppedDatabase:
    """The database that was dropped, or would be."""

    host: str
    database: str
    environment: str
