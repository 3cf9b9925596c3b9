"""The file of `db seed`: JSON in the shape in which bazar shows users and organizations, checked completely.

An error names every wrong value with its place. An unknown key is an error too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar, cast

from bazar_cli.domain.demo.seed import USERS_MAX, SeedData, SeedMembership, SeedOrganization, SeedUser
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.orgs.organizations import checked_org_name, checked_slug
from bazar_cli.domain.texts import counted, from_json, json_kind, unique_keys
from bazar_cli.domain.users.users import checked_name, normalized_email

FILE_BYTES = 32 * 1024 * 1024
"""Enough for `USERS_MAX` users."""
_SHOWN = 20
"""The number of wrong values in the text; the details have the first `_DETAILED`."""
_DETAILED = 100

E = TypeVar("E", bound=Enum)
_Object = Mapping[str, object]


def parse(text: str, named: str) -> SeedData:
    """Return the data of a file. Parameters: `named` is its name in messages.

    Raises: UsageError `seed.file_unreadable` for a text that is not JSON, `seed.file_invalid` with every wrong value.
    """
    try:
        content: object = from_json(text, object_pairs_hook=unique_keys)
    except ValueError as error:
        raise UsageError(
            "seed.file_unreadable",
            f"{named} is not valid JSON: {error}",
            hint='write {"organizations": [{"slug", "name"}], "users": [{"email", ...}]}',
        ) from error
    reader = _Reader()
    data = reader.data(content)
    if reader.faults:
        raise _invalid(named, reader.faults)
    return data


def _invalid(named: str, faults: list[tuple[str, str]]) -> UsageError:
    lines = [f"{place}: {rule}" for place, rule in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"and {len(faults) - _SHOWN} more")
    return UsageError(
        "seed.file_invalid",
        f"{named} has {counted(len(faults), 'wrong value')}, and nothing was written",
        below=lines,
        hint="correct the file and run the command again",
        details={
            "count": len(faults),
            "faults": [{"place": place, "rule": rule} for place, rule in faults[:_DETAILED]],
        },
    )


class _Reader:
    """Reads one file and collects its wrong values."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []
        """The place of each wrong value, and the rule."""
        self._slugs: dict[str, str] = {}
        """The place of each organization."""
        self._emails: dict[str, str] = {}
        self._owned: dict[str, bool] = {}
        """For each organization with owners, whether one of them is active."""

    def data(self, content: object) -> SeedData:
        top = self._object("the file", content, {"organizations", "users"})
        listed = self._list("organizations", top.get("organizations"))
        organizations = [self._organization(f"organizations[{index}]", item) for index, item in enumerate(listed)]
        given = self._list("users", top.get("users"))
        if len(given) > USERS_MAX:
            self._fault("users", f"there are {len(given)}, more than {USERS_MAX}")
            given = []
        users = [self._user(f"users[{index}]", item) for index, item in enumerate(given)]
        for slug, active in self._owned.items():
            if not active:
                self._fault(self._slugs[slug], f"all owners of {slug} are suspended; it needs an active one")
        return SeedData(tuple(o for o in organizations if o), tuple(u for u in users if u))

    def _organization(self, place: str, item: object) -> SeedOrganization | None:
        found = self._object(place, item, {"slug", "name"}, needed=("slug", "name"))
        slug = self._checked(f"{place}.slug", found.get("slug"), checked_slug)
        name = self._checked(f"{place}.name", found.get("name"), checked_org_name)
        if slug is not None:
            self._note(self._slugs, slug, place, f"{place}.slug")
        return None if slug is None or name is None else SeedOrganization(slug, name)

    def _user(self, place: str, item: object) -> SeedUser | None:
        keys = {"email", "name", "plan", "organizations", "state"}
        found = self._object(place, item, keys, needed=("email",))
        email = self._checked(f"{place}.email", found.get("email"), normalized_email)
        name = self._checked(f"{place}.name", found.get("name"), checked_name)
        plan = self._choice(f"{place}.plan", found.get("plan"), Plan, Plan.FREE)
        state = self._choice(f"{place}.state", found.get("state"), UserState, UserState.ACTIVE)
        memberships = self._memberships(f"{place}.organizations", found.get("organizations"), state)
        if email is None:
            return None
        self._note(self._emails, email, place, f"{place}.email")
        return SeedUser(email, name, plan, memberships, state)

    def _memberships(self, place: str, value: object, state: UserState) -> tuple[SeedMembership, ...]:
        found: dict[str, SeedMembership] = {}
        for index, item in enumerate(self._list(place, value)):
            here = f"{place}[{index}]"
            given = self._object(here, item, {"slug", "role"}, needed=("slug",))
            slug = self._checked(f"{here}.slug", given.get("slug"), checked_slug)
            role = self._choice(f"{here}.role", given.get("role"), Role, Role.MEMBER)
            if slug is None:
                continue
            if slug in found:
                self._fault(f"{here}.slug", f"{slug} is named twice")
            elif slug not in self._slugs:
                self._fault(f"{here}.slug", f"{slug} is not one of the organizations of this file")
            elif role is Role.OWNER:
                self._owned[slug] = self._owned.get(slug, False) or state is UserState.ACTIVE
            found[slug] = SeedMembership(slug, role)
        return tuple(found.values())

    # -- values -------------------------------------------------------------------------------------------

    def _fault(self, place: str, rule: str) -> None:
        self.faults.append((place, rule))

    def _note(self, places: dict[str, str], value: str, place: str, here: str) -> None:
        """Note the place of a value that may occur once."""
        if value in places:
            self._fault(here, f"{places[value]} has {value} too")
        else:
            places[value] = place

    def _object(self, place: str, value: object, keys: set[str], needed: tuple[str, ...] = ()) -> _Object:
        if not isinstance(value, dict):
            self._fault(place, f"an object is needed, not {json_kind(value)}")
            return {}
        found = cast("dict[str, object]", value)
        for name in sorted(found.keys() - keys):
            self._fault(place, f"unknown key {name[:40]!r}; known: {', '.join(sorted(keys))}")
        for name in needed:
            if found.get(name) is None:
                self._fault(place, f"{name} is missing")
        return found

    def _list(self, place: str, value: object) -> list[object]:
        if value is None:
            return []
        if not isinstance(value, list):
            self._fault(place, f"a list is needed, not {json_kind(value)}")
            return []
        return cast("list[object]", value)

    def _checked(self, place: str, value: object, check: Callable[[str], str | None]) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            self._fault(place, f"a text is needed, not {json_kind(value)}")
            return None
        try:
            return check(value)
        except UsageError as error:
            self._fault(place, error.message)
            return None

    def _choice(self, place: str, value: object, kind: type[E], default: E) -> E:
        if value is None:
            return default
        known = {str(choice.value): choice for choice in kind}
        if isinstance(value, str) and value in known:
            return known[value]
        shown = repr(value[:40]) if isinstance(value, str) else json_kind(value)
        self._fault(place, f"{shown} is not valid; choose one of: {', '.join(known)}")
        return default
