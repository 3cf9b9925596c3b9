"""Switches of the environment."""

from __future__ import annotations

import pytest

from bazar_cli.terminal.streams import is_on


@pytest.mark.parametrize("value", ["", "0", "false", "FALSE", "no", "Off", " off "])
def test_words_that_mean_off(value: str) -> None:
    assert not is_on({"BAZAR_DEBUG": value}, "BAZAR_DEBUG")


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "2", "please"])
def test_anything_else_is_on(value: str) -> None:
    assert is_on({"BAZAR_DEBUG": value}, "BAZAR_DEBUG")


def test_not_set_is_off() -> None:
    assert not is_on({}, "BAZAR_DEBUG")
