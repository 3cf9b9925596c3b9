"""Make docker/server/.env and docker/server/secrets for compose.yml, with random passwords and keys.

python3 docker/server/make_env.py you@example.com

It needs nothing but Python, and replaces no file.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_TEN_YEARS = 10 * 365 * 24 * 3600
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
"""Addresses that need no quotes in an env file."""


def main() -> None:
    """Write the files for the superuser whose address is the one argument."""
    if len(sys.argv) != 2 or not _EMAIL.fullmatch(sys.argv[1]):
        sys.exit("usage: make_env.py EMAIL-OF-THE-FIRST-SUPERUSER (letters, digits and . _ % + - before the @)")
    files = contents(sys.argv[1])
    taken = [name for name in (".env", "secrets") if os.path.lexists(_HERE / name)]
    if taken:
        sys.exit(
            f"{_HERE / taken[0]} exists; nothing was written. New passwords do not open the present "
            "database: remove .env, secrets and the volumes to begin again"
        )
    (_HERE / "secrets").mkdir(mode=0o700)
    for name, content in files.items():
        # Users of containers read the files in `secrets`, and have other numbers. On this machine the folder is closed.
        mode = 0o644 if "/" in name else 0o600
        handle = os.open(_HERE / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            os.fchmod(handle, mode)
            stream.write(content)


def contents(email: str) -> "dict[str, str]":
    """Return the content of each file by its path."""
    secret, of_bazar, of_auth = secrets.token_hex(32), secrets.token_hex(24), secrets.token_hex(24)
    common = {
        "SUPABASE_KEY": api_key("service_role", secret),
        "SUPABASE_ANON_KEY": api_key("anon", secret),
        "SUPERUSER_EMAIL": email,
        "SUPERUSER_PASSWORD": f"Aa1-{secrets.token_urlsafe(24)}",
    }
    here = {
        "SUPABASE_URL": "http://127.0.0.1:54321",
        "DATABASE_URL": f"postgresql://bazar:{of_bazar}@127.0.0.1:54322/bazar",
    }
    auth = {
        "GOTRUE_DB_DATABASE_URL": f"postgres://supabase_auth_admin:{of_auth}@db:5432/bazar",
        "GOTRUE_JWT_SECRET": secret,
    }
    return {
        ".env": env_file({**here, **common}),
        "secrets/bazar.env": env_file({"DATABASE_URL": f"postgresql://bazar:{of_bazar}@db:5432/bazar", **common}),
        "secrets/auth.env": env_file(auth),
        "secrets/postgres_password": secrets.token_hex(24),
        "secrets/auth_database_password": of_auth,
        "secrets/bazar_database_password": of_bazar,
    }


def env_file(values: "dict[str, str]") -> str:
    """Return the lines of an env file."""
    return "".join(f"{name}={value}\n" for name, value in values.items())


def api_key(role: str, secret: str) -> str:
    """Return a key of Supabase: a JWT with a role, signed with the secret of the Auth service (HS256)."""
    now = int(time.time())
    claims = {"role": role, "iss": "supabase", "iat": now, "exp": now + _TEN_YEARS}
    text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{_encoded(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
