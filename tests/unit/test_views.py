"""Every view shows its results as before: names and order of fields, JSON, CSV, ids and tables."""

from __future__ import annotations

import pytest

from tests.support.view_examples import EXAMPLES, all_views, kept, shown


def test_every_view_has_examples_and_kept_output() -> None:
    assert sorted(all_views()) == sorted(EXAMPLES) == sorted(kept())


@pytest.mark.parametrize("name", sorted(all_views()))
def test_view_shows_its_results_as_kept(name: str) -> None:
    assert shown(name).split("\n") == kept()[name].split("\n")
