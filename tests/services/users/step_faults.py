"""The faults that a step of the protocol of two systems can meet."""

from __future__ import annotations

import pytest

STEP_FAULTS = pytest.mark.parametrize(
    ("status", "acts", "lasting", "healer"),
    [
        pytest.param(500, True, False, "", id="500 after"),
        pytest.param(429, False, False, "again", id="429 before, again"),
        pytest.param(None, False, False, "doctor", id="dropped before, doctor"),
        pytest.param(429, False, True, "doctor", id="429 before, for long, doctor"),
        pytest.param(500, False, True, "again", id="500 before, for long, again"),
        pytest.param(None, True, True, "again", id="dropped after, for long, again"),
        pytest.param(500, True, True, "doctor", id="500 after, for long, doctor"),
    ],
)
"""Before or after Supabase acted, once or so that it cannot be asked either; and who heals, if anybody must.

Every sort of answer meets every operation in `test_one_answer`.
"""
