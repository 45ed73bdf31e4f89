"""What all ways through the whole house share."""

from __future__ import annotations

import dataclasses

import pytest

import browsing
import tiny
from labelwise.report import renderings


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    """Reports with pictures of few pixels: tests look at words, and whether a picture is there."""
    looks = {name: dataclasses.replace(look, dpi=30) for name, look in renderings.LOOKS.items()}
    monkeypatch.setattr(renderings, "LOOKS", looks)


@pytest.fixture
def counted_anew() -> None:
    """Trainings of ``tiny.CountingLearner`` are counted from none, and none is interrupted."""
    tiny.FITS.clear()
    tiny.STOP_AFTER[0] = None


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests of a module."""
    with browsing.launched() as browser:
        yield browser
