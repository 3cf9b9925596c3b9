from tests.support.api_server import Api
from tests.support.people import Someone, an_address


def test_me(api: Api, root: Someone):
    r = api.ask("GET", "/users/me")
    print(r.status, r.headers, r.body)
    r = api.ask("GET", "/users/" + root.email)
    print(r.status, r.headers, r.body)
    r = api.ask("GET", "/users/?limit=1")
    print(r.status, r.headers, r.body)
    r = api.ask("POST", "/users/", {"email": an_address(), "generate_password": True})
    print(r.status, r.headers, r.body)
    u = r.json["id"]
    etag = r.headers["ETag"]
    r = api.ask("PATCH", f"/users/{u}", {"name": "Ada"}, headers={"If-Match": etag})
    print(r.status, r.headers, r.body)
    r = api.ask("PATCH", f"/users/{u}", {"name": "Ada2"}, headers={"If-Match": etag})
    print(r.status, r.headers, r.body)
    r = api.ask("POST", f"/users/{u}/suspend", {"reason": "x"})
    print(r.status, r.headers, r.body)
    r = api.ask("GET", "/users/export")
    print(r.status, r.headers, r.body)
    r = api.ask("GET", "//docs")
    print(r.status, r.headers, len(r.body))
    r = api.ask("GET", "//openapi.json")
    print(r.status, r.headers, len(r.body))
    r = api.ask("GET", "/nope")
    print(r.status, r.headers, r.body)
    r = api.ask("DELETE", "/users/me/foo")
    print(r.status, r.headers, r.body)
    r = api.ask("PUT", "/users/")
    print(r.status, r.headers, r.body)
