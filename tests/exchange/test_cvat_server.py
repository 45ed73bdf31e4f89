"""Rounds on a server that answers as CVAT does: tasks in ranked order, finished jobs back, nothing twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cvat_server import TOKEN, cvat
from PIL import Image
from typer.testing import CliRunner

from commands import as_json, refused, run
from labelwise.cli.app import app
from labelwise.project.setup import open_project

pytestmark = pytest.mark.heavy
NAMES = [f"{n}/a ü&{n}.png" for n in range(7)]
BOX = '<box label="car" source="manual" occluded="0" xtl="4" ytl="6" xbr="14" ybr="15" z_order="0"></box>'


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setattr("labelwise.exchange.tools.server.WAITS", (0.001,))
    with cvat() as there:
        yield there


@pytest.fixture
def project(tmp_path):
    for n, name in enumerate(NAMES):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True)
        Image.fromarray(np.full((30, 40, 3), 20 * n, np.uint8)).save(file)
    run("init", tmp_path / "images", "-p", tmp_path, "--labels", "none", "--task", "detection", "--classes", "car,bus")
    return tmp_path


def connected(server, project, *more):
    return as_json("connect", "cvat", "--url", server.url, "-p", project, *more)["number"]


def asked(project, count, *more):
    return [pick["id"] for pick in as_json("suggest", "-n", count, "-s", "random", "-p", project, *more)["picks"]]


def pictures(task):
    """Colour of the frames that are there, in their order."""
    import io

    shades = [int(np.asarray(Image.open(io.BytesIO(task["files"][name])))[0, 0, 0]) // 20 for name in task["frames"]]
    return [NAMES[shade] for n, shade in enumerate(shades) if n not in task["deleted"]]


def test_a_round_is_a_task_in_the_order_that_was_ranked(server, project):
    connected(server, project)
    picks = asked(project, 5)
    assert as_json("push", "-p", project)["sent"] == 5
    again = as_json("push", "-p", project)
    assert (again["sent"], again["there"]) == (0, 5)
    (task,) = server.tasks.values()
    assert pictures(task) == picks
    assert as_json("pull", "-p", project) is None
    server.complete(1, {0: BOX}, range(3))
    done = as_json("pull", "-p", project)
    assert (done["labelled"], done["empty"], done["pending"]) == (3, 2, 2)
    pool = open_project(project).pool
    assert pool.target(pool.position(picks[0]))["objects"][0]["box"] == [4, 6, 14, 15]
    assert pool.target(pool.position(picks[1]))["objects"] == []
    server.complete(1, {4: BOX.replace("car", "bus")})
    assert as_json("pull", "-p", project)["labelled"] == 2
    assert TOKEN not in "".join(file.read_text(errors="replace") for file in project.glob("*.yaml"))


def test_the_next_round_is_a_task_of_its_own_and_the_old_one_is_left_alone(server, project):
    connected(server, project)
    first = asked(project, 2)
    run("push", "-p", project)
    second = asked(project, 2, "--more")
    assert as_json("push", "-p", project)["sent"] == 2
    assert [pictures(task) for task in server.tasks.values()] == [first, second]
    server.complete(2, {})
    assert as_json("pull", "-p", project)["empty"] == 2


def test_guesses_wait_in_a_task_that_nobody_has_begun(server, project, tmp_path):
    connected(server, project)
    asked(project, 3)
    found = tmp_path / "found.json"
    images = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(NAMES)]
    rows = [{"image_id": n, "category_id": 1, "bbox": [4, 6, 10, 9], "score": 0.8} for n in range(7)]
    found.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "car"}]}))
    run("push", "-p", project, "--predictions", found)
    drawn = server.tasks[1]["drawn"]
    assert sorted(drawn) == [0, 1, 2]
    assert 'source="auto"' in drawn[0]
    drawn.clear()
    drawn[0] = BOX
    run("push", "-p", project, "--predictions", found)
    assert drawn == {0: BOX}
    server.complete(1, {})
    assert as_json("pull", "-p", project)["labelled"] == 3


def test_what_nobody_asks_for_any_more_leaves_jobs_that_nobody_has_begun(server, project):
    connected(server, project)
    picks = asked(project, 4)
    run("push", "-p", project)
    server.tasks[1]["jobs"][1]["state"] = "in progress"
    said = as_json("cancel", "-p", project)
    assert any("2 task(s) withdrawn" in note for note in said["notes"])
    assert any("2 stay there" in note for note in said["notes"])
    assert pictures(server.tasks[1]) == picks[2:]


def test_key_points_are_a_skeleton(server, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    run("init", tmp_path / "images", "-p", tmp_path, "--labels", "none", "--task", "keypoints", "--classes", "mouse",
        "--set", "task.points=[nose, tail]", "--set", "task.limbs=[[nose, tail]]")  # fmt: skip
    number = connected(server, tmp_path)
    (label,) = server.projects[number]["labels"]
    assert (label["type"], [part["name"] for part in label["sublabels"]]) == ("skeleton", ["nose", "tail"])
    assert 'data-type="edge"' in label["svg"]
    asked(tmp_path, 1)
    run("push", "-p", tmp_path)
    points = (
        '<points label="nose" outside="0" occluded="0" points="5.0,6.0"></points>'
        '<points label="tail" outside="0" occluded="1" points="9.0,8.0"></points>'
    )
    server.complete(1, {0: f'<skeleton label="mouse" source="manual" z_order="0">{points}</skeleton>'})
    run("pull", "-p", tmp_path)
    pool = open_project(tmp_path).pool
    assert pool.target(0)["objects"][0]["points"] == [[5, 6, 2], [9, 8, 1]]


def test_a_project_that_is_there_and_one_of_others(server, project, tmp_path):
    server.projects[7] = {"id": 7, "name": "mine", "labels": [{"name": "car", "type": "any"}, {"name": "eel"}]}
    done = as_json("connect", "cvat", "--url", server.url, "-p", project, "-n", 7)
    assert [note[:11] for note in done["notes"]] == ["1 class(es)", "1 class(es)"]
    assert "no project 9" in refused("connect", "cvat", "--url", server.url, "-p", project, "-n", 9)
    asked(project, 2)
    run("push", "-p", project)
    (tmp_path / "two").mkdir()
    run(
        "init", tmp_path / "images", "-p", tmp_path / "two", "--labels", "none", "--task", "detection", "--classes", "a"
    )
    said = refused("connect", "cvat", "--url", server.url, "-p", tmp_path / "two", "-n", 7)
    assert "rounds of another project of labelwise" in said


@pytest.mark.parametrize("when", ["before", "after"])
def test_whatever_request_breaks_off_nothing_is_there_twice_and_nothing_is_lost(server, project, when):
    connected(server, project)
    picks = asked(project, 3)
    for nth in range(1, 30):
        server.asked, server.fault = 0, (nth, when)
        done = CliRunner().invoke(app, ["push", "-p", str(project)])
        assert done.exit_code == 0 or done.stderr.count("\n") == 1, done.output
        server.fault = None
        run("push", "-p", project)
        there = [name for task in server.tasks.values() for name in pictures(task)]
        assert sorted(there) == sorted(picks)
        if nth % 7 == 0:  # and from the beginning
            server.tasks.clear()
    for task in [*server.tasks]:
        server.complete(task, {})
    for nth in range(1, 8):
        server.asked, server.fault = 0, (nth, when)
        CliRunner().invoke(app, ["pull", "-p", str(project)])
    server.fault = None
    CliRunner().invoke(app, ["pull", "-p", str(project)])
    assert len(open_project(project).pool.labelled) == 3


def test_a_wrong_token_and_no_token(server, project, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "wrong")
    assert "does not know this token" in refused("connect", "cvat", "--url", server.url, "-p", project)
    monkeypatch.delenv("CVAT_ACCESS_TOKEN")
    assert "CVAT_ACCESS_TOKEN" in refused("connect", "cvat", "--url", server.url, "-p", project)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    assert "leave --files out" in refused("connect", "cvat", "--url", server.url, "-p", project, "--files", "local")
