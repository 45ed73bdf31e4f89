"""A person at the page of a real Label Studio, in a real browser: in the order that labelwise ranked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import label_studio_rounds as rounds
import pytest
from label_studio_server import ENVIRONMENT, TOKEN

from commands import as_json, run
from labelwise.project.setup import open_project

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        not ENVIRONMENT, reason="LABELWISE_LABEL_STUDIO names no environment (label_studio.sh makes one)"
    ),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
]
PERSON = Path(__file__).with_name("label_studio_person.py")


def work(url, number, count, way, folder):
    command = [sys.executable, PERSON, url, str(number), str(count), way, folder]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(("task", "way", "count"), [("classification", "keys", 3), ("detection", "box", 2)])
def test_a_round_by_keyboard_and_mouse(people, tmp_path, monkeypatch, task, way, count):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    owner = people[0]
    project = rounds.made(people, tmp_path, task)
    number = rounds.connected(people, project)
    picks = [pick["id"] for pick in as_json("suggest", "-n", 4, "-s", "random", "-p", project)["picks"]]
    run("push", "-p", project)
    assert len(work(owner.url, number, count, way, tmp_path)) == count
    done = as_json("pull", "-p", project)
    assert (done["labelled"], done["pending"]) == (count, 4 - count)
    pool = open_project(project).pool
    assert [pool.ids[p] for p in pool.labelled if pool.ids[p] in picks[:count]] == [
        pool.ids[p] for p in pool.labelled
    ], "the most wanted were shown first"
    for name in picks[:count]:
        raw = pool.target(pool.position(name))
        if task == "classification":
            assert raw == "cat"
        else:
            (thing,) = raw["objects"]
            x1, y1, x2, y2 = thing["box"]
            assert thing["class"] == "car"
            assert x2 - x1 > 5
            assert y2 - y1 > 4
    assert pool.cost()["seconds"] > 0
