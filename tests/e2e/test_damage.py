"""What is damaged and can be made again is made again; what cannot be written is still read; ends are polite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.project import Project


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project of 24 small pictures with a trained network and an open round."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "photos").mkdir()
    draw = np.random.default_rng(0)
    for number in range(24):
        picture = draw.integers(0, 90, (16, 16)) + 150 * (number % 2)
        Image.fromarray(picture.astype(np.uint8)).save(folder / "photos" / f"{number:02d}.png")
    (folder / "a.csv").write_text("id,label\n" + "".join(f"{n:02d}.png,{'ab'[n % 2]}\n" for n in range(10)))
    run("init", folder / "photos", "-p", folder, "--classes", "a,b", "--model", "lenet", "--size", 16)
    text = (
        (folder / "labelwise.yaml")
        .read_text()
        .replace("  kind: torch\n", "  kind: torch\n  phases: [{epochs: 5, min_steps: 0}]\n")
    )
    (folder / "labelwise.yaml").write_text(text)
    run("import", folder / "a.csv", "-p", folder)
    run("suggest", "-n", 4, "-s", "margin", "-p", folder)
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    folder = tmp_path / "p"
    shutil.copytree(trained, folder)
    text = (folder / "labelwise.yaml").read_text()
    (folder / "labelwise.yaml").write_text(text.replace(str(trained), str(folder)))
    monkeypatch.chdir(folder)
    return folder


def fit_of(folder: Path) -> Path:
    (found,) = (folder / ".labelwise" / "fits").iterdir()
    return found


# ---- made again -----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("cut", [0, 500])
def test_damaged_weights_are_trained_again(cut, project):
    before = as_json("fit")
    assert not before["trained"]
    os.truncate(fit_of(project) / "weights.safetensors", cut)
    assert "run 'labelwise fit' first" in refused("evaluate")
    assert as_json("fit")["weights"] == before["weights"]
    assert as_json("evaluate")["test"] == 0
    assert len(as_json("suggest", "-n", 3, "-s", "margin", "--more")["picks"]) == 3


@pytest.mark.heavy
@pytest.mark.parametrize("text", ["", '{"rep', "[]", '{"report": {"x": 1}, "metrics": {}}'])
def test_a_damaged_record_of_a_training_is_no_training(text, project):
    (fit_of(project) / "fit.json").write_text(text)
    assert as_json("fit")["loss"] > 0
    assert len(as_json("suggest", "-n", 3, "-s", "margin", "--more")["picks"]) == 3


@pytest.mark.heavy
def test_a_damaged_backbone_is_made_again(tmp_path, monkeypatch, project):
    run("init", "photos", "-p", "q", "--classes", "a,b", "--backbone", "pixels")
    first = as_json("suggest", "-n", 3, "-s", "k_center", "-p", "q")
    (axes,) = Path("q/.labelwise/backbone").glob("*.safetensors")
    os.truncate(axes, 100)
    shutil.rmtree("q/.labelwise/signals")
    run("cancel", "-p", "q")
    assert as_json("suggest", "-n", 3, "-s", "k_center", "-p", "q")["picks"] == first["picks"]


def test_drafts_of_killed_writers_go_and_those_of_living_ones_stay(project):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    drafts = [fit_of(project) / f"fit.{gone.pid}.tmp", project / "labelwise.yaml.tmp"]
    living = fit_of(project) / f"weights.{os.getppid()}.tmp"
    for draft in (*drafts, living):
        draft.write_text("half")
    run("cancel")
    assert not any(draft.exists() for draft in drafts)
    assert living.exists()


# ---- no file --------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("sort", ["pipe", "device"])
def test_a_pipe_or_a_device_in_place_of_an_image_is_refused_at_once(sort, project):
    picture = project / "photos/20.png"
    picture.unlink()
    os.mkfifo(picture) if sort == "pipe" else picture.symlink_to("/dev/zero")
    assert "a pipe, a device or a folder and no file" in as_json("check", "--all")["unreadable"].get("20.png", "") or (
        "20.png" in as_json("check", "--all")["missing"]
    )
    found = as_json("suggest", "-n", 10, "-s", "margin", "--more")
    assert "20.png" not in {pick["id"] for pick in found["picks"]}
    assert any("20.png" in note for note in found["notes"])


# ---- read-only ------------------------------------------------------------------------------------------------------


def _without_powers(*arguments: object) -> subprocess.CompletedProcess:
    """The command as a user who may not write where it is forbidden: root may everywhere."""
    powers = "-dac_override,-dac_read_search"
    drop = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "labelwise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.heavy
@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_project_that_cannot_be_written_is_read(project, tmp_path):
    store = Project(project).store  # what is not merged into the database yet is read, too
    run("unlabel", "00.png")
    places = [project, *project.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        for command in (
            ("check",),
            ("evaluate",),
            ("export", tmp_path / "x.json"),
            ("report", "-o", tmp_path / "r.html"),
            ("export", "--labelled", tmp_path / "l.csv"),
        ):
            done = _without_powers(*command)
            assert done.returncode == 0, done.stderr
        assert "00.png" not in (tmp_path / "l.csv").read_text()
        assert (tmp_path / "l.csv").read_text().count("\n") == 10
        done = _without_powers("cancel")
        assert done.returncode == 1
        assert "Check that the folder is writable" in done.stderr
    finally:
        for place in places:
            place.chmod(0o755 if place.is_dir() else 0o644)
        store.close()


# ---- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_ended_says_that_it_goes_on(number, code, project):
    text = (project / "labelwise.yaml").read_text().replace("epochs: 5", "epochs: 100000")
    (project / "labelwise.yaml").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "labelwise", "fit"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # what a shell starts in the background ignores Ctrl-C, and so would what that starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    # not while libraries are still imported: some of them abort
    while (line := process.stderr.readline()) and "training" not in line:
        pass
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "interrupted: what was finished is kept" in errors
    assert "Traceback" not in errors
