"""Users who were imported, through the API or by SQL, live like others: they sign in, are suspended, and go."""

from __future__ import annotations

import httpx
import pytest

from tests.support.cli import Bazar
from tests.support.people import OLD_HASH, OLD_PASSWORD, People, an_address

pytestmark = pytest.mark.live
PLAIN, NEW = "a plain Password-1", "another Password-2"


def imported(admin: Bazar, via: str) -> tuple[str, str, str]:
    """Import a user with a hash, one with a plain password and one without any."""
    hashed, plain, without = an_address("hashed"), an_address("plain"), an_address("without")
    (admin.folder("work") / "users.csv").write_text(
        f"email,name,password_hash,password\n{hashed},Ada,{OLD_HASH},\n{plain},Bob,,{PLAIN}\n{without},,,\n"
    )
    done = admin("users", "import", "users.csv", "--via", via, "-o", "json").ok().json
    assert (done["rows"], done["created"]) == (3, 3)
    return hashed, plain, without


def session_of(people: People, email: str, password: str) -> dict[str, str]:
    answer = people.auth("POST", "/token?grant_type=password", {"email": email, "password": password})
    return answer.raise_for_status().json()


# Only the embedded stack has Auth's tables in the same database, open to bazar's role.
@pytest.mark.parametrize("via", ["api", pytest.param("database", marks=pytest.mark.embedded)])
def test_imported_users_live_like_others(admin: Bazar, signed_out: Bazar, people: People, via: str) -> None:
    hashed, plain, without = imported(admin, via)

    # They sign in, refresh, and change their password.
    session = session_of(people, hashed, OLD_PASSWORD)
    again = {"refresh_token": session["refresh_token"]}
    people.auth("POST", "/token?grant_type=refresh_token", again).raise_for_status()
    assert people.signs_in(plain, PLAIN)
    ada = signed_out.having(BAZAR_TOKEN=session_of(people, hashed, OLD_PASSWORD)["access_token"])
    assert ada("users", "me", "-o", "json").ok().json["email"] == hashed
    bob = signed_out.having(BAZAR_CONFIG_DIR=str(admin.folder("bob")), BAZAR_DATA_DIR=str(admin.folder("bob")))
    bob("auth", "login", "--email", plain, "--password-stdin", stdin=f"{PLAIN}\n").ok()
    bob("auth", "password", "--password-stdin", stdin=f"{NEW}\n").ok()
    assert (people.signs_in(plain, PLAIN), people.signs_in(plain, NEW)) == (False, True)

    # A reset gives the user without a password one.
    link = admin("users", "reset-password", without, "--print-link", "-o", "json").ok().json["link"]
    followed = httpx.get(link, follow_redirects=False, trust_env=False, timeout=30)
    assert "access_token=" in followed.headers["Location"]

    # They are suspended, restored and deleted.
    admin("users", "suspend", hashed, "--reason", "left", "--yes").ok()
    assert not people.signs_in(hashed, OLD_PASSWORD)
    admin("users", "restore", hashed).ok()
    assert people.signs_in(hashed, OLD_PASSWORD)
    admin("users", "delete", hashed, "--confirm", hashed).ok()
    assert people.identities(hashed) == people.sql("SELECT 1 FROM bazar.users WHERE email = %s", hashed) == []
