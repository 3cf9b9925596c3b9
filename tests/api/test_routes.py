"""The happy path of every route, on real Postgres and a real Auth service."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.route import Answer, Route
from bazar_cli.domain.wire.from_json import from_json
from tests.support.api_server import Api, Reply
from tests.support.people import OLD_PASSWORD, People, Someone, an_address, an_org
from tests.support.routes import routed

ROUTES = {
    (method, route.path): route
    for _, route in routed()
    for method in (route.method, *(["PUT"] if route.replaced else []))
}


def route_of(method: str, path: str) -> tuple[str, str]:
    """Return the route of a request: its method and its template, the one with the fewest names."""
    path = path.partition("?")[0]
    fitting = [key for key in ROUTES if key[0] == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", key[1]), path)]
    return min(fitting, key=lambda key: key[1].count("{"))


class Walk:
    """Asks a server, and notes the routes that answered as their spec says."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.walked: set[tuple[str, str]] = set()

    def by(self, token: str | None) -> Walk:
        """Return one with another token, whose routes are noted here."""
        other = Walk(self.api.by(token))
        other.walked = self.walked
        return other

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Return the JSON of an answer that must be whole; of a stream its items."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = self.api.ask(method, path, body, headers=given)
        assert reply.status in {200, 201, 204}, (method, path, reply.body)
        self.walked.add(key := route_of(method, path))
        return _checked(ROUTES[key], reply)


def _checked(route: Route, reply: Reply) -> Any:
    """Return the answer, which the client can read."""
    if route.result is None:
        assert (reply.status, reply.body) == (204, b"")
        return None
    if route.answer is Answer.STREAM:
        *lines, last = [json.loads(line) for line in reply.body.splitlines()]
        assert last == {"end": True}
        assert reply.headers["Content-Type"] == "application/jsonl"
    else:
        lines = [reply.json] if route.answer is Answer.ONE else reply.json["items"]
    for line in lines:
        assert isinstance(from_json(route.result, line), route.result)
    return lines if route.answer is Answer.STREAM else reply.json


