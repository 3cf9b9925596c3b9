"""Supabase Auth's admin API: identities by id.

Methods that write raise IdentityRefused or OutcomeUnknown as `answers` says, and KeyRefused `supabase.key_refused` for
a service key that Supabase Auth refuses.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter
from supabase_auth import SyncGoTrueAdminAPI, SyncGoTrueClient
from supabase_auth.errors import AuthError

from bazar_cli.adapters.supabase.answers import translated, written
from bazar_cli.adapters.supabase.http import auth_url, key_headers, open_http
from bazar_cli.adapters.supabase.listing import find_user, get_user, user_pages
from bazar_cli.domain.authz.spec import Sealed
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.identities import BAN, STAMP, IdentityRefused, NewIdentity, StoredIdentity

if TYPE_CHECKING:
    import httpx
    from supabase_auth.types import AdminUserAttributes, GenerateLinkParams

    from bazar_cli.domain.target import Target

_LARGE_PAGE = 1000
"""To read the whole list: the server counts its table for every page."""
_BAN_DURATION = f"{BAN // timedelta(hours=1)}h"
_MOMENT: TypeAdapter[datetime | None] = TypeAdapter(datetime | None)


@dataclass(frozen=True)
class IdentityPage:
    """Some identities of the list, and the total that the server counts."""

    identities: tuple[StoredIdentity, ...]
    total: int


class AdminClient:
    """The admin API with a target's service key; `services.gate.backends` opens it for a Grant only.

    Parameters: `http` as of `AuthClient`.
    """

    def __init__(self, target: Target, *, read_only: bool, http: httpx.Client | None = None) -> None:
        self._target = target
        self._read_only = read_only
        self._kept = http is not None
        self._http = http or open_http(target)
        self._api = SyncGoTrueAdminAPI(url=auth_url(target), headers=key_headers(target), http_client=self._http)

    def create(self, identity: NewIdentity) -> None:
        """Create an identity with our id and stamp.

        Raises: IdentityRefused (4xx), OutcomeUnknown (429, 5xx, timeout, broken connection).
        """
        with self._writing():
            self._api.create_user(cast("AdminUserAttributes", attributes_of(identity)))

    def set_password(self, user_id: uuid.UUID, password: Secret) -> None:
        """Set the password of an identity; Supabase ends its sessions.

        Raises: IdentityRefused, OutcomeUnknown.
        """
        with self._writing():
            attributes = {"password": password.reveal()}
            self._api.update_user_by_id(str(user_id), cast("AdminUserAttributes", attributes))

    def stamp(self, user_id: uuid.UUID, deployment: uuid.UUID, origin: str, *, ban: bool = False) -> None:
        """Stamp an identity as this deployment's; other metadata is kept (Supabase Auth v2.196).

        Parameters: `ban` also bans it, in the same request: both are written, or neither.
        Raises: IdentityRefused, with 404 for an unknown id; OutcomeUnknown.
        """
        self._write_stamp(user_id, {"deployment": str(deployment), "origin": origin}, ban=ban)

    def unstamp(self, user_id: uuid.UUID) -> None:
        """Remove the stamp; an unknown id is no error.

        Raises: IdentityRefused, OutcomeUnknown.
        """
        try:
            self._write_stamp(user_id, None)
        except IdentityRefused as refusal:
            if not refusal.not_found:
                raise

    def _write_stamp(self, user_id: uuid.UUID, stamp: Mapping[str, str] | None, *, ban: bool = False) -> None:
        # Metadata is merged key by key, and null deletes a key.
        attributes: dict[str, Any] = {"app_metadata": {STAMP: stamp}}
        if ban:
            attributes["ban_duration"] = _BAN_DURATION
        with self._writing():
            self._api.update_user_by_id(str(user_id), cast("AdminUserAttributes", attributes))

    def ban(self, user_id: uuid.UUID) -> StoredIdentity | None:
        """Ban an identity; return its new values, None for an unknown id.

        Raises: IdentityRefused, OutcomeUnknown.
        """
        return self._change(user_id, {"ban_duration": _BAN_DURATION})

    def unban(self, user_id: uuid.UUID) -> StoredIdentity | None:
        """Lift the ban of an identity; return its new values, None for an unknown id.

        Raises: IdentityRefused, OutcomeUnknown.
        """
        return self._change(user_id, {"ban_duration": "none"})

    def change_email(self, user_id: uuid.UUID, email: str) -> StoredIdentity | None:
        """Give an identity another address, confirmed; return its new values, None for an unknown id.

        Raises: IdentityRefused; OutcomeUnknown, also for a taken address, for which the server answers 500.
        """
        return self._change(user_id, {"email": email, "email_confirm": True})

    def delete(self, user_id: uuid.UUID) -> None:
        """Delete an identity; an unknown id counts as deleted.

        Raises: IdentityRefused, OutcomeUnknown.
        """
        try:
            with self._writing():
                self._api.delete_user(str(user_id))
        except IdentityRefused as refusal:
            if not refusal.not_found:
                raise

    def invite(self, email: str) -> uuid.UUID:
        """Let Supabase mail an invitation to an unconfirmed identity; return the id of that identity.

        An unknown address gets a new identity; a confirmed one is refused with `email_exists` (Supabase Auth v2.196).
        Raises: IdentityRefused, OutcomeUnknown.
        """
        with self._writing():
            return uuid.UUID(self._api.invite_user_by_email(email).user.id)

    def recovery_mail(self, email: str) -> None:
        """Let Supabase mail a link to set a new password; an unknown address gets the same answer.

        With the service key Supabase asks for no captcha. The link is of the `implicit` kind, which signs in by itself:
        the other kind works only in the client that asked for it.
        Raises: IdentityRefused, OutcomeUnknown.
        """
        client = SyncGoTrueClient(
            url=auth_url(self._target),
            headers=key_headers(self._target),
            auto_refresh_token=False,
            persist_session=False,
            http_client=self._http,
            flow_type="implicit",
        )
        with self._writing():
            client.reset_password_for_email(email)

    def recovery_link(self, email: str) -> tuple[uuid.UUID, Secret]:
        """Make a link to set a new password; return the id of its identity, and the link. Sends no mail.

        Raises: IdentityRefused, OutcomeUnknown.
        """
        with self._writing():
            made = self._api.generate_link(cast("GenerateLinkParams", {"type": "recovery", "email": email}))
            return uuid.UUID(made.user.id), Secret(made.properties.action_link)

    def get(self, user_id: uuid.UUID) -> StoredIdentity | None:
        """Return the identity with this id, None for an unknown id.

        Raises: BackendUnavailable `supabase.unavailable`; KeyRefused `supabase.key_refused`.
        """
        return self._read(get_user(self._http, self._target, user_id))

    def find_by_email(self, email: str) -> StoredIdentity | None:
        """Return the identity with exactly this address, given in lower case. Raises: as `get`."""
        return self._read(find_user(self._http, self._target, email))

    def every(self) -> Iterator[IdentityPage]:
        """Yield all identities, a page at a time.

        The server orders identities with the same created_at at random, so that a page may repeat one and the next page
        skip another. A caller that needs all of them compares their count with `total` (Supabase Auth v2.196).
        Raises: as `get`.
        """
        for users, total in user_pages(self._http, self._target, _LARGE_PAGE):
            with translated(self._target, "an identity of its list"):
                page = IdentityPage(tuple(map(identity_from_json, users)), total)
            yield page

    def close(self) -> None:
        """Close the connections, unless they are kept."""
        if not self._kept:
            self._http.close()

    def _change(self, user_id: uuid.UUID, attributes: Mapping[str, Any]) -> StoredIdentity | None:
        try:
            with self._writing():
                changed = self._api.update_user_by_id(str(user_id), cast("AdminUserAttributes", attributes))
                return identity_from_json(changed.user.model_dump())
        except IdentityRefused as refusal:
            if refusal.not_found:
                return None
            raise

    def _read(self, user: Mapping[str, Any] | None) -> StoredIdentity | None:
        with translated(self._target, "an identity"):
            return None if user is None else identity_from_json(user)

    @contextmanager
    def _writing(self) -> Generator[None]:
        if self._read_only:
            raise Sealed("a dry run tried to write to Supabase Auth")
        with written(AuthError):  # which the library makes of an error of httpx
            yield


def attributes_of(identity: NewIdentity) -> dict[str, Any]:
    """Return the body of the request that creates an identity. The stamp replaces one that was given."""
    stamp = {"deployment": str(identity.deployment), "origin": identity.origin}
    attributes: dict[str, Any] = {
        "id": str(identity.id),
        "email": identity.email,
        "email_confirm": identity.confirmed,
        "app_metadata": {**identity.app_metadata, STAMP: stamp},
    }
    if identity.user_metadata:
        attributes["user_metadata"] = dict(identity.user_metadata)
    if identity.password is not None:
        attributes["password"] = identity.password.reveal()
    elif identity.password_hash is not None:
        attributes["password_hash"] = identity.password_hash.reveal()
    return attributes


def identity_from_json(user: Mapping[str, Any]) -> StoredIdentity:
    """Return an identity of the admin API's JSON. Raises: LookupError, TypeError or ValueError for another form."""
    return StoredIdentity(
        id=uuid.UUID(user["id"]),
        email=str(user.get("email") or "").lower(),
        deployment=_deployment(user.get("app_metadata")),
        has_signed_in=user.get("last_sign_in_at") is not None,
        banned_until=_MOMENT.validate_python(user.get("banned_until")),
        is_confirmed=user.get("email_confirmed_at") is not None,
        invited_at=_MOMENT.validate_python(user.get("invited_at")),
        origin=_origin(user.get("app_metadata")),
        created_at=_MOMENT.validate_python(user.get("created_at")),
        updated_at=_MOMENT.validate_python(user.get("updated_at")),
        is_deleted=user.get("deleted_at") is not None,
    )


def _deployment(app_metadata: object) -> uuid.UUID | None:
    """Return the deployment of the stamp; other programs may have written anything there."""
    stamp = _member(app_metadata, STAMP)
    written = str(_member(stamp, "deployment")).lower()
    try:
        found = uuid.UUID(written)
    except ValueError:
        return None
    # Only the form that SQL compares with: Bazar writes no braces, and all hyphens.
    return found if str(found) == written else None


def _origin(app_metadata: object) -> str | None:
    found = _member(_member(app_metadata, STAMP), "origin")
    return found if isinstance(found, str) else None


def _member(value: object, name: str) -> object:
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
