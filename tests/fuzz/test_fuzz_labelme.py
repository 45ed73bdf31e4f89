"""Broken files of labelme: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive

from labelwise.formats.labelme import Labelme

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_labelme


@amounts
@pytest.mark.parametrize("use", ["data", "answers"])
def test_broken_files_are_read_or_refused(tmp_path, use, count):
    survive(Labelme(), use, test_labelme.samples(tmp_path / "good"), tmp_path / "bad", count)
