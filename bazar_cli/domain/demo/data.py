"""The demo set and the generated users, which are the same on every run and every machine.

Every address is below example.com, which RFC 2606 reserves, so that no mail to a demo user reaches a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count, islice

from bazar_cli.domain.declared.shapes import USERS_MAX
from bazar_cli.domain.declared.state import DeclaredMembership, DeclaredOrganization, DeclaredState, DeclaredUser
from bazar_cli.domain.demo.seed import Seed, checked_count, completed
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError

_HARBOR, _LUMEN, _ORCHARD = "harbor-coffee", "lumen-labs", "orchard-school"
DEMO = completed(
    DeclaredState(
        organizations=(
            DeclaredOrganization(_HARBOR, "Harbor Coffee"),
            DeclaredOrganization(_LUMEN, "Lumen Labs"),
            DeclaredOrganization(_ORCHARD, "Orchard School"),
        ),
        users=(
            DeclaredUser(
                "olivia.hart@example.com", "Olivia Hart", Plan.PREMIUM, (DeclaredMembership(_HARBOR, Role.OWNER),)
            ),
            DeclaredUser("marco.diaz@example.com", "Marco Díaz", Plan.PLUS, (DeclaredMembership(_HARBOR, Role.ADMIN),)),
            DeclaredUser("nora.berg@example.com", "Nora Berg", Plan.FREE, (DeclaredMembership(_HARBOR),)),
            DeclaredUser(
                "ines.moreau@example.com", "Inès Moreau", Plan.PREMIUM, (DeclaredMembership(_LUMEN, Role.OWNER),)
            ),
            DeclaredUser(
                "tomas.novak@example.com",
                "Tomáš Novák",
                Plan.PREMIUM,
                (DeclaredMembership(_LUMEN, Role.ADMIN), DeclaredMembership(_ORCHARD)),
            ),
            DeclaredUser("yuki.sato@example.com", "Yuki Sato", Plan.FREE, (DeclaredMembership(_LUMEN),)),
            DeclaredUser(
                "amara.okafor@example.com", "Amara Okafor", Plan.PLUS, (DeclaredMembership(_ORCHARD, Role.OWNER),)
            ),
            DeclaredUser(
                "leo.fischer@example.com",
                "Leo Fischer",
                Plan.FREE,
                (DeclaredMembership(_ORCHARD),),
                UserState.SUSPENDED,
            ),
            DeclaredUser("grace.kim@example.com", "Grace Kim"),
        ),
    )
)
"""Every plan and role, a suspended user, a user in two organizations, and one in none."""

_FIRST = (
    *("Ada", "Bruno", "Chloe", "Dario", "Elif", "Femi", "Greta", "Hugo", "Iris", "Jonas", "Kira", "Luca"),
    *("Maya", "Nils", "Oona", "Pavel", "Rosa", "Samir", "Tess", "Uma", "Viktor", "Wanda", "Yara"),
)
_LAST = (
    *("Almeida", "Bauer", "Costa", "Dubois", "Eriksen", "Flores", "Garcia", "Haddad", "Ivanova", "Jensen"),
    *("Kowalski", "Lindgren", "Mensah", "Nguyen", "Olsen", "Park", "Quinn", "Rossi", "Silva", "Tanaka"),
)
_PLANS = (*[Plan.FREE] * 6, *[Plan.PLUS] * 3, Plan.PREMIUM)
"""The plans of ten generated users."""
_ADMIN_EVERY = 25


def wanted(request: Seed) -> DeclaredState:
    """Return the data of a request: those of the file or the demo set, and the generated users.

    Raises: UsageError `seed.users_invalid`.
    """
    data = DEMO if request.data is None else request.data
    checked_count(request.users)
    total = len(data.users) + request.users
    if total > USERS_MAX:
        raise UsageError(
            "seed.users_invalid",
            f"{len(data.users)} users of the file and --users {request.users} are {total}, more than {USERS_MAX}",
            hint="give --users a smaller number",
        )
    slugs = [organization.slug for organization in data.organizations]
    taken = {user.email for user in data.users}
    generated = islice(_generated(slugs, taken), request.users)
    return completed(DeclaredState(data.organizations, (*data.users, *generated)))


def _generated(slugs: Sequence[str], taken: Collection[str]) -> Iterator[DeclaredUser]:
    """Yield users without end: in turn in each organization, then in none."""
    places = [*slugs, None]
    for number in count(1):
        first, last = _FIRST[number % len(_FIRST)], _LAST[number % len(_LAST)]
        email = f"{first}.{last}.{number}@example.com".lower()
        slug = places[number % len(places)]
        role = Role.MEMBER if number % _ADMIN_EVERY else Role.ADMIN
        organizations = () if slug is None else (DeclaredMembership(slug, role),)
        if email not in taken:
            yield DeclaredUser(email, f"{first} {last}", _PLANS[number % len(_PLANS)], organizations)
