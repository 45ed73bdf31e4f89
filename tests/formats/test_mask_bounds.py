"""The dearest masks that files of annotation tools can hold stay within the bounds of the house."""

from __future__ import annotations

from pathlib import Path

import pytest

import bounded


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["cvat", "labelme"])
def test_the_dearest_mask_is_painted_within_bounds(monkeypatch, name):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    cost = bounded.call(f"worst_masks:{name}")
    assert cost.error == "", cost.text
