"""Access tokens: sign Supabase's claims with the JWK or the secret, and verify bearer tokens."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from jwt.algorithms import ECAlgorithm

from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.errors import Fault

_UNVERIFIED = "invalid JWT: unable to parse or verify signature, "
_PUBLIC_PARTS = ("kty", "crv", "alg", "use", "kid", "x", "y")


class Tokens:
    """Signs and verifies with the keys of one configuration."""

    def __init__(self, config: AuthConfig) -> None:
        self._config = config
        self._public = {str(k["kid"]): ECAlgorithm.from_jwk(json.dumps(_public(k))) for k in config.jwt_keys}
        self._signing = next((k for k in config.jwt_keys if "sign" in k["key_ops"]), None)
        self._private: Any = ECAlgorithm.from_jwk(json.dumps(self._signing)) if self._signing else None

    def jwks(self) -> dict[str, Any]:
        """Return the public keys. The secret of HS256 is never among them."""
        return {"keys": [{**_public(k), "key_ops": ["verify"]} for k in self._config.jwt_keys]}

    def access_token(self, user: dict[str, Any], session_id: str, amr: list[dict[str, Any]]) -> tuple[str, int]:
        """Return a signed access token and its expiry (Unix seconds)."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self._config.issuer,
            "sub": str(user["id"]),
            "aud": user["aud"] or self._config.jwt_aud,
            "exp": now + self._config.jwt_exp,
            "iat": now,
            "email": user["email"] or "",
            "phone": user["phone"] or "",
            "app_metadata": user["raw_app_meta_data"] or {},
            "user_metadata": user["raw_user_meta_data"] or {},
            "role": user["role"],
            "aal": "aal1",
            "amr": amr,
            "session_id": session_id,
            "is_anonymous": user["is_anonymous"],
        }
        if self._signing is None:
            return jwt.encode(claims, self._config.jwt_secret, algorithm="HS256"), int(claims["exp"])
        signed = jwt.encode(claims, self._private, algorithm="ES256", headers={"kid": str(self._signing["kid"])})
        return signed, int(claims["exp"])

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that this service, or its secret, signed.

        Raises: Fault 403 `bad_jwt` with Supabase's messages.
        """
        if token.count(".") != 2:
            raise _bad("token is malformed: token contains an invalid number of segments")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise _bad("token is malformed: could not base64 decode header") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "ES256" and kid in self._public:
            key: Any = self._public[kid]
        elif algorithm == "HS256":
            key = self._config.jwt_secret
        else:
            raise _bad(f"token is unverifiable: signing method {algorithm} is not accepted")
        # Like golang-jwt v5, ignore the time of issue: the clock may have been set back since.
        options: Any = {"verify_aud": False, "verify_iat": False}
        try:
            return jwt.decode(token, key, algorithms=[algorithm], options=options)
        except jwt.ExpiredSignatureError as error:
            raise _bad("token has invalid claims: token is expired") from error
        except jwt.PyJWTError as error:
            raise _bad("token signature is invalid: signature is invalid") from error


def _public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in _PUBLIC_PARTS if name in key}


def _bad(what: str) -> Fault:
    return Fault(403, "bad_jwt", _UNVERIFIED + what)
