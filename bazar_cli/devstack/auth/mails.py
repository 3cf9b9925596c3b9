"""The mails that the service would have sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.domain.secrets import Secret


@dataclass(frozen=True)
class Mail:
    """One stored mail. Its repr hides link and code, because they sign a user in."""

    sent_at: datetime
    recipient: str
    kind: str
    """`recovery`, `invite`, `magiclink` or `email_change`."""
    link: str = field(repr=False)
    code: str = field(repr=False)


def list_mails(database_url: str) -> list[Mail]:
    """Return all stored mails, the newest last. Raises: psycopg.Error."""
    with connect(Secret(database_url), connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT sent_at, recipient, kind, link, code FROM bazar_auth.mails ORDER BY id"
        ).fetchall()
    return [Mail(*row) for row in rows]
