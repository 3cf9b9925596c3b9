"""From the tree of a document to a declared state, with a finding for every wrong value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bazar_cli.domain.authz.permissions import KEPT_BY_PREMIUM, in_order
from bazar_cli.domain.declared.nodes import Node, OtherScalar, Place, kind_of
from bazar_cli.domain.declared.shapes import Choice, Field, Items, Shape, Text
from bazar_cli.domain.declared.state import (
    ABSENT,
    DeclaredMembership,
    DeclaredOrganization,
    DeclaredPlan,
    DeclaredState,
    DeclaredUser,
)
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.findings import DETAILED, as_lines
from bazar_cli.domain.texts import counted


@dataclass(frozen=True)
class Finding:
    """A wrong value: its path such as `users[0].email`, its line and column, and the rule."""

    path: str
    rule: str
    at: Place


class Findings(Exception):
    """The document has wrong values."""

    def __init__(self, found: Sequence[Finding]) -> None:
        super().__init__(f"{len(found)} findings")
        self.found = tuple(found)

    def as_error(self, code: str, named: str) -> UsageError:
        """Return the error that names every finding, in the order of the file. Parameters: `named` is its name."""
        found = sorted(self.found, key=lambda finding: finding.at)
        lines = [f"line {f.at[0]} column {f.at[1]}: {f.path}: {f.rule}" for f in found]
        return UsageError(
            code,
            f"{named} has {counted(len(found), 'wrong value')}, and nothing was written",
            below=as_lines(lines, len(found)),
            hint="correct the file and run the command again",
            details={
                "count": len(found),
                "faults": [
                    {"place": f.path, "rule": f.rule, "line": f.at[0], "column": f.at[1]} for f in found[:DETAILED]
                ],
            },
        )


def declared_state(document: Node, shape: Shape) -> DeclaredState:
    """Return the state that a document declares. Raises: Findings."""
    reader = _Reader()
    found = reader.object(shape, "the file", "", document)
    state = _Builder(reader).state(found)
    if reader.findings:
        raise Findings(reader.findings)
    return state


@dataclass(frozen=True)
class _Found:
    """An object of the document: the checked values of its fields; a wrong value is left out."""

    values: Mapping[str, Any]
    path: str
    prefix: str
    node: Node

    def objects(self, key: str) -> list[_Found]:
        return self.values.get(key) or []

    def where(self, key: str) -> tuple[str, Place]:
        """Return the path and the place of a field that has a value."""
        entries = self.node.value
        assert isinstance(entries, Mapping), "an object with values is a mapping"
        return f"{self.prefix}{key}", entries[key].node.at


class _Reader:
    """Checks the fields of a document by their shapes."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def fault(self, path: str, rule: str, at: Place) -> None:
        self.findings.append(Finding(path, rule, at))

    def object(self, shape: Shape, path: str, prefix: str, node: Node) -> _Found:
        value = node.value
        if not isinstance(value, Mapping):
            self.fault(path, f"an object is needed, not {kind_of(value)}", node.at)
            return _Found({}, path, prefix, node)
        for key in sorted(value.keys() - shape.fields.keys()):
            known = ", ".join(sorted(shape.fields))
            self.fault(path, f"unknown key {key[:40]!r}; known: {known}", value[key].at)
        values: dict[str, Any] = {}
        for key, form in shape.fields.items():
            entry = value.get(key)
            if entry is None or entry.node.value is None:
                if key in shape.needed:
                    self.fault(path, f"{key} is missing", node.at)
                elif entry is not None:
                    values[key] = None
                continue
            checked = self._value(form, f"{prefix}{key}", entry.node)
            if checked is not ABSENT:
                values[key] = checked
        return _Found(values, path, prefix, node)

    def _value(self, form: Field, path: str, node: Node) -> Any:
        """Return the checked value; ABSENT for a wrong one."""
        if isinstance(form, Text):
            return self._text(form, path, node)
        if isinstance(form, Choice):
            return self._choice(form, path, node)
        return self._items(form, path, node)

    def _items(self, form: Items, path: str, node: Node) -> Any:
        if not isinstance(node.value, list):
            self.fault(path, f"a list is needed, not {kind_of(node.value)}", node.at)
            return ABSENT
        if form.most is not None and len(node.value) > form.most:
            self.fault(path, f"there are {len(node.value)}, more than {form.most}", node.at)
            return ABSENT
        places = [(f"{path}[{index}]", item) for index, item in enumerate(node.value)]
        of = form.of
        if isinstance(of, Shape):
            return [self.object(of, where, f"{where}.", item) for where, item in places]
        return [found for where, item in places if (found := self._choice(of, where, item)) is not ABSENT]

    def _text(self, form: Text, path: str, node: Node) -> Any:
        if not isinstance(node.value, str):
            quote = "; put it in quotes" if isinstance(node.value, OtherScalar) else ""
            self.fault(path, f"a text is needed, not {kind_of(node.value)}{quote}", node.at)
            return ABSENT
        try:
            return form.check(node.value)
        except UsageError as error:
            self.fault(path, error.message, node.at)
            return ABSENT

    def _choice(self, form: Choice, path: str, node: Node) -> Any:
        known, value = form.known, node.value
        if isinstance(value, str) and value in known:
            return known[value]
        shown = repr(value[:40]) if isinstance(value, str) else kind_of(value)
        self.fault(path, f"{shown} is not valid; choose one of: {', '.join(known)}", node.at)
        return ABSENT


