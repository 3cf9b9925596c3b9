"""docs/provisioning.md: its files are written, and every line of its scripts runs, in the order of the page."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.checkout import ROOT
from tests.support.cli import Bazar, program
from tests.support.people import People
from tests.support.separate_systems import separate_systems

pytestmark = pytest.mark.packages

PAGE = ROOT / "docs" / "provisioning.md"
_BLOCK = re.compile(r"(?ms)(?:^<!-- file: (\S+) -->\n)?^```(\w*)\n(.*?)^```$")
PASSWORD = "correct horse battery staple"
"""The one whose hash the page has for Auth0 and Clerk."""
FIREBASE_PASSWORD = "user1password"
"""The one of Firebase's own example, https://github.com/firebase/scrypt."""


@pytest.fixture(scope="module")
def walked(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[People, Bazar, Path]]:
    """Systems in which the page was followed, and the folder with its files."""
    home = tmp_path_factory.mktemp("provisioning")
    with separate_systems(postgres_url, home / "home") as (people, admin):
        folder = admin.folder("work")
        (home / "bin").mkdir()
        program(home / "bin" / "bazar")
        (home / "bin" / "python3").symlink_to(sys.executable)
        environ = {**admin.environment(), "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        for name, language, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            if name:
                (folder / name).write_text(text, encoding="utf-8")
                continue
            assert language == "sh", f"nothing here runs a block of {language or 'no language'}"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                env=environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        yield people, admin, folder


def user(people: People, email: str) -> dict[str, Any]:
    [found] = people.sql(
        "SELECT u.id, u.name, u.plan, i.encrypted_password, i.raw_user_meta_data AS data, i.raw_app_meta_data AS app,"
        " i.email_confirmed_at IS NOT NULL AS confirmed, ARRAY(SELECT o.slug || ':' || m.role FROM bazar.memberships m"
        " JOIN bazar.organizations o ON o.id = m.organization_id WHERE m.user_id = u.id ORDER BY o.slug) AS roles"
        " FROM bazar.users u JOIN auth.users i ON i.id = u.id WHERE u.email = %s",
        email,
    )
    return found


def test_users_of_the_page_have_what_their_exports_said(walked: tuple[People, Bazar, Path]) -> None:
    people, _, _ = walked
    ada = user(people, "ada@example.com")
    assert (ada["name"], ada["plan"], ada["roles"]) == ("Ada Lovelace", "premium", ["acme:owner", "beta:member"])
    auth0, google = user(people, "ada.auth0@example.com"), user(people, "grace.auth0@example.com")
    assert (auth0["name"], auth0["data"]["theme"], auth0["app"]["tier"]) == ("Ada Lovelace", "dark", "gold")
    assert (google["name"], google["confirmed"]) == (None, True)
    clerk, other = user(people, "ada.clerk@example.com"), user(people, "grace.clerk@example.com")
    assert (clerk["name"], clerk["data"]["clerk_id"], other["name"]) == ("Ada Lovelace", "user_2abcPQRS", "Grace")
    cognito = user(people, "ada.cognito@example.com")
    assert (str(cognito["id"]), cognito["name"]) == ("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "Ada Lovelace")
    assert people.signs_in("ada.auth0@example.com", PASSWORD)
    assert people.signs_in("ada.clerk@example.com", PASSWORD)
    assert not people.signs_in("grace.clerk@example.com", PASSWORD)


def test_hash_of_firebase_is_one_that_supabase_can_verify(walked: tuple[People, Bazar, Path]) -> None:
    """As `internal/crypto/password.go` of Supabase Auth v2.196 reads it; the embedded service does not."""
    people, _, _ = walked
    firebase = user(people, "ada.firebase@example.com")
    assert (firebase["name"], firebase["app"]["tier"]) == ("Ada Lovelace", "gold")
    form = r"\$fbscrypt\$v=1,n=(\d+),r=(\d+),p=(\d+),ss=([^,]+),sk=([^$]+)\$([^$]+)\$(.+)"
    found = re.fullmatch(form, firebase["encrypted_password"])
    assert found is not None
    n, r, p = (int(found[group]) for group in (1, 2, 3))
    separator, signer, salt, expected = (base64.b64decode(found[group]) for group in (4, 5, 6, 7))
    key = hashlib.scrypt(
        FIREBASE_PASSWORD.encode(), salt=salt + separator, n=1 << n, r=r, p=p, maxmem=64 << 20, dklen=32
    )
    assert Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(signer) == expected


def test_declared_users_are_members(walked: tuple[People, Bazar, Path]) -> None:
    people, _, _ = walked
    ida, joan = user(people, "ida@example.com"), user(people, "joan@example.com")
    assert (ida["name"], ida["plan"], ida["roles"]) == ("Ida R.", "plus", ["gamma:owner"])
    assert (joan["name"], joan["roles"]) == ("Joan Clarke", ["gamma:member"])


def test_unconfirmed_addresses_are_invited_and_not_imported(walked: tuple[People, Bazar, Path]) -> None:
    people, _, folder = walked
    unconfirmed = (folder / "unconfirmed.txt").read_text().splitlines()
    assert unconfirmed == [f"eve.{name}@example.com" for name in ("o'hara", "clerk", "firebase", "cognito")]
    assert [user(people, email)["confirmed"] for email in unconfirmed] == [False] * 4
    mails = people.sql("SELECT recipient, kind FROM bazar_auth.mails ORDER BY id")
    assert [(mail["recipient"], mail["kind"]) for mail in mails] == [
        *((email, "invite") for email in unconfirmed),
        *((f"{name}@example.com", "recovery") for name in ("grace.auth0", "grace.clerk", "ada.cognito")),
    ]


def test_export_of_the_page_changes_nothing_when_it_is_imported(walked: tuple[People, Bazar, Path]) -> None:
    people, admin, _ = walked
    before = people.everything()
    done = admin("users", "import", "users.jsonl", "-o", "json").ok().json
    assert (done["unchanged"], done["created"], done["updated"], done["failed"]) == (done["rows"], 0, 0, 0)
    after = people.everything()
    assert {table: rows for table, rows in after.items() if rows != before[table]}.keys() <= {"bazar.audit_events"}
