"""The suite itself: what it counts on of its own tools."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Workers are told of a group by the name of its tests alone; without it each starts an embedded stack of its own."""
    if request.config.getoption("dist", "no") != "loadgroup":
        pytest.skip("the tests run in one process, or are dealt out in another way")
    assert request.node.nodeid.endswith("@together")
