"""The calls to Supabase Auth of a number of `users create`, one after another on one connection."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import sys
from urllib.parse import urlsplit


def app() -> None:
    """Confirm the session and create an identity, as often as the first argument says."""
    url = urlsplit(os.environ["SUPABASE_URL"])
    key, token = os.environ["SUPABASE_KEY"], os.environ["BAZAR_TOKEN"]
    assert url.hostname is not None, "SUPABASE_URL names a host"
    connection = http.client.HTTPConnection(url.hostname, url.port)
    for _ in range(int(sys.argv[1])):
        _call(connection, "GET", "/auth/v1/user", {"apikey": key, "Authorization": f"Bearer {token}"}, None)
        body = {"email": f"{secrets.token_hex(8)}@example.com", "email_confirm": True}
        _call(connection, "POST", "/auth/v1/admin/users", {"apikey": key, "Authorization": f"Bearer {key}"}, body)


def _call(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: object
) -> None:
    connection.request(method, path, json.dumps(body), {**headers, "Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == http.client.OK, content