class _Builder:
    """Makes the state of checked values, and checks them against each other."""

    def __init__(self, reader: _Reader) -> None:
        self._fault = reader.fault
        self._organizations: dict[str, _Found] = {}
        self._users: dict[str, _Found] = {}
        self._memberships: dict[str, dict[str, DeclaredMembership]] = {}
        """The memberships of each user, by the slug."""

    def state(self, top: _Found) -> DeclaredState:
        for found in top.objects("organizations"):
            self._note(self._organizations, found, "slug")
        organizations = tuple(map(self._organization, self._organizations.values()))
        for found in top.objects("users"):
            if self._note(self._users, found, "email"):
                self._memberships_of(found)
        for slug, found in self._organizations.items():
            self._members_of(slug, found)
        users = tuple(map(self._user, self._users.values())) + tuple(
            DeclaredUser(email, organizations=tuple(memberships.values()), must_exist=True, at=_first(memberships))
            for email, memberships in self._memberships.items()
            if email not in self._users
        )
        self._check_owners(users)
        plans: dict[str, _Found] = {}
        for found in top.objects("plans"):
            self._note(plans, found, "plan")
            self._check_kept(found)
        return DeclaredState(organizations, users, tuple(map(_plan, plans.values())))

    def _note(self, noted: dict[str, _Found], found: _Found, key: str) -> bool:
        """Note an object by a value that may occur once; return whether it is the first one with it."""
        value = found.values.get(key)
        if value is None:
            return False
        if value in noted:
            path, at = found.where(key)
            self._fault(path, f"{noted[value].path} has {value} too", at)
            return False
        noted[value] = found
        return True

    def _organization(self, found: _Found) -> DeclaredOrganization:
        return DeclaredOrganization(
            found.values["slug"], found.values.get("name"), found.values.get("members") is not None, found.node.at
        )

    def _user(self, found: _Found) -> DeclaredUser:
        values = found.values
        memberships = tuple(self._memberships.get(values["email"], {}).values())
        name = values.get("name", ABSENT)
        return DeclaredUser(
            values["email"], name, values.get("plan"), memberships, values.get("state"), at=found.where("email")[1]
        )

    def _memberships_of(self, user: _Found) -> None:
        for found in user.objects("organizations"):
            slug = found.values.get("slug")
            if slug is None:
                continue
            path, at = found.where("slug")
            if slug not in self._organizations:
                self._fault(path, f"{slug} is not one of the organizations of this file", at)
            self._note_membership(user.values["email"], slug, found, (path, at), f"{slug} is named twice")

    def _members_of(self, slug: str, organization: _Found) -> None:
        for found in organization.objects("members"):
            email = found.values.get("email")
            if email is not None:
                self._note_membership(email, slug, found, found.where("email"), f"{email} is named twice")

    def _note_membership(self, email: str, slug: str, found: _Found, where: tuple[str, Place], twice: str) -> None:
        theirs = self._memberships.setdefault(email, {})
        if slug in theirs:
            self._fault(where[0], twice, where[1])
        theirs[slug] = DeclaredMembership(slug, cast("Role | None", found.values.get("role")), where[1])

    def _check_kept(self, plan: _Found) -> None:
        """Find permissions that Premium cannot lose."""
        permissions = plan.values.get("permissions")
        if plan.values.get("plan") is Plan.PREMIUM and permissions is not None:
            lacking = KEPT_BY_PREMIUM.difference(permissions)
            if lacking:
                names = ", ".join(in_order(p.value for p in lacking))
                path, at = plan.where("permissions")
                self._fault(path, f"Premium always keeps {names}: superusers need them", at)

    def _check_owners(self, users: Sequence[DeclaredUser]) -> None:
        """Find organizations all of whose named owners are suspended."""
        owned: dict[str, bool] = {}
        for user in users:
            for membership in user.organizations:
                if membership.role is Role.OWNER:
                    active = user.state is not UserState.SUSPENDED
                    owned[membership.slug] = owned.get(membership.slug, False) or active
        for slug, active in owned.items():
            if not active and slug in self._organizations:
                found = self._organizations[slug]
                self._fault(found.path, f"all owners of {slug} are suspended; it needs an active one", found.node.at)


def _first(memberships: Mapping[str, DeclaredMembership]) -> Place:
    return next(iter(memberships.values())).at


def _plan(found: _Found) -> DeclaredPlan:
    permissions = found.values.get("permissions")
    return DeclaredPlan(found.values["plan"], None if permissions is None else frozenset(permissions))
