"""The real sets, unpacked once per test run into a folder that goes away with it."""

from __future__ import annotations

import os
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _unpacked(archive: str) -> Path:
    folder = tempfile.TemporaryDirectory()
    _KEPT.append(folder)
    with tarfile.open(archive) as tar:
        tar.extractall(folder.name, filter="data")
    return Path(folder.name)


def unpacked(name: str) -> Path:
    """The folder of a set: ``coco_mini``, ``BCCD``, ``camvid`` or ``pose_mouse``."""
    archives = {
        **{"coco_mini": "coco_mini_half.tar.gz", "BCCD": "bccd_voc.tar.gz"},
        **{"camvid": "camvid11_240x180.tar", "pose_mouse": "pose_mouse_coco.tar.gz"},
    }
    data = os.environ.get("LABELWISE_DATA")
    if not data or not (Path(data) / archives[name]).exists():
        pytest.skip("LABELWISE_DATA names no folder with this set")
    return _unpacked(str(Path(data) / archives[name])) / name
