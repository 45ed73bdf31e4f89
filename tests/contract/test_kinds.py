"""Every registered kind of label keeps its contract."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from labelwise.kinds import KINDS, kind_of, kind_of_labels
from labelwise.kinds.masks import raw_mask
from labelwise.tasks import TASKS
from labelwise.testing.kinds import check_kind

CLASSES = ("cat", "dog", "ünï")


def _boxes():
    box = {"class": "cat", "box": [1, 2.5, 30, 20]}
    more = {"class": "dog", "box": [0, 0, 0, 0], "crowd": True, "difficult": True, "extra": {"area": 0, "id": 7}}
    outlined = {
        "class": "ünï",
        "box": [1, 1, 9, 9],
        "extra": {"segmentation": [[1, 1, 9, 1, 9, 9]], "keypoints": [1, 2, 2]},
    }
    guesses = [{**box, "score": 0.5}, {"class": "dog", "box": [3, 3, 4, 4], "score": 1}]
    return [
        {"size": [40, 30], "objects": []},
        {"size": [40, 30], "objects": [box, more, outlined], "extra": {"file": "a"}},
        {"size": [40, 30], "objects": guesses},
    ]


def _points():
    points = [[1, 2, 2], [3.5, 4, 1], [0, 0, 0]]
    body = {"class": "cat", "points": points, "names": ["a", "b", "c"], "box": [1, 1, 9, 9]}
    other = {"class": "dog", "points": [[1, 2, 2]], "crowd": True, "extra": {"id": 3}}
    return [
        {"size": [40, 30], "objects": [body], "skeleton": [[0, 1]]},
        {"size": [40, 30], "objects": [other, body]},
        {"size": [40, 30], "objects": [{"class": "dog", "points": [[1, 2, 2]], "score": 0.5}]},
    ]


def _masks():
    whole = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    bare = np.full((3, 4), 255, np.uint8)
    return [raw_mask(bare, (4, 3)), raw_mask(whole, (4, 3)), raw_mask(whole[:2, 1:3], (4, 3), (1, 1))]


TAGS = [["cat", "ünï"], ["dog"], []]
LABELS = {
    "classes": lambda: ["cat", "dog", "ünï"],
    "tags": lambda: TAGS,
    "boxes": _boxes,
    "points": _points,
    "masks": _masks,
}


def test_every_kind_has_labels_to_be_tested_with():
    assert sorted(LABELS) == KINDS.names()


@pytest.mark.heavy
@pytest.mark.parametrize("name", KINDS.names())
def test_it_keeps_the_contract(name):
    check_kind(KINDS.create(name), LABELS[name](), CLASSES)


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_names_its_kind_and_is_named_by_it(name):
    kind = TASKS.get(name).kind
    assert kind_of(name) == kind
    assert kind_of_labels({"a": LABELS[kind.name]()[-1]}) == kind


@pytest.mark.heavy
def test_no_kind_needs_torch():
    code = (
        "import sys\n"
        "from labelwise.kinds import KINDS\n"
        "import labelwise.kinds.masks as masks, numpy as np\n"
        "raw = masks.raw_mask(np.zeros((4, 4), np.uint8), (4, 4))\n"
        "for name in KINDS.names():\n"
        "    KINDS.create(name)\n"
        "kind = KINDS.create('masks')\n"
        "kind.cost(raw), kind.objects(raw, ('a',)), kind.to_record('a', raw, ('a',))\n"
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
