"""The suite itself: what it counts on of its own tools."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from tests.support.fork_requests import ask


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_go_to_one_worker(request: pytest.FixtureRequest) -> None:
    """Workers know a group by the names of its tests alone; unnoticed, each starts an embedded stack of its own."""
    # A worker of xdist keeps there what the whole run was told with `--dist`.
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("the tests run in one process, or are dealt out in another way")
    assert os.environ["PYTEST_CURRENT_TEST"].endswith("@together (call)")


def test_a_command_that_ends_at_once_is_asked_for() -> None:
    ours, theirs = socket.socketpair()

    class Fast(socket.socket):
        """The other end answers and closes as soon as it has the request."""

        def sendmsg(self, *words: Any) -> int:
            sent = super().sendmsg(*words)
            theirs.send(b"3")
            theirs.close()
            return sent

    with Fast(fileno=ours.detach()) as connection:
        assert ask(connection, {"words": []}, [0]) == 3
