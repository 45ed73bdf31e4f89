"""Rounds on a real Label Studio: sent in their order, answered by people, fetched; and everything that can go wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import pytest
import yaml
from label_studio_proxy import Faults, between
from label_studio_rounds import NAMES, SIZE, TASKS, connected, expected, made, result, stream, tasks_of
from label_studio_server import ENVIRONMENT, TOKEN
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.setup import open_project

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        not ENVIRONMENT, reason="LABELWISE_LABEL_STUDIO names no environment (label_studio.sh makes one)"
    ),
]


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)


# ---- rounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("files", ["upload", "local"])
def test_three_rounds_in_the_order_that_was_ranked(people, tmp_path, task, files):
    owner, _, _ = people
    project = made(people, tmp_path, task)
    number = connected(people, project, "--files", files)
    for round_ in range(3):
        picks = [pick["id"] for pick in as_json("suggest", "-n", 3, "-s", "random", "-p", project)["picks"]]
        assert as_json("push", "-p", project)["sent"] == 3
        again = as_json("push", "-p", project)
        assert (again["sent"], again["there"]) == (0, 3)
        for place, pick in enumerate(picks):
            shown = stream(owner, number)
            assert shown["data"]["labelwise_id"] == pick
            assert owner.ask(shown["data"]["image"])[:4] == b"\x89PNG"
            owner.annotate(shown["id"], result(task, place), 2.5)
        done = as_json("pull", "-p", project)
        assert (done["labelled"], done["pending"]) == (3, 0)
        again = as_json("pull", "-p", project)
        assert again is None or (again["labelled"], again["corrected"], again["further"]) == (0, 0, 0)
        pool = open_project(project).pool
        assert len(pool.labelled) == 3 * (round_ + 1)
        for place, pick in enumerate(picks):
            assert expected(task, pool.target(pool.position(pick)), place)
    assert pool.cost()["seconds"] == pytest.approx(9 * 2.5)
    text = (project / "labelwise.yaml").read_text()
    assert TOKEN not in text
    assert TOKEN not in "".join(file.read_text(errors="replace") for file in project.rglob("*.json"))


def test_skips_empty_answers_and_several_people(people, tmp_path):
    owner, other, _ = people
    project = made(people, tmp_path, "detection")
    number = connected(people, project)
    picks = [pick["id"] for pick in as_json("suggest", "-n", 4, "-s", "random", "-p", project)["picks"]]
    run("push", "-p", project)
    of = {name: task for task, name in tasks_of(owner, number)}
    owner.annotate(of[picks[0]], [], 4, skip=True)
    owner.annotate(of[picks[1]], [], 1000)
    owner.annotate(of[picks[2]], result("detection", 0), 1)
    other.annotate(of[picks[2]], result("detection", 9), 1)
    done = as_json("pull", "-p", project)
    assert (done["labelled"], done["further"], done["skipped"], done["empty"], done["pending"]) == (2, 1, 1, 1, 1)
    assert any("1 answer(s) took longer than 300 s" in note for note in done["notes"])
    assert any("different labels of several annotators" in note for note in done["notes"])
    owner.annotate(of[picks[3]], result("detection", 1))
    assert as_json("pull", "-p", project)["labelled"] == 1


def test_what_nobody_asks_for_any_more_goes_away_and_what_was_answered_stays(people, tmp_path):
    owner, _, _ = people
    project = made(people, tmp_path)
    number = connected(people, project)
    picks = [pick["id"] for pick in as_json("suggest", "-n", 3, "-s", "random", "-p", project)["picks"]]
    run("push", "-p", project)
    of = {name: task for task, name in tasks_of(owner, number)}
    owner.annotate(of[picks[0]], result("classification", 0))
    said = as_json("cancel", "-p", project)
    assert said["dropped"] == 3
    assert ["2 task(s) withdrawn" in note for note in said["notes"]] == [True, False]
    assert [name for _, name in tasks_of(owner, number)] == picks[:1]
    assert as_json("pull", "-p", project)["labelled"] == 1
    run("suggest", "-n", 2, "-s", "random", "-p", project)
    run("push", "-p", project)
    (lost,) = [name for _, name in tasks_of(owner, number) if name != picks[0]][:1]
    run("import", _table(tmp_path, lost), "-p", project)
    assert as_json("push", "-p", project)["withdrawn"] == 1


def _table(folder, name):
    file = folder / "one.csv"
    file.write_text(f"id,label\n{name},dog\n")
    return file


def test_an_older_round_joins_the_order_of_the_newer_one(people, tmp_path):
    owner, _, _ = people
    project = made(people, tmp_path)
    number = connected(people, project)
    run("suggest", "-n", 2, "-s", "random", "-p", project)
    run("push", "-p", project)
    run("suggest", "--more", "-n", 2, "-s", "random", "-p", project)
    wanted = [pick.id for pick in open_project(project).open_round().picks]
    assert len(wanted) == 4
    for _ in range(2):
        assert as_json("push", "-p", project)["there"] in (2, 4)
    predicted = owner.json(f"/api/tasks/?project={number}&fields=all")["tasks"]
    assert sorted(row["total_predictions"] for row in predicted) == [1, 1, 2, 2]
    for pick in wanted:
        shown = stream(owner, number)
        assert shown["data"]["labelwise_id"] == pick
        owner.annotate(shown["id"], result("classification", 0))


# ---- a project of the user's own ------------------------------------------------------------------------------------

OWN = """<View><Image name="pic" value="$photo"/>
<Choices name="animal" toName="pic"><Choice value="cat"/><Choice value="dog"/><Choice value="eel"/></Choices>
<Choices name="light" toName="pic"><Choice value="day"/><Choice value="night"/></Choices>
<RectangleLabels name="things" toName="pic"><Label value="car"/></RectangleLabels></View>"""


def test_a_project_with_an_interface_of_its_own(people, tmp_path):
    owner, _, files = people
    number = owner.project("my own", OWN, files / "pool")
    owner.tasks(number, [{"data": {"photo": "/data/local-files/?d=pool/day/a.png"}}])
    project = made(people, tmp_path)
    url = owner.url
    said = refused("connect", "label-studio", "--url", url, "-p", project, "-n", number)
    assert "has 2 Choices" in said
    assert "--control choice=NAME" in said
    done = as_json("connect", "label-studio", "--url", url, "-p", project, "-n", number, "--control", "choice=animal")
    assert any("only project" in note and "eel" in note for note in done["notes"])
    picks = [pick["id"] for pick in as_json("suggest", "-n", 2, "-s", "random", "-p", project)["picks"]]
    run("push", "-p", project)
    of = {name: task for task, name in tasks_of(owner, number)}
    choice = {"from_name": "animal", "to_name": "pic", "type": "choices", "value": {"choices": ["dog"]}}
    light = {"from_name": "light", "to_name": "pic", "type": "choices", "value": {"choices": ["day"]}}
    owner.annotate(of[picks[0]], [choice, light])
    owner.annotate(of[None], [light])
    done = as_json("pull", "-p", project)
    assert (done["labelled"], done["unanswered"]) == (1, 1)
    assert any("1 task(s) there that labelwise did not send" in note for note in done["notes"])
    owner.annotate(of[picks[1]], [{**choice, "value": {"choices": ["eel"]}}])
    said = refused("pull", "-p", project)
    assert "eel" in said
    assert "--add-classes" in said
    assert as_json("pull", "-p", project, "--add-classes")["classes"] == ["cat", "dog", "eel"]


def test_an_interface_without_a_place_for_the_labels_and_a_project_of_others(people, tmp_path):
    owner, _, files = people
    project = made(people, tmp_path, "detection")
    number = owner.project("choices", OWN.replace("RectangleLabels", "EllipseLabels"), files / "pool")
    url = owner.url
    assert "has no RectangleLabels" in refused("connect", "label-studio", "--url", url, "-p", project, "-n", number)
    assert "no project 99999" in refused("connect", "label-studio", "--url", url, "-p", project, "-n", 99999)
    taken = connected(people, project)
    (tmp_path / "two").mkdir()
    run(
        "init",
        files / "pool",
        "-p",
        tmp_path / "two",
        "--task",
        "detection",
        "--classes",
        "car,bus",
        "--labels",
        "none",
    )
    said = refused("connect", "label-studio", "--url", url, "-p", tmp_path / "two", "-n", taken)
    assert "belongs to another project of labelwise" in said


# ---- what a model would draw ----------------------------------------------------------------------------------------


def test_guesses_are_there_to_be_corrected_and_what_became_of_them_is_known(people, tmp_path):
    owner, _, _ = people
    project = made(people, tmp_path, "detection")
    number = connected(people, project)
    picks = [pick["id"] for pick in as_json("suggest", "-n", 2, "-s", "random", "-p", project)["picks"]]
    found = tmp_path / "found.json"
    images = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(NAMES)]
    rows = [{"image_id": n, "category_id": 1, "bbox": [4, 6, 10, 9], "score": 0.8} for n in range(9)]
    found.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "car"}]}))
    assert as_json("push", "-p", project, "--predictions", found)["sent"] == 2
    for place, name in enumerate(picks):
        shown = stream(owner, number)
        assert shown["data"]["labelwise_id"] == name
        (guess,) = owner.json(f"/api/tasks/{shown['id']}/")["predictions"]
        (drawn,) = guess["result"]
        assert drawn["value"]["rectanglelabels"] == ["car"]
        moved = {**drawn["value"], "x": drawn["value"]["x"] + 5 * place}
        owner.annotate(shown["id"], [{**drawn, "value": moved, "origin": ("prediction", "prediction-changed")[place]}])
    run("pull", "-p", project)
    pool = open_project(project).pool
    things = [pool.target(pool.position(name))["objects"][0] for name in picks]
    assert [thing["extra"]["origin"] for thing in things] == ["accepted", "corrected"]
    assert things[1]["box"] == pytest.approx([6, 6, 16, 15])
    run("report", "-p", project)
    page = (project / "report.html").read_text()
    assert "What became of the model's guesses" in page or "What became of the model&#39;s guesses" in page
    assert "50\N{NO-BREAK SPACE}%" in page


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_no_server_a_wrong_token_and_a_project_that_is_gone(people, tmp_path, monkeypatch):
    owner, _, _ = people
    project = made(people, tmp_path)
    monkeypatch.setattr("labelwise.exchange.tools.server.WAITS", (0.01,))
    assert "no server answers at http://127.0.0.1:9" in refused(
        "connect", "label-studio", "--url", "http://127.0.0.1:9", "-p", project
    )
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "wrong")
    said = refused("connect", "label-studio", "--url", owner.url, "-p", project)
    assert "does not know this token" in said
    assert "wrong" not in said
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    assert "LABEL_STUDIO_API_KEY" in refused("connect", "label-studio", "--url", owner.url, "-p", project)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    assert "connected to no server" in refused("push", "-p", project)
    number = connected(people, project)
    assert "no round is open" in refused("push", "-p", project)
    run("suggest", "-n", 2, "-s", "random", "-p", project)
    owner.ask(f"/api/projects/{number}/", method="DELETE")
    assert f"has no project {number}" in refused("push", "-p", project)
    assert f"has no project {number}" in refused("pull", "-p", project)


def test_a_personal_token_is_exchanged(people, tmp_path, monkeypatch):
    owner, _, _ = people
    personal = owner.json("/api/token/", {})["token"]
    assert personal.count(".") == 2
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", personal)
    project = made(people, tmp_path)
    connected(people, project)
    run("suggest", "-n", 2, "-s", "random", "-p", project)
    assert as_json("push", "-p", project)["sent"] == 2


def test_a_folder_that_the_server_may_not_read(people, tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "a" / "x.png")
    run("init", tmp_path / "a", "-p", tmp_path, "--labels", "none", "--classes", "cat,dog")
    said = refused("connect", "label-studio", "--url", people[0].url, "-p", tmp_path, "--files", "local")
    assert "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true" in said
    assert "--files upload" in said


def test_a_picture_that_leads_out_of_the_folder_is_not_shown_to_others(people, tmp_path):
    project = made(people, tmp_path)
    folder = people[2] / tmp_path.name
    secret = tmp_path / "secret.png"
    Image.new("RGB", SIZE, "red").save(secret)
    for name in NAMES:
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
    connected(people, project)
    run("suggest", "-n", 2, "-s", "random", "-p", project)
    assert "leads to a file outside" in refused("push", "-p", project)


@pytest.mark.parametrize("fault", ["refuse", "drop before", "drop after"])
def test_a_server_that_fails_at_any_moment_doubles_and_loses_nothing(people, tmp_path, monkeypatch, fault):
    owner, _, _ = people
    monkeypatch.setattr("labelwise.exchange.tools.server.WAITS", (0.01, 0.01))
    project = made(people, tmp_path)
    with between(owner.url) as proxy:
        done = as_json("connect", "label-studio", "--url", proxy.url, "-p", project)
        number = done["number"]
        run("suggest", "-n", 4, "-s", "random", "-p", project)
        for nth in range(14):
            proxy.faults = Faults(fault, at=nth)
            run_either("push", "-p", project)
            names = [name for _, name in tasks_of(owner, number)]
            assert len(names) == len(set(names)), f"request {nth}: {names}"
        proxy.faults = Faults()
        assert as_json("push", "-p", project)["there"] == 4
        for task, _ in tasks_of(owner, number):
            owner.annotate(task, result("classification", 0))
        for nth in range(5):
            proxy.faults = Faults(fault, at=nth)
            run_either("pull", "-p", project)
        proxy.faults = Faults()
        run("pull", "-p", project)
    assert len(open_project(project).pool.labelled) == 4


def run_either(*arguments):
    """A command that may fail, in one line."""
    from typer.testing import CliRunner

    from labelwise.cli.app import app

    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0 or (done.exit_code == 1 and done.stderr.count("\n") == 1), done.output


def test_twenty_pushes_and_pulls_that_are_killed(people, tmp_path):
    owner, _, _ = people
    project = made(people, tmp_path, names=[f"{n:02d}.png" for n in range(40)])
    number = connected(people, project)
    run("suggest", "-n", 30, "-s", "random", "-p", project)
    _killed("push", project)
    run("push", "-p", project)
    names = [name for _, name in tasks_of(owner, number)]
    assert len(names) == len(set(names)) == 30
    for place, (task, _) in enumerate(tasks_of(owner, number)):
        owner.annotate(task, result("classification", place), skip=place % 7 == 0)
    _killed("pull", project)
    run_either("pull", "-p", project)
    pool = open_project(project).pool
    assert (len(pool.labelled), len(pool.skipped), len(pool.pending)) == (25, 5, 0)
    events = [event.kind for event in open_project(project).store.events()]
    assert (events.count("labelled"), events.count("skipped"), events.count("queried")) == (25, 5, 30)


def _killed(command, project, times=20):
    rng = random.Random(0)
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-m", "labelwise", command, "-p", str(project)],
            env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(0.6, 2.5))
        process.kill()
        process.wait()


# ---- by itself ------------------------------------------------------------------------------------------------------


def test_it_goes_on_by_itself(people, tmp_path):
    """Answers of most of a round bring the next one, chosen by a model that has learnt from them."""
    owner, _, _ = people
    project = made(people, tmp_path)
    config = project / "labelwise.yaml"
    settings = yaml.safe_load(config.read_text()) | {"strategy": {"name": "entropy"}, "learner": {"kind": "features"}}
    config.write_text(yaml.safe_dump(settings))
    number = connected(people, project)
    first = as_json("suggest", "-n", 4, "-s", "random", "-p", project)["picks"]
    run("push", "-p", project)
    steps = open_project(project).server(TOKEN).sync(every=0.01, when=0.75)
    assert next(steps).sent is None
    of = {name: task for task, name in tasks_of(owner, number)}
    for place, pick in enumerate(first[:3]):
        choice = result("classification", 0)
        choice[0]["value"]["choices"] = ["cat", "dog"][place % 2 : place % 2 + 1]
        owner.annotate(of[pick["id"]], choice)
    step = next(steps)
    assert (step.imported.labelled, step.sent.there) == (3, 1)
    assert step.sent.sent == step.open - 1 > 0
