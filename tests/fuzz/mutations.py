"""How many broken copies each reader meets.

In a test module of a format::

    @amounts
    def test_broken_files_are_refused_or_read(tmp_path, count):
        survive(Coco(), "data", samples(tmp_path / "good"), tmp_path / "bad", count)
"""

from __future__ import annotations

import pytest

from labelwise.testing.mutations import broken, survive, survive_reading

#: some in every run, many where somebody asks for them (-m fuzz)
amounts = pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.fuzz)])

__all__ = ["amounts", "broken", "survive", "survive_reading"]
