"""Generated passwords, and hashes."""

from __future__ import annotations

import base64
import secrets
import string

from bazar_cli.domain.secrets import Secret

_LENGTH = 20
_SYMBOLS = "-_.+=%@"
"""Symbols that shells, CSV and chat clients leave alone and that Supabase counts as symbols."""
_SETS = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _SYMBOLS)
_COST = 10
"""Supabase Auth's own."""
_BYTES_OF_HASH = 40
"""They give 56 characters, of which a bcrypt hash has 53."""


def generated_password() -> Secret:
    """Return 20 random characters with at least one of each required character set (about 120 bits)."""
    alphabet = "".join(_SETS)
    while True:
        word = "".join(secrets.choice(alphabet) for _ in range(_LENGTH))
        if all(any(c in chosen for c in word) for chosen in _SETS) and word[0] not in _SYMBOLS:
            return Secret(word)


def hash_of_no_password() -> Secret:
    """Return random text in the form of a bcrypt hash, which no password matches.

    Supabase Auth stores it unchanged. For a user without any password it computes a bcrypt hash (measured: 300/s
    against 16.5/s).
    """
    return Secret("$2a$10$" + base64.b64encode(secrets.token_bytes(_BYTES_OF_HASH), b"./").decode()[:53])


def bcrypt_hash(password: Secret) -> Secret:
    """Return the hash of a password that many users get, so that Supabase does not compute it for each."""
    return Secret(bcrypt_of(password.reveal()))


def bcrypt_of(password: str) -> str:
    """Return the hash of one of many passwords, none of which is kept."""
    import bcrypt

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST, prefix=b"2a")).decode()
