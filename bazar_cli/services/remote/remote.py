"""The performer of a remote target: every use case is one request to the API, whose gate decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bazar_cli.services.remote.requests import asked_for, result_of

if TYPE_CHECKING:
    from bazar_cli.adapters.remote.client import ApiClient
    from bazar_cli.domain.authz.spec import Spec
    from bazar_cli.services.gate.performer import UseCase
    from bazar_cli.services.remote.credentials import Credentials

Request = TypeVar("Request")
Result = TypeVar("Result")


class Remote:
    """Runs use cases on a server, with the access token of the operator."""

    def __init__(self, credentials: Credentials, client: ApiClient) -> None:
        self._credentials = credentials
        self._client = client

    def perform(
        self,
        use_case: UseCase[Request, Result],  # noqa: ARG002 - the server has its own
        spec: Spec,
        request: Request,
        *,
        dry_run: bool = False,
    ) -> Result:
        """Send the request of a use case, and return its result.

        Raises: what the server raises; NotSignedIn; BackendUnavailable `api.unavailable`, `api.foreign_answer`,
        `api.other_version`.
        """

        def act(token: Any) -> Result:
            return result_of(spec, self._client, asked_for(spec, request, token=token, dry_run=dry_run))

        return self._credentials.call(act)

    def prepared(self, use_case: UseCase[Request, Result], spec: Spec, request: Request) -> Callable[[Request], Result]:  # noqa: ARG002
        """Return the use case; the server authorizes each request. Raises when it is called, as `perform`."""
        return lambda asked: self.perform(use_case, spec, asked)
