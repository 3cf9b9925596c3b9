"""Answers: their headers, pages, versions, consent, streams, and the documents of the API."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import quote

from openapi_spec_validator import validate

from bazar_cli import __version__
from bazar_cli.domain.entities import Role
from tests.api.test_routes import ROUTES, consent_to
from tests.support.api_server import Api
from tests.support.people import People, an_address, an_org


def test_every_answer_has_the_same_safe_headers(api: Api) -> None:
    for reply in (api.ask("GET", "/users/me"), api.ask("GET", "/nothing"), api.by(None).ask("GET", "/users/me")):
        headers = {name.lower(): value for name, value in reply.headers.items()}
        assert headers["bazar-version"] == __version__
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
        assert not [name for name in headers if name.startswith(("set-cookie", "access-control", "server"))]


def test_other_origins_get_no_permission(api: Api) -> None:
    asked = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "DELETE"}
    reply = api.ask("OPTIONS", "/users/me", headers=asked)
    assert reply.status == 405
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_created_user_has_an_address_and_a_version(api: Api) -> None:
    made = api.ask("POST", "/users/", {"email": an_address()})
    assert made.status == 201
    found = api.ask("GET", made.headers["Location"].removeprefix("/api/v1"))
    assert (found.json["id"], found.headers["ETag"]) == (made.json["id"], made.headers["ETag"])
    again = api.ask("POST", "/users/", {"email": made.json["email"], "if_not_exists": True})
    assert (again.status, again.json["created"], again.headers["Location"]) == (200, False, None)
    taken = api.ask("POST", "/users/", {"email": made.json["email"]})
    assert (taken.status, taken.code) == (409, "users.email_exists")


def test_dry_run_writes_nothing(api: Api, people: People) -> None:
    email = an_address()
    before = people.everything()
    made = api.ask("POST", "/users/?dry_run=true", {"email": email, "generate_password": True})
    assert (made.status, made.json["id"], made.json["planned"], made.json["password"]) == (200, None, True, None)
    assert "ETag" not in made.headers
    org = api.ask("POST", "/organizations/?dry_run=true", {"name": f"Org {an_org().id}"})
    assert (org.status, org.json["id"]) == (200, None)
    assert people.everything() == before


def test_pages_are_linked_until_the_last(api: Api, people: People) -> None:
    acme = people.org()
    wanted = [str(people.user({acme: Role.MEMBER}).id) for _ in range(5)]
    path, found = f"/users/?organization={acme.slug}&limit=2", list[str]()
    pages = 0
    while path:
        reply = api.ask("GET", path)
        found += [user["id"] for user in reply.json["items"]]
        pages += 1
        link = reply.headers["Link"]
        assert (link is None) == (reply.json["next_cursor"] is None)
        following = re.fullmatch(r'</api/v1(.*)>; rel="next"', link or "")
        path = str(following[1]) if following else ""
    assert (pages, found) == (3, wanted)


def test_change_of_an_old_version_is_refused(api: Api, people: People) -> None:
    user, org = people.known_user(), people.org()
    for path, word in ((f"/users/{user.id}", user.email), (f"/organizations/{org.slug}", org.slug)):
        seen = api.ask("GET", path).headers["ETag"]
        assert api.ask("PATCH", path, {"name": "A"}, headers={"If-Match": f'"x", {seen}'}).status == 200
        changing = api.ask("PATCH", path, {"name": "B"}, headers={"If-Match": seen})
        deleting = api.ask("DELETE", f"{path}?confirm={quote(word)}", headers={"If-Match": seen})
        for reply in (changing, deleting):
            assert (reply.status, reply.code.partition(".")[2]) == (412, "changed_since"), reply.body
        present = api.ask("GET", path)
        assert (present.json["name"], present.headers["ETag"] != seen) == ("A", True)
        assert api.ask("PATCH", path, {"name": "C"}, headers={"If-Match": "*"}).json["name"] == "C"


def test_version_of_another_user_is_refused(api: Api, people: People) -> None:
    user, other = people.known_user(), people.known_user()
    etag = api.ask("GET", f"/users/{other.id}").headers["ETag"]
    for wrong in (etag, f"W/{etag}", '"never"', ""):
        reply = api.ask("PATCH", f"/users/{user.id}", {"name": "A"}, headers={"If-Match": wrong})
        assert reply.status == (412 if wrong else 400)
    moved = api.ask("PATCH", f"/users/{user.id}", {"email": an_address()}, headers={"If-Match": etag})
    assert (moved.status, moved.code) == (412, "users.changed_since")


def test_of_two_writers_of_one_version_one_wins(api: Api, people: People) -> None:
    user = people.known_user()
    seen = api.ask("GET", f"/users/{user.id}").headers["ETag"]

    def write(name: str) -> int:
        return api.ask("PATCH", f"/users/{user.id}", {"name": name}, headers={"If-Match": seen}).status

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(write, ["A", "B", "C", "D"]))
    assert statuses == [200, 412, 412, 412]
    assert len(people.events(user.id)) == 1


def test_consent_to_another_impact_is_no_consent(api: Api, people: People) -> None:
    user, other = people.known_user(), people.known_user()
    needed = api.ask("DELETE", f"/users/{user.id}")
    assert (needed.status, needed.code) == (428, "users.confirm_mismatch")
    impact = needed.json["impact"]
    assert impact["word"]["value"] == user.email
    assert impact["command"] == f"bazar users delete {user.email} --confirm {user.email}"
    assert api.ask("DELETE", f"/users/{other.id}", headers={"Bazar-Consent": consent_to(impact)}).status == 428
    wrong = consent_to({**impact, "word": {"value": other.email}})
    refused = api.ask("DELETE", f"/users/{user.id}", headers={"Bazar-Consent": wrong})
    assert (refused.status, refused.code, "impact" in refused.json) == (428, "users.confirm_mismatch", False)
    assert api.ask("DELETE", f"/users/{user.id}?confirm={quote(other.email)}").status == 428
    for unreadable in ("%", "e30", "W10", "eyJz", "e" * 5000):
        refused = api.ask("DELETE", f"/users/{user.id}", headers={"Bazar-Consent": unreadable})
        assert (refused.status, "the header Bazar-Consent cannot be read: " in refused.json["hint"]) == (428, True)
    assert api.ask("DELETE", f"/users/{user.id}", headers={"Bazar-Consent": consent_to(impact)}).status == 200


def test_stream_that_cannot_begin_is_a_problem(api: Api) -> None:
    reply = api.ask("GET", "/audit/events/export?organization=nowhere")
    assert (reply.status, reply.code) == (404, "orgs.not_found")


def test_document_is_valid_and_has_every_route(api: Api) -> None:
    document = api.ask("GET", "//openapi.json").json
    validate(document)
    paths = {path.removeprefix("/api/v1"): methods for path, methods in document["paths"].items()}
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(ROUTES)


def test_docs_load_nothing_from_elsewhere(api: Api) -> None:
    reply = api.by(None).ask("GET", "//docs")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    page = _Page()
    page.feed(reply.body.decode())
    assert page.loaded == []
    assert {path for path in page.links if not path.startswith("#")} == {"openapi.json"}
    for _, path in ROUTES:
        assert f"/api/v1{path}" in page.text


class _Page(HTMLParser):
    """What a page loads, its links and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [given["href"] or ""] if tag == "a" else []
        if tag in {"script", "link", "img", "iframe"} or "src" in given:
            self.loaded.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
