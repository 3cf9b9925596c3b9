"""Passwords that bazar makes: one to hand out, and the hash of none."""

from __future__ import annotations

import secrets
import string

from bazar_cli.domain.secrets import Secret

_LENGTH = 20
_SYMBOLS = "-_.+=%@"
"""Symbols that no shell, CSV or chat client mangles and every required character set of Supabase accepts."""
_SETS = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _SYMBOLS)
_COST = 10
"""Supabase Auth's own."""
_BCRYPT_ALPHABET = "./" + string.ascii_letters + string.digits


def generated_password() -> Secret:
    """Return 20 random characters with at least one of each required character set (about 120 bits)."""
    alphabet = "".join(_SETS)
    while True:
        word = "".join(secrets.choice(alphabet) for _ in range(_LENGTH))
        if all(any(c in chosen for c in word) for chosen in _SETS) and word[0] not in _SYMBOLS:
            return Secret(word)


def hash_of_no_password() -> Secret:
    """Return random text in bcrypt's shape: no password matches it.

    Supabase Auth accepts it and spends nothing on it, while a create without any password costs it a bcrypt
    run of its own (measured: 300/s against 16.5/s).
    """
    return Secret("$2a$10$" + "".join(secrets.choice(_BCRYPT_ALPHABET) for _ in range(53)))


def bcrypt_hash(password: Secret) -> Secret:
    """Return the hash of a password that many users get: made here once, it spares Supabase one for each."""
    import bcrypt

    return Secret(bcrypt.hashpw(password.reveal().encode(), bcrypt.gensalt(_COST, prefix=b"2a")).decode())
