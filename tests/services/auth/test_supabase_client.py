"""Supabase's own Python client talks to the embedded Auth service unchanged."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from supabase import ClientOptions, create_client
from supabase_auth.errors import AuthApiError

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.target import Target
from tests.support.tls import trusted

Email = Callable[[str], str]
PASSWORD = "correct horse battery"


@contextmanager
def client(target: Target, key: str) -> Generator[Any]:
    """Make a client as a script would; its connections are closed at the end."""
    with httpx.Client(verify=trusted()) as http:
        options = ClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        yield create_client(target.supabase_url, key, options)


@pytest.fixture(params=["opaque", "jwt"])
def admin(request: pytest.FixtureRequest, target: Target, auth_keys: AuthKeys) -> Generator[Any]:
    """A client with the service key, in both of its forms."""
    with client(target, auth_keys.secret_key if request.param == "opaque" else auth_keys.service_key) as made:
        yield made


@pytest.fixture(params=["opaque", "jwt"])
def anonymous(request: pytest.FixtureRequest, target: Target, auth_keys: AuthKeys) -> Generator[Any]:
    """A client with the public key, in both of its forms."""
    with client(target, auth_keys.publishable_key if request.param == "opaque" else auth_keys.anon_key) as made:
        yield made


def created(admin: Any, email: str, **more: Any) -> Any:
    attributes = {"email": email, "password": PASSWORD, "email_confirm": True, **more}
    return admin.auth.admin.create_user(attributes).user


def test_life_of_an_identity(admin: Any, anonymous: Any, unique_email: Email) -> None:
    email, chosen = unique_email("client"), str(uuid.uuid4())
    user = created(admin, email, id=chosen, app_metadata={"bazar": {"origin": "created"}})
    assert (user.id, user.email, user.app_metadata["bazar"]) == (chosen, email, {"origin": "created"})
    session = anonymous.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session is not None
    renewed = anonymous.auth.refresh_session(session.refresh_token).session
    assert renewed is not None
    assert renewed.access_token != session.access_token
    anonymous.auth.update_user({"data": {"colour": "red"}})
    assert admin.auth.admin.get_user_by_id(chosen).user.user_metadata["colour"] == "red"
    admin.auth.admin.update_user_by_id(chosen, {"ban_duration": "1h"})
    with pytest.raises(AuthApiError) as banned:
        anonymous.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert banned.value.code == "user_banned"
    admin.auth.admin.delete_user(chosen)
    with pytest.raises(AuthApiError) as gone:
        admin.auth.admin.get_user_by_id(chosen)
    assert gone.value.status == 404


def test_claims_verify_by_the_key_set(admin: Any, anonymous: Any, unique_email: Email) -> None:
    email = unique_email("claims")
    user = created(admin, email)
    anonymous.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    claims = anonymous.auth.get_claims()
    assert claims is not None
    assert claims["claims"]["sub"] == user.id
    assert claims["claims"]["role"] == "authenticated"


def test_list_has_the_new_identity(admin: Any, unique_email: Email) -> None:
    email = unique_email("listed")
    created(admin, email)
    page, found = 1, False
    while users := admin.auth.admin.list_users(page=page, per_page=200):
        found = found or any(u.email == email for u in users)
        page += 1
    assert found


@pytest.mark.parametrize("kind", ["recovery", "magiclink", "invite"])
def test_links_sign_in(admin: Any, anonymous: Any, unique_email: Email, kind: str) -> None:
    email = unique_email("link")
    if kind != "invite":
        created(admin, email)
    link = admin.auth.admin.generate_link({"type": kind, "email": email})
    verified = anonymous.auth.verify_otp(
        {"token_hash": link.properties.hashed_token, "type": link.properties.verification_type}
    )
    assert verified.user is not None
    assert verified.user.email == email


def test_sign_out_ends_the_session(admin: Any, anonymous: Any, unique_email: Email) -> None:
    email = unique_email("out")
    created(admin, email)
    session = anonymous.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session is not None
    anonymous.auth.sign_out({"scope": "global"})
    with pytest.raises(AuthApiError) as ended:
        anonymous.auth.get_user(session.access_token)
    assert ended.value.code == "session_not_found"
