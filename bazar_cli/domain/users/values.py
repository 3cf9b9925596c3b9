"""Values of users: the rules for an address, a name, a reason and a password."""

from __future__ import annotations

import re
import unicodedata

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.surplus import surplus
from bazar_cli.domain.texts import normalized

EMAIL_MAX = 255
"""Characters; Supabase Auth's own limit (Supabase Auth v2.196)."""
NAME_MAX = 200
REASON_MAX = 500
PASSWORD_MIN_BYTES = 6
PASSWORD_MAX_BYTES = 72
"""bcrypt's limit; Supabase Auth answers 500 to 73 bytes on create (recorded)."""

# Supabase Auth's form: ASCII local part and domain labels, no dot needed in the domain (`a@b` is fine).
_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)


def normalized_email(text: str) -> str:
    """Return the address as Supabase Auth stores it: lower case.

    Raises: UsageError `users.email_invalid`, naming the value and the rule. Spaces are not trimmed: a script
    that passes one has a bug worth seeing (Supabase Auth refuses them too).
    """
    if text != text.strip() or " " in text:
        raise _bad_email(text, "it has spaces")
    if len(text) > EMAIL_MAX:
        raise _bad_email(text[:40] + "...", f"it has {len(text)} characters, {EMAIL_MAX} are allowed")
    if not _EMAIL.fullmatch(text):
        raise _bad_email(text, "it must look like name@example.com, in ASCII")
    return text.lower()


def checked_name(text: str | None) -> str | None:
    """Return the display name, NFC-normalized; an empty one counts as none.

    Raises: UsageError `users.name_invalid` for control characters, more than 200 characters, or only invisible ones.
    """
    if text is None:
        return None
    name = normalized(text).strip()
    if _has_controls(name):
        raise UsageError(
            "users.name_invalid",
            f"the name {name[:40]!r} has control characters",
            hint="remove line breaks, tabs and escape sequences from the name",
        )
    if name and not _can_be_seen(name):
        raise UsageError(
            "users.name_invalid", f"the name {name[:40]!r} has no visible character", hint="correct the name"
        )
    if len(name) > NAME_MAX:
        raise UsageError(
            "users.name_invalid",
            f"the name has {len(name)} characters, {NAME_MAX} are allowed",
            hint="shorten the name",
        )
    return name or None


def checked_reason(text: str) -> str:
    """Return why a user is suspended, NFC-normalized.

    Raises: UsageError `users.reason_invalid` for control characters, more than 500 characters, or none to see.
    """
    reason = normalized(text).strip()
    broken = ""
    if _has_controls(reason):
        broken = "has control characters"
    elif not _can_be_seen(reason):
        broken = "has no visible character"
    elif len(reason) > REASON_MAX:
        broken = f"has {len(reason)} characters, {REASON_MAX} are allowed"
    if broken:
        hint = f"say in one line of 1 to {REASON_MAX} characters why the user is suspended"
        raise UsageError("users.reason_invalid", f"the reason {reason[:40]!r} {broken}", hint=hint)
    return reason


def _has_controls(text: str) -> bool:
    # A printable text has none of these.
    return not text.isprintable() and any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in text)


def _can_be_seen(text: str) -> bool:
    return any(unicodedata.category(c)[0] not in "CZ" for c in text)


def checked_password(secret: Secret) -> Secret:
    """Return the password if Supabase Auth can take it: 6 to 72 bytes of UTF-8, no NUL.

    Raises: UsageError `users.password_invalid`; the message never holds the password.
    """
    check_password(secret.reveal())
    return secret


def check_password(text: str) -> None:
    """Check a password as `checked_password`, without keeping it: a file may have a million of them.

    Raises: UsageError `users.password_invalid`.
    """
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise UsageError(
            "users.password_invalid",
            "the password is not UTF-8 text",
            hint="check the encoding of the terminal or file that it comes from",
        ) from None
    _refuse_nul(text)
    if not PASSWORD_MIN_BYTES <= size <= PASSWORD_MAX_BYTES:
        raise UsageError(
            "users.password_invalid",
            f"the password has {size} bytes; {PASSWORD_MIN_BYTES} to {PASSWORD_MAX_BYTES} are allowed",
            hint="choose another password, or let --generate-password make one",
        )


def check_one_password(*given: bool) -> None:
    """Check that a new user gets a password in one way at most. Raises: UsageError `users.two_passwords`."""
    if sum(given) > 1:
        raise UsageError(
            "users.two_passwords",
            "--password-stdin, --generate-password, --password-hash-stdin and --invite exclude each other",
            hint="give one of them",
        )


def refuse_nul(secret: Secret) -> None:
    """Refuse a password, also one to sign in with, that holds a NUL character. Raises: UsageError."""
    _refuse_nul(secret.reveal())


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise UsageError(
            "users.password_invalid",
            "the password holds a NUL character (U+0000), which is not allowed in a password",
            hint="check the file or program that it comes from; text in UTF-16 is full of them, UTF-8 is wanted",
        )


def check_superuser(email: str | None, password: Secret | None) -> None:
    """Refuse a SUPERUSER_EMAIL or SUPERUSER_PASSWORD that Supabase Auth cannot take, or that is a mistake.

    Raises: UsageError `users.email_invalid`, `users.password_invalid`, naming the variable.
    """
    name = "SUPERUSER_EMAIL"
    try:
        if email is not None:
            normalized_email(email)
        name = "SUPERUSER_PASSWORD"
        if password is not None:
            checked_password(password)
    except UsageError as error:
        raise UsageError(error.code, f"{name}: {error.message}", hint=f"correct {name}") from error
    if password is not None and (found := surplus(name, password.reveal(), any_character=True)):
        raise UsageError("users.password_invalid", f"{name}: {found.what}", hint=found.remedy)


_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}", re.A)
BCRYPT_COSTS = range(4, 16)
"""From the least cost of bcrypt to 3.4 s for a sign-in (measured at 15); each step doubles the time."""


def checked_hash(secret: Secret) -> Secret:
    """Return the hash if it is bcrypt's and of a cost that the Auth server can bear.

    Supabase Auth answers 500 to a malformed hash, and takes any cost: at 31 one sign-in would run for two days.
    Raises: UsageError `users.password_hash_invalid`.
    """
    check_bcrypt_hash(secret.reveal())
    return secret


def check_bcrypt_hash(text: str) -> None:
    """Check a hash as `checked_hash`, without keeping it. Raises: UsageError `users.password_hash_invalid`."""
    found = _BCRYPT.fullmatch(text)
    if found is None:
        raise UsageError(
            "users.password_hash_invalid",
            "the password hash is not a bcrypt hash ($2a$, $2b$ or $2y$, a cost of two digits, 53 characters)",
            hint="pass one line such as $2b$10$... on standard input",
        )
    if int(found["cost"]) not in BCRYPT_COSTS:
        raise UsageError(
            "users.password_hash_invalid",
            f"the password hash has cost {found['cost']}; {BCRYPT_COSTS[0]} to {BCRYPT_COSTS[-1]} are allowed:"
            f" a sign-in at {BCRYPT_COSTS[-1]} takes the Auth server seconds, and each step doubles that",
            hint="hash the password again with a cost of 10 to 12, or let the user set a new one: --invite",
        )


def _bad_email(text: str, rule: str) -> UsageError:
    return UsageError(
        "users.email_invalid", f"{text!r} is not a valid email address: {rule}", hint="correct the address"
    )
