"""The endpoints for users: sign-in, refresh, `/user`, logout, recovery, verification."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from bazar_cli.devstack.auth import links, passwords, sessions, users
from bazar_cli.devstack.auth.bodies import MAP, STRING, parse
from bazar_cli.devstack.auth.call import Call
from bazar_cli.devstack.auth.errors import Fault, validation_failed
from bazar_cli.devstack.auth.pool import Rows

_SCOPES = ("global", "local", "others")


def health(_call: Call) -> Response:
    """`GET /health`. Like the real one it needs no database."""
    return JSONResponse(
        {
            "version": "",
            "name": "GoTrue",
            "description": "GoTrue is a user registration and authentication API",
        }
    )


def jwks(call: Call) -> Response:
    """`GET /.well-known/jwks.json`."""
    return JSONResponse(call.service.tokens.jwks(), headers={"Cache-Control": "public, max-age=600"})


def token(call: Call) -> Response:
    """`POST /token?grant_type=password|refresh_token`."""
    grant = call.query.get("grant_type", "")
    if grant == "password":
        return _password_grant(call)
    if grant == "refresh_token":
        body = parse(call.body, "RefreshTokenGrantParams", {"refresh_token": STRING})
        with call.service.pool.transaction() as connection:
            answer = sessions.refresh(
                connection, call.service.config, call.service.tokens, body.get("refresh_token", "")
            )
        if isinstance(answer, Fault):
            raise answer
        return JSONResponse(answer)
    raise Fault(400, "invalid_credentials", "unsupported_grant_type")


def _password_grant(call: Call) -> Response:
    body = parse(call.body, "PasswordGrantParams", {"email": STRING, "phone": STRING, "password": STRING})
    if body.get("phone") and not body.get("email"):
        raise Fault(422, "phone_provider_disabled", "Phone logins are disabled")
    if not body.get("email"):
        raise validation_failed("missing email or phone")
    wrong = Fault(400, "invalid_credentials", "Invalid login credentials")
    with call.service.pool.transaction() as connection:
        user = users.by_email(connection, body["email"].lower())
    if user is None:
        raise wrong
    if sessions.is_banned(user):
        raise Fault(400, "user_banned", "User is banned")
    password = body.get("password", "")
    if not passwords.matches(password, user["encrypted_password"]):
        raise wrong
    if user["email_confirmed_at"] is None:
        raise Fault(400, "email_not_confirmed", "Email not confirmed")
    config = call.service.config
    with call.service.pool.transaction() as connection:
        current = users.by_id(connection, user["id"], lock=True)
        if current is None or current["encrypted_password"] != user["encrypted_password"]:
            raise wrong
        answer = sessions.start(connection, config, call.service.tokens, current, "password", call.client)
    return JSONResponse({**answer, "weak_password": passwords.weak(password, config)})


def get_user(call: Call) -> Response:
    """`GET /user`."""
    with call.service.pool.transaction() as connection:
        user, _ = call.require_user(connection)
        return JSONResponse(users.to_json(connection, user))


def put_user(call: Call) -> Response:
    """`PUT /user`: change password and data, or begin an email change."""
    with call.service.pool.transaction() as connection:
        user, session_id = call.require_user(connection)
    fields = {"email": STRING, "password": STRING, "data": MAP, "app_metadata": MAP}
    body = parse(call.body, "UserUpdateParams", fields)
    if "app_metadata" in body:
        raise Fault(403, "not_admin", "Updating app_metadata requires admin privileges")
    email = users.checked_email(body["email"]) if body.get("email") else None
    changes: dict[str, Any] = {}
    if "password" in body:
        if passwords.matches(body["password"], user["encrypted_password"]):
            raise Fault(422, "same_password", "New password should be different from the old password.")
        changes["encrypted_password"] = passwords.hash_changed(body["password"], call.service.config)
        changes |= {"email_change_sent_at": None, "recovery_sent_at": None}
    with call.service.pool.transaction() as connection:
        user = users.by_id(connection, user["id"], lock=True)
        if user is None:
            raise Fault(403, "user_not_found", "User from sub claim in JWT does not exist")
        if email is not None and email != user["email"] and users.by_email(connection, email) is not None:
            raise users.email_exists()
        if "data" in body:
            changes["raw_user_meta_data"] = users.merged(user["raw_user_meta_data"], body["data"])
        if changes:
            user = users.update(connection, user, changes)
        if "encrypted_password" in changes:
            sessions.end(connection, user["id"], "others", session_id)
        if email is not None and email != user["email"]:
            user = _begin_email_change(connection, call, user, email)
        return JSONResponse(users.to_json(connection, user))


def _begin_email_change(connection: Rows, call: Call, user: dict[str, Any], email: str) -> dict[str, Any]:
    user = users.update(connection, user, {"email_change": email, "email_change_confirm_status": 0})
    user, link = links.make(
        connection, call.service.config, user, "email_change", "email_change_token_new", call.query.get("redirect_to")
    )
    links.keep_mail(connection, email, link)
    return user


def logout(call: Call) -> Response:
    """`POST /logout?scope=global|local|others`."""
    with call.service.pool.transaction() as connection:
        user, session_id = call.require_user(connection)
        scope = call.query.get("scope", "global")
        if scope not in _SCOPES:
            raise validation_failed(f'Unsupported logout scope "{scope}"')
        sessions.end(connection, user["id"], scope, session_id)
    return Response(status_code=204)


def recover(call: Call) -> Response:
    """`POST /recover`: store a mail for a known address. An unknown one gets the same answer."""
    body = parse(call.body, "RecoverParams", {"email": STRING})
    if not body.get("email"):
        raise validation_failed("Password recovery requires an email")
    email = users.checked_email(body["email"])
    config = call.service.config
    with call.service.pool.transaction() as connection:
        user = users.by_email(connection, email)
        if user is not None:
            sent = user["recovery_sent_at"]
            wait = timedelta(seconds=config.mail_frequency)
            if sent is not None and sent + wait > users.now():
                left = int((sent + wait - users.now()).total_seconds()) + 1
                raise Fault(
                    429,
                    "over_email_send_rate_limit",
                    f"For security purposes, you can only request this after {left} seconds.",
                )
            user, link = links.make(
                connection, config, user, "recovery", "recovery_token", call.query.get("redirect_to")
            )
            links.keep_mail(connection, email, link)
    return JSONResponse({})


def verify(call: Call) -> Response:
    """`POST /verify`: exchange the hash of a link, or an address and a code, for a session."""
    fields = {"type": STRING, "token": STRING, "token_hash": STRING, "email": STRING, "phone": STRING}
    return JSONResponse(_redeem(call, parse(call.body, "VerifyParams", fields)))


def verify_link(call: Call) -> Response:
    """`GET /verify`: the link of a mail. It redirects to the site, with the session in the fragment."""
    target = _redirect_target(call)
    try:
        answer = _redeem(call, {"type": call.query.get("type", ""), "token_hash": call.query.get("token", "")})
    except Fault as fault:
        failure = {"error": "access_denied", "error_code": fault.code, "error_description": fault.message}
        return RedirectResponse(f"{target}#{urlencode(failure)}", 303)
    kept = ("access_token", "expires_at", "expires_in", "refresh_token", "token_type")
    fragment = {name: answer[name] for name in kept} | {"type": call.query.get("type", "")}
    return RedirectResponse(f"{target}#{urlencode(fragment)}", 303)


def _redirect_target(call: Call) -> str:
    target, site = call.query.get("redirect_to", ""), call.service.config.site_url
    try:
        return target if urlsplit(target).scheme in {"http", "https"} else site
    except ValueError:
        return site


def _redeem(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    config = call.service.config
    with call.service.pool.transaction() as connection:
        user = links.redeem(connection, config, body)
        if sessions.is_banned(user):
            raise Fault(403, "user_banned", "User is banned")
        return sessions.start(connection, config, call.service.tokens, user, "otp", call.client)
