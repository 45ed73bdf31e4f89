"""Broken exports of Label Studio: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive

from labelwise.contracts.format import Hints
from labelwise.formats.label_studio import LabelStudio

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_label_studio


@amounts
@pytest.mark.parametrize("kind", [None, "classes", "boxes"])
def test_broken_exports_are_read_or_refused(tmp_path, kind, count):
    good = test_label_studio.samples(tmp_path / "good")
    if kind == "classes":  # choices of several controls leave a doubt there
        good = [path for path in good if not path.name.startswith("apart")]
    survive(LabelStudio(), "answers", good, tmp_path / "bad", count, Hints(kind))
