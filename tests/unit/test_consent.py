"""Consent: what was given covers the impact, or somebody is asked, or the command is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bazar_cli.domain.consent import Consent, ConsentNeeded, Impact, Word, check_consent, with_consent
from bazar_cli.domain.errors import Refused

YES = Impact("this takes x from 2 users", "Take x?", "bazar take x --yes", subject=("x",), users=2, details={"x": 1})
SHOP = Word("shop", "the name of the database", "db.confirm_mismatch")
TYPED = Impact("this drops shop", "Type shop to do it", "bazar db drop --confirm shop", word=SHOP)


@pytest.mark.parametrize(
    "given",
    [YES, replace(YES, users=3), replace(YES, subject=("x",), text="shown in other words"), YES.for_any_number()],
)
def test_consent_to_the_same_or_more_is_enough(given: Impact) -> None:
    check_consent(YES, given)


@pytest.mark.parametrize("given", [None, "x", replace(YES, users=1), replace(YES, subject=("y",)).for_any_number()])
def test_without_it_the_impact_is_handed_on_with_the_command_that_agrees(given: Consent) -> None:
    with pytest.raises(ConsentNeeded) as needed:
        check_consent(YES, given)

    error = needed.value
    assert (error.impact, error.code, error.exit_code) == (YES, "input.consent", 10)
    assert error.message == "this takes x from 2 users. Take x? Nothing was done"
    assert (error.hint, error.details) == ("to do it: `bazar take x --yes`", {"x": 1})
    check_consent(YES, given, optional=True)


def test_a_name_that_is_missing_is_asked_for_under_its_own_code() -> None:
    with pytest.raises(ConsentNeeded) as needed:
        check_consent(TYPED, None)

    assert (needed.value.code, needed.value.details) == ("db.confirm_mismatch", {})
    assert needed.value.message == "this drops shop. It needs the name of the database as confirmation"
    check_consent(TYPED, None, optional=True)
    check_consent(TYPED, "shop")


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("given", ["", "SHOP", "shop ", "x" * 80, "x" * 81])
def test_a_wrong_name_is_wrong_in_a_dry_run_too_and_nobody_is_asked_again(given: str, optional: bool) -> None:
    with pytest.raises(Refused) as refused:
        check_consent(TYPED, given, optional=optional)

    shown = given if len(given) <= 80 else "x" * 80 + "..."
    assert not isinstance(refused.value, ConsentNeeded)
    assert refused.value.message.endswith(f"as confirmation, and {shown!r} is not it")
    assert refused.value.details == {"confirm": shown}


def test_a_name_in_lower_case_may_be_typed_in_any_case() -> None:
    check_consent(replace(TYPED, word=replace(SHOP, any_case=True)), "Shop")


@dataclass(frozen=True)
class Asked:
    agreed: Impact | None = None
    confirm: Consent = None


def test_the_answer_goes_into_the_request() -> None:
    assert with_consent(Asked(), YES) == Asked(agreed=YES)
    assert with_consent(Asked(), TYPED.confirmed_by("shop")) == Asked(confirm=TYPED)


def test_a_typed_word_is_consent_to_what_was_shown_and_to_nothing_else() -> None:
    typed = TYPED.confirmed_by("shop")
    check_consent(replace(TYPED, text="the same in other words"), typed)
    for changed in (replace(TYPED, subject=("drops",)), replace(TYPED, users=1), replace(TYPED, word=None)):
        with pytest.raises(ConsentNeeded):
            check_consent(changed, typed)
    with pytest.raises(Refused, match="and 'shep' is not it"):
        TYPED.confirmed_by("shep")
