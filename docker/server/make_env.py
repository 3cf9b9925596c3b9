"""Print docker/server/.env for compose.yml, with random passwords and keys; it needs nothing but Python.

python3 docker/server/make_env.py you@example.com
"""

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time

_TEN_YEARS = 10 * 365 * 24 * 3600


def main() -> None:
    """Print the variables for the superuser whose address is the one argument."""
    if len(sys.argv) != 2 or "@" not in sys.argv[1]:
        sys.exit("usage: make_env.py EMAIL-OF-THE-FIRST-SUPERUSER")
    secret, database = secrets.token_hex(32), secrets.token_hex(24)
    values = {
        "SUPABASE_URL": "http://127.0.0.1:54321",
        "SUPABASE_KEY": api_key("service_role", secret),
        "SUPABASE_ANON_KEY": api_key("anon", secret),
        "DATABASE_URL": f"postgresql://bazar:{database}@127.0.0.1:54322/bazar",
        "SUPERUSER_EMAIL": sys.argv[1],
        "SUPERUSER_PASSWORD": f"Aa1-{secrets.token_urlsafe(24)}",
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "AUTH_DATABASE_PASSWORD": secrets.token_hex(24),
        "BAZAR_DATABASE_PASSWORD": database,
        "GOTRUE_JWT_SECRET": secret,
    }
    sys.stdout.write("".join(f"{name}={value}\n" for name, value in values.items()))


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
