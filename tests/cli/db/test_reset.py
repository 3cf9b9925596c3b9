"""`bazar db reset`: what a user sees."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.db.conftest import On, marker_of, schema_of

Databases = Callable[..., str]


def test_smoke(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    bazar = first(url)
    bazar("db", "migrate", "--env", "test", "--unprotected").ok()
    before = schema_of(url)
    print(bazar("db", "reset"))
    print(bazar("db", "reset", "--dry-run"))
    name = url.rpartition("/")[2].partition("?")[0]
    done = bazar("db", "reset", "--confirm", name, "-o", "json")
    print(done.err)
    print(done.ok().out)
    assert schema_of(url) == before
    assert marker_of(url) == ("test", False)
    assert bazar("users", "me", "-o", "json").ok().json["is_superuser"]
    print(bazar("audit", "list", "-o", "json").ok().out)
    assert 0
