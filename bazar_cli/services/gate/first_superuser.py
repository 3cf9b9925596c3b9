"""The first superuser: the verified SUPERUSER_EMAIL of a system that has none (docs/permissions.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant, Sealed

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends


def check_claim(backends: Backends, grant: Grant) -> None:
    """Check that the operator of a bootstrap Grant can become the first superuser.

    Raises: Conflict `users.email_exists`; BackendUnavailable.
    """
    from bazar_cli.adapters.postgres.superusers import refuse_other_id

    with backends.database().read(grant) as connection:
        refuse_other_id(connection, grant.operator.id, grant.operator.email)


def claim_by(backends: Backends, grant: Grant) -> bool:
    """Make the operator of a bootstrap Grant the first superuser; False when there already is one.

    Raises: Sealed for any other Grant; BackendUnavailable, Conflict as `adapters.postgres.superusers` says.
    """
    from bazar_cli.adapters.postgres.superusers import claim_first

    if not grant.bootstrap:
        raise Sealed(f"{grant.spec.name} was not granted by bootstrap")
    return claim_first(backends.database(), grant, grant.operator.id, grant.operator.email)
