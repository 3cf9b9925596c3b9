"""What commands ask to run a use case: the gate on a direct target, the API on a remote one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from bazar_cli.domain.authz.spec import Grant, Spec

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends

Request = TypeVar("Request")
Result = TypeVar("Result")
UseCase: TypeAlias = "Callable[[Backends, Grant, Request], Result]"


class Performer(Protocol):
    """Runs use cases with the rights of one operator on one target."""

    def perform(
        self, use_case: UseCase[Request, Result], spec: Spec, request: Request, *, dry_run: bool = False
    ) -> Result:
        """Authorize, then run the use case once.

        Raises: NotSignedIn; Denied; BackendUnavailable; as the use case.
        """
        ...

    def prepared(self, use_case: UseCase[Request, Result], spec: Spec, request: Request) -> Callable[[Request], Result]:
        """Authorize once, and return the use case for several requests, such as the pages of a list.

        Raises: as `perform`.
        """
        ...
