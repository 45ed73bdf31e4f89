"""Broken files of CVAT: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive

from labelwise.formats.cvat import Cvat

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_cvat


@amounts
@pytest.mark.parametrize("use", ["data", "answers"])
def test_broken_files_are_read_or_refused(tmp_path, use, count):
    survive(Cvat(), use, test_cvat.samples(tmp_path / "good"), tmp_path / "bad", count)
