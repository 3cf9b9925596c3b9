"""The keys of one stack: those that sign tokens, and those that clients send."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

_TEN_YEARS = 10 * 365 * 24 * 3600


@dataclass(frozen=True)
class AuthKeys:
    """All keys of one stack; its repr shows none."""

    jwt_secret: str = field(repr=False)
    """Signs the anon and service keys (HS256)."""
    jwt_keys: str = field(repr=False)
    """A JSON array with one private ES256 JWK: the value of GOTRUE_JWT_KEYS."""
    anon_key: str = field(repr=False)
    service_key: str = field(repr=False)
    publishable_key: str = field(repr=False)
    """`sb_publishable_...`, which the gateway maps to the anon key."""
    secret_key: str = field(repr=False)
    """`sb_secret_...`, which the gateway maps to the service key."""


def generate_keys() -> AuthKeys:
    """Return new random keys."""
    secret = secrets.token_urlsafe(48)
    return AuthKeys(
        jwt_secret=secret,
        jwt_keys=json.dumps([_es256_jwk()]),
        anon_key=role_key(secret, "anon"),
        service_key=role_key(secret, "service_role"),
        publishable_key="sb_publishable_" + secrets.token_urlsafe(24),
        secret_key="sb_secret_" + secrets.token_urlsafe(24),
    )


def role_key(secret: str, role: str) -> str:
    """Return the JWT that is Supabase's API key of the role `anon` or `service_role`."""
    now = int(time.time())
    return jwt.encode({"iss": "supabase", "role": role, "iat": now, "exp": now + _TEN_YEARS}, secret, algorithm="HS256")


def _es256_jwk() -> dict[str, object]:
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()

    def text(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")

    return {
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "use": "sig",
        "kid": str(uuid.uuid4()),
        "key_ops": ["sign", "verify"],
        "x": text(numbers.public_numbers.x),
        "y": text(numbers.public_numbers.y),
        "d": text(numbers.private_value),
    }
