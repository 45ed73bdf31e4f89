"""Broken tables and lists: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive

from labelwise.formats.csv_table import Csv

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_csv


@amounts
@pytest.mark.parametrize("use", ["data", "answers"])
def test_broken_tables_are_read_or_refused(tmp_path, use, count):
    survive(Csv(), use, test_csv.samples(tmp_path / "good"), tmp_path / "bad", count)