def consent_to(impact: dict[str, Any]) -> str:
    """Return the header that agrees to an impact."""
    word = impact["word"]["value"] if impact["word"] else None
    content = {"subject": impact["subject"], "users": impact["users"], "word": word}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_every_route_serves_its_use_case(api: Api, people: People, root: Someone) -> None:
    walk = Walk(api)
    ask = walk.ask

    # A user's life.
    email = an_address("ada")
    made = ask("POST", "/users/", {"email": email, "name": "Ada", "generate_password": True})
    user = f"/users/{made['id']}"
    assert (made["created"], len(made["password"]) > 10, made["plan"]) == (True, True, "free")
    assert people.signs_in(email, made["password"])
    assert ask("GET", f"/users/{quote(email, safe='')}")["id"] == made["id"]
    assert ask("PATCH", user, {"name": "Ada King"})["name"] == "Ada King"
    assert ask("PUT", user, {"name": None})["name"] is None
    assert ask("PUT", f"{user}/plan", {"plan": "premium"})["previous_plan"] == "free"
    assert ask("POST", f"{user}/promote", {"confirm": email})["is_superuser"] is True
    assert ask("POST", f"{user}/demote", {"confirm": email})["is_superuser"] is False
    assert ask("POST", f"{user}/reset-password", {"print_link": True})["link"].startswith("http")
    assert ask("GET", f"{user}/sessions")["items"] != []
    assert ask("DELETE", f"{user}/sessions")["sessions_ended"] > 0

    # Organizations and members.
    org = ask("POST", "/organizations/", {"name": f"Org {an_org().id}"})
    at = f"/organizations/{org['slug']}"
    assert ask("GET", at)["id"] == org["id"]
    assert ask("PATCH", at, {"name": "New"})["name"] == "New"
    assert ask("PUT", at, {"name": "Newer", "slug": org["slug"]})["name"] == "Newer"
    assert ask("POST", f"{at}/members", {"user": email})["role"] == "member"
    assert ask("PATCH", f"{at}/members/{email}", {"role": "admin"})["role"] == "admin"
    assert [m["email"] for m in ask("GET", f"{at}/members?role=admin")["items"]] == [email]
    removing = api.ask("DELETE", f"{at}/members/{email}")
    assert (removing.status, removing.code) == (428, "input.consent")
    consent = consent_to(removing.json["impact"])
    assert ask("DELETE", f"{at}/members/{email}", Bazar_Consent=consent)["role"] is None

    # Suspension, which needs consent too, and the end of both.
    suspending = api.ask("POST", f"{user}/suspend", {"reason": "left"})
    assert suspending.status == 428
    consent = consent_to(suspending.json["impact"])
    assert ask("POST", f"{user}/suspend", {"reason": "left"}, Bazar_Consent=consent)["state"] == "suspended"
    assert ask("POST", f"{user}/restore")["state"] == "active"
    assert ask("DELETE", f"{user}?confirm={quote(email)}")["email"] == email
    assert ask("DELETE", f"{at}?confirm={org['slug']}")["members"] == 1
    stranger = people.org(), Someone(an_org().id, an_address("eve"))
    people.identity(stranger[1])
    assert ask("POST", "/users/adopt", {"email": stranger[1].email})["adopted"] is True

    # Plans.
    assert len(ask("GET", "/plans/")["items"]) == 3
    assert ask("GET", "/plans/plus")["title"] == "Plus"
    assert {row["permission"] for row in ask("GET", "/plans/matrix")["items"]} > {"users:read"}
    assert ask("GET", "/plans/check?permission=files:execute")["allowed"] is True
    assert ask("GET", f"/plans/explain?permission=users:read&user={root.id}")["decision"]
    assert {row["plan"] for row in ask("GET", "/plans/usage")["items"]} == {"free", "plus", "premium"}
    assert ask("PUT", "/plans/free/permissions/files:execute")["changed"] is True
    taking = api.ask("DELETE", "/plans/free/permissions/files:execute")
    assert taking.status == 428
    consent = consent_to(taking.json["impact"])
    assert ask("DELETE", "/plans/free/permissions/files:execute", Bazar_Consent=consent)["changed"] is True

    # Lists, exports and the audit log.
    assert ask("GET", "/users/me")["email"] == root.email
    assert ask("GET", f"/users/?search={root.email}&state=active")["items"][0]["id"] == str(root.id)
    assert ask("GET", "/organizations/?limit=1")["next_cursor"] is not None or people.org()
    assert {user["email"] for user in ask("GET", "/users/export")} > {root.email}
    assert str(stranger[0].id) in {org["id"] for org in ask("GET", "/organizations/export")}
    (event,) = ask("GET", f"/audit/events?target={made['id']}&action=users.delete")["items"]
    assert (event["operator_email"], event["before"]["email"]) == (root.email, email)
    assert len(ask("GET", f"/audit/events/export?target={made['id']}")) > 3
    assert ask("POST", "/audit/verify")["whole"] is True

    # The session.
    started = walk.by(None).ask("POST", "/auth/login", {"email": root.email, "password": OLD_PASSWORD})
    session = walk.by(started["access_token"])
    assert session.ask("GET", "/auth/status")["confirmed"] is True
    assert session.ask("GET", "/auth/token")["email"] == root.email
    assert session.ask("GET", "/auth/refresh")["email"] == root.email
    renewed = walk.by(None).ask("POST", "/auth/refresh", {"refresh_token": started["refresh_token"]})
    session = walk.by(renewed["access_token"])
    session.ask("PUT", "/auth/password", {"password": "Another-horse-7431"})
    assert session.ask("POST", "/auth/logout", {"everywhere": True})["ended_at_supabase"] is True
    assert ROUTES.keys() - walk.walked == set()


def test_operator_sees_and_changes_only_what_their_plan_and_role_allow(api: Api, people: People) -> None:
    acme = people.org()
    admin = people.known_user({acme: Role.ADMIN}, plan=Plan.PREMIUM)
    member = people.known_user({acme: Role.MEMBER})
    free = api.by(people.access_token(member))
    assert free.ask("POST", "/users/", {"email": an_address()}).code == "access.plan"
    assert free.ask("GET", f"/users/{admin.id}").status == 200
    stranger = people.user()
    hidden, missing = free.ask("GET", f"/users/{stranger.id}"), free.ask("GET", f"/users/{an_org().id}")
    assert (hidden.status, hidden.code) == (missing.status, missing.code) == (404, "users.not_found")
    ruled = api.by(people.access_token(admin))
    assert ruled.ask("PATCH", f"/users/{member.id}", {"name": "Bob"}).status == 200
    assert ruled.ask("PATCH", f"/users/{member.id}", {"email": an_address()}).code == "access.platform"
    assert ruled.ask("POST", "/users/", {"email": an_address(), "organization": acme.slug}).status == 201
    denials = people.sql("SELECT use_case FROM bazar.audit_events WHERE operator_id = %s", member.id)
    assert [found["use_case"] for found in denials] == ["users.create"]
