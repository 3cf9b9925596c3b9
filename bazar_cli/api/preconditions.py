"""The headers that a change may depend on: ETag and If-Match for a version, Bazar-Consent for an impact."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from bazar_cli.api.errors import Unserved
from bazar_cli.domain.consent import ConsentNeeded, Impact
from bazar_cli.domain.texts import from_json, unique_keys
from bazar_cli.domain.versions import Version

_ETAG = re.compile(r'(?P<weak>W/)?"(?P<value>[\x21\x23-\x7e\x80-\xff]*)"')
_VALUE = re.compile(r"(?P<id>[0-9a-f]{32})-(?P<moment>[0-9a-f]{1,16})")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_CONSENT = 4096


def etag_of(found: Mapping[str, Any]) -> str | None:
    """Return the strong ETag of a user or organization in JSON; None for another result, or one without an id yet."""
    identifier, updated = found.get("id"), found.get("updated_at")
    if identifier is None or updated is None:
        return None
    moment = datetime.fromisoformat(updated.replace("Z", "+00:00"))
    return f'"{UUID(identifier).hex}-{(moment - _EPOCH) // _MICROSECOND:x}"'


def wanted_versions(if_match: str | None) -> frozenset[Version] | None:
    """Return the versions that If-Match allows; None for any, also where it is `*`.

    Raises: Unserved `request.unreadable` for a header that is not a list of ETags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found: set[Version] = set()
    rest = if_match.strip()
    while rest:
        tag = _ETAG.match(rest)
        if tag is None:
            break
        version = None if tag["weak"] else _version(tag["value"])
        if version is not None:
            found.add(version)
        rest = rest[tag.end() :].lstrip()
        if not rest:
            return frozenset(found)
        if not rest.startswith(","):
            break
        rest = rest[1:].lstrip()
    raise Unserved(
        400,
        "request.unreadable",
        f"the header If-Match {if_match[:80]!r} is not a list of ETags",
        hint="send the ETag of an earlier answer as it was, with its quotes",
    )


def _version(value: str) -> Version | None:
    """Return the version of an ETag; None for one that no answer of this server had."""
    found = _VALUE.fullmatch(value)
    if found is None:
        return None
    try:
        return Version(UUID(found["id"]), _EPOCH + int(found["moment"], 16) * _MICROSECOND)
    except OverflowError:
        return None


def answered(needed: ConsentNeeded, header: str | None) -> Impact:
    """Return the impact with the consent that a request brought in the header Bazar-Consent.

    The header is base64url of a JSON object: `subject`, `users` and `word` of the impact of a problem 428. The use case
    compares it with the impact at that moment.
    Raises: ConsentNeeded without consent to this subject, or to its number of users; Refused for another word.
    """
    if header is None:
        raise needed
    try:
        given = _agreed(_decoded(header))
    except ValueError as error:
        needed.hint += f"; the header Bazar-Consent cannot be read: {error}"
        raise needed from None
    impact = needed.impact
    if given.subject != impact.subject or given.users < impact.users:
        raise needed
    agreed = replace(impact, users=given.users)
    return agreed if impact.word is None else agreed.confirmed_by(given.word)


def _decoded(header: str) -> dict[str, Any]:
    """Return the content of the header. Raises: ValueError."""
    if len(header) > _LONGEST_CONSENT:
        raise ValueError(f"it is longer than {_LONGEST_CONSENT} characters")
    raw = base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
    content = from_json(raw.decode(), object_pairs_hook=unique_keys)
    if not isinstance(content, dict) or set(content) != {"subject", "users", "word"}:  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError("it needs subject, users and word")
    return content  # pyright: ignore[reportUnknownVariableType]


@dataclass(frozen=True)
class _Agreed:
    """The consent in the header; its word is empty if the header has none."""

    subject: tuple[str, ...]
    users: int
    word: str


def _agreed(content: dict[str, Any]) -> _Agreed:
    subject, users, word = content["subject"], content["users"], content["word"]
    texts = isinstance(subject, list) and all(isinstance(part, str) for part in subject)  # pyright: ignore[reportUnknownVariableType]
    if not texts or type(users) is not int or not (word is None or isinstance(word, str)):
        raise ValueError("subject is a list of texts, users a number, and word a text or null")
    return _Agreed(tuple(subject), users, word or "")  # pyright: ignore[reportUnknownArgumentType]
