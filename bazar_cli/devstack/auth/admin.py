"""The admin API: `/admin/users`, `/admin/generate_link`, `/invite`."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from bazar_cli.devstack.auth import links, passwords, users
from bazar_cli.devstack.auth.bodies import ANY, BOOL, MAP, STRING, parse
from bazar_cli.devstack.auth.call import Call
from bazar_cli.devstack.auth.errors import Fault, internal, validation_failed
from bazar_cli.devstack.auth.pool import Rows, one

_USER_FIELDS = {
    "id": STRING,
    "aud": STRING,
    "role": STRING,
    "email": STRING,
    "phone": STRING,
    "password": STRING,
    "password_hash": STRING,
    "email_confirm": BOOL,
    "phone_confirm": BOOL,
    "user_metadata": MAP,
    "app_metadata": MAP,
    "ban_duration": STRING,
}
_PROVIDER = {"provider": "email", "providers": ["email"]}
_UINT_MAX, _BIGINT_MAX = 2**64 - 1, 2**63 - 1
_LINKS_NOT_SERVED = {"signup", "email_change_current", "email_change_new"}


def create_user(call: Call) -> Response:
    """`POST /admin/users`."""
    call.require_admin()
    body = parse(call.body, "AdminUserParams", _USER_FIELDS)
    if not body.get("email") and not body.get("phone"):
        raise validation_failed("Cannot create a user without either an email or phone")
    email = users.checked_email(body.get("email", ""))
    if body.get("phone"):
        raise validation_failed("Invalid phone number format (E.164 required)")
    _refuse_taken(call, email)
    if body.get("password") and body.get("password_hash"):
        raise validation_failed("Only a password or a password hash should be provided")
    columns: dict[str, Any] = {
        "id": _chosen_id(body),
        "email": email,
        "encrypted_password": _hash_of(body),
        "role": body.get("role") or "authenticated",
        "raw_app_meta_data": users.merged(_PROVIDER, body.get("app_metadata", {})),
        "raw_user_meta_data": body.get("user_metadata", {}),
    }
    if body.get("email_confirm"):
        columns["email_confirmed_at"] = users.now()
        columns["raw_user_meta_data"] = {**body.get("user_metadata", {}), "email_verified": True}
    if body.get("ban_duration"):
        columns["banned_until"] = users.ban_end(body["ban_duration"])
    with call.service.pool.transaction() as connection:
        return JSONResponse(users.to_json(connection, users.insert(connection, columns)))


def list_users(call: Call) -> Response:
    """`GET /admin/users`: a page, with `Link` and `X-Total-Count`; identities are null there."""
    call.require_admin()
    page = _unsigned(call.query.get("page") or "1")
    per_page = _unsigned(call.query.get("per_page") or "50")
    if per_page == 0:
        raise internal()
    order = _order(call.query.get("sort", ""))
    where, values = f"instance_id = '{users.INSTANCE}'", []
    if "filter" in call.query:
        where += " AND (email LIKE %s OR raw_user_meta_data->>'full_name' ILIKE %s)"
        values = [f"%{call.query['filter']}%"] * 2
    with call.service.pool.transaction() as connection:
        counted = one(connection, f"SELECT count(*) AS n FROM auth.users WHERE {where}", *values)  # noqa: S608
        assert counted is not None, "count(*) always has a row"
        rows = connection.execute(
            f"SELECT * FROM auth.users WHERE {where} ORDER BY created_at {order} LIMIT %s OFFSET %s".encode(),  # noqa: S608
            (*values, min(per_page, _BIGINT_MAX), min(max(page - 1, 0) * per_page, _BIGINT_MAX)),
        ).fetchall()
    total = int(counted["n"])
    headers = {"X-Total-Count": str(total), "Link": _links(call, page, per_page, total)}
    shown = [users.to_json(None, row) for row in rows]
    return JSONResponse({"users": shown, "aud": call.service.config.jwt_aud}, headers=headers)


def get_user(call: Call) -> Response:
    """`GET /admin/users/{id}`."""
    call.require_admin()
    with call.service.pool.transaction() as connection:
        return JSONResponse(users.to_json(connection, _found(connection, call)))


def update_user(call: Call) -> Response:
    """`PUT /admin/users/{id}`. A changed password ends all sessions, and `password_hash` is ignored."""
    call.require_admin()
    user_id = call.target_id()
    with call.service.pool.transaction() as connection:
        _found(connection, call)
    body = parse(call.body, "AdminUserParams", _USER_FIELDS)
    columns: dict[str, Any] = {}
    if body.get("email"):
        columns["email"] = users.checked_email(body["email"])
    if "password" in body:
        columns["encrypted_password"] = passwords.hash_changed(body["password"], call.service.config)
    if body.get("role"):
        columns["role"] = body["role"]
    if body.get("ban_duration"):
        columns["banned_until"] = users.ban_end(body["ban_duration"])
    with call.service.pool.transaction() as connection:
        user = users.by_id(connection, user_id, lock=True)
        if user is None:
            raise _not_found()
        metadata = body.get("user_metadata", {})
        if body.get("email_confirm") and user["email_confirmed_at"] is None:
            columns["email_confirmed_at"] = users.now()
            metadata = {**metadata, "email_verified": True}
        if metadata:
            columns["raw_user_meta_data"] = users.merged(user["raw_user_meta_data"], metadata)
        if "app_metadata" in body:
            columns["raw_app_meta_data"] = users.merged(user["raw_app_meta_data"], body["app_metadata"])
        shown = users.to_json(connection, users.update(connection, user, columns))
        if "email" in columns:
            # The answer shows the identity before this change (recorded).
            connection.execute(
                b"UPDATE auth.identities SET identity_data = identity_data || jsonb_build_object('email', %s::text,"
                b" 'email_verified', %s::bool), updated_at = %s WHERE user_id = %s AND provider = 'email'",
                (columns["email"], bool(body.get("email_confirm")), users.now(), user_id),
            )
        if "encrypted_password" in columns:
            connection.execute(b"DELETE FROM auth.sessions WHERE user_id = %s", (user_id,))
    return JSONResponse(shown)


def delete_user(call: Call) -> Response:
    """`DELETE /admin/users/{id}`. Soft deletion is not served and answers 404."""
    call.require_admin()
    with call.service.pool.transaction() as connection:
        user = _found(connection, call)
        body = parse(call.body, "adminUserDeleteParams", {"should_soft_delete": BOOL}, may_be_empty=True)
        if body.get("should_soft_delete"):
            raise Fault(404, "not_found", "soft deletion is not served here")
        connection.execute(b"DELETE FROM auth.users WHERE id = %s", (user["id"],))
    return JSONResponse({})


def generate_link(call: Call) -> Response:
    """`POST /admin/generate_link` for invite, recovery and magiclink; other types get 404. It sends no mail."""
    call.require_admin()
    fields = {"type": STRING, "email": STRING, "password": STRING, "data": MAP, "redirect_to": STRING, "options": ANY}
    body = parse(call.body, "GenerateLinkParams", fields)
    kind = body.get("type", "")
    if kind not in {"invite", "recovery", "magiclink"} | _LINKS_NOT_SERVED:
        raise validation_failed(f"Invalid email action link type requested: {kind}")
    email = users.checked_email(body.get("email", ""))
    if kind in _LINKS_NOT_SERVED:
        raise Fault(404, "not_found", f"a link of type {kind} is not served here")
    redirect = body.get("redirect_to") or call.query.get("redirect_to")
    with call.service.pool.transaction() as connection:
        user = users.by_email(connection, email)
        if kind == "recovery" and user is None:
            raise Fault(404, "user_not_found", "User with this email not found")
        token_type = "recovery_token"  # noqa: S105 - the kind of a token
        if kind == "magiclink" and user is None:
            # The real server creates the user and returns a link of type signup (Supabase Auth v2.196).
            user, kind, token_type = _unconfirmed(connection, email, body), "signup", "confirmation_token"
        elif kind == "invite":
            user, token_type = _invited(connection, user, email, body), "confirmation_token"
        assert user is not None, "recovery without a user was refused"
        user, link = links.make(connection, call.service.config, user, kind, token_type, redirect)
        shown = users.to_json(connection, user)
    return JSONResponse(
        {
            **shown,
            "action_link": link.url,
            "email_otp": link.code,
            "hashed_token": link.hashed_token,
            "verification_type": link.kind,
            "redirect_to": link.redirect_to,
        }
    )


def invite(call: Call) -> Response:
    """`POST /invite`: create an unconfirmed user and a mail. A user who has not confirmed yet gets another mail."""
    call.require_admin()
    body = parse(call.body, "InviteParams", {"email": STRING, "data": MAP})
    email = users.checked_email(body.get("email", ""))
    with call.service.pool.transaction() as connection:
        user = _invited(connection, users.by_email(connection, email), email, body)
        user, link = links.make(
            connection, call.service.config, user, "invite", "confirmation_token", call.query.get("redirect_to")
        )
        links.keep_mail(connection, email, link)
        return JSONResponse(users.to_json(connection, user))


def _invited(connection: Rows, user: dict[str, Any] | None, email: str, body: dict[str, Any]) -> dict[str, Any]:
    if user is None:
        user = _unconfirmed(connection, email, body)
    elif user["email_confirmed_at"] is not None:
        raise users.email_exists()
    return users.update(connection, user, {"invited_at": users.now()})


def _unconfirmed(connection: Rows, email: str, body: dict[str, Any]) -> dict[str, Any]:
    columns = {
        "id": uuid.uuid4(),
        "email": email,
        "encrypted_password": "",
        "raw_app_meta_data": dict(_PROVIDER),
        "raw_user_meta_data": body.get("data", {}),
    }
    return users.insert(connection, columns)


def _refuse_taken(call: Call, email: str) -> None:
    """Refuse a taken address before the slow hash. Of two creates at once one meets the unique index: 500."""
    with call.service.pool.transaction() as connection:
        if users.by_email(connection, email) is not None:
            raise users.email_exists()


def _chosen_id(body: dict[str, Any]) -> uuid.UUID:
    if not body.get("id"):
        return uuid.uuid4()
    try:
        chosen = uuid.UUID(body["id"])
    except ValueError as error:
        raise validation_failed("ID must conform to the uuid v4 format") from error
    if chosen.int == 0:
        raise validation_failed("ID cannot be a nil uuid")
    return chosen


def _hash_of(body: dict[str, Any]) -> str:
    if body.get("password_hash"):
        return passwords.checked_hash(body["password_hash"])
    # Without a password the real server hashes a random one, which takes the same time (measured).
    return passwords.hash_new(body.get("password") or uuid.uuid4().hex)


def _found(connection: Rows, call: Call) -> dict[str, Any]:
    user = users.by_id(connection, call.target_id())
    if user is None:
        raise _not_found()
    return user


def _not_found() -> Fault:
    return Fault(404, "user_not_found", "User not found")


def _unsigned(text: str) -> int:
    refused = f'Bad Pagination Parameters: strconv.ParseUint: parsing "{text}": '
    if not text.isascii() or not text.isdigit():
        raise validation_failed(f"{refused}invalid syntax")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_UINT_MAX)) or int(digits) > _UINT_MAX:
        raise validation_failed(f"{refused}value out of range")
    return int(digits)


def _order(sort: str) -> str:
    if not sort:
        return "DESC"
    field, _, direction = sort.partition(" ")
    if field != "created_at":
        raise validation_failed(f"Bad Sort Parameters: bad field for sort '{field}'")
    if direction.lower() not in {"asc", "desc", ""}:
        raise validation_failed(
            f"Bad Sort Parameters: bad direction for sort '{direction}', only 'asc' and 'desc' allowed"
        )
    return "ASC" if direction.lower() == "asc" else "DESC"


def _links(call: Call, page: int, per_page: int, total: int) -> str:
    """Return the `Link` header: paths without the gateway's prefix, parameters sorted (recorded)."""
    last = -(-total // per_page)

    def link(number: int, relation: str) -> str:
        query = urlencode(sorted({**call.query, "page": str(number)}.items()))
        return f'</admin/users?{query}>; rel="{relation}"'

    found = [link(page + 1, "next")] if page < last else []
    return ", ".join([*found, link(last, "last")])
