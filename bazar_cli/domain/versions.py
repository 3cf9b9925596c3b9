"""The version of a user or organization: a change may require that it is still the one that the caller saw."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.errors import Conflict


@dataclass(frozen=True)
class Version:
    """What a user or organization was at one moment."""

    id: UUID
    updated_at: datetime


class VersionChanged(Conflict):
    """The user or organization is not the version that the caller requires."""


def check_version(wanted: Collection[Version] | None, now: Version, code: str, name: str) -> None:
    """Return if the present version is a wanted one, or None is wanted.

    Parameters: `code` is that of the error; `name` names the user or organization.
    Raises: VersionChanged.
    """
    if wanted is None or now in wanted:
        return
    raise VersionChanged(
        code,
        f"{name} is not as you saw it: it was changed at {now.updated_at.isoformat()}, or is another one",
        hint="get it again, and send its present ETag",
        details={"id": str(now.id), "updated_at": now.updated_at.isoformat()},
    )
