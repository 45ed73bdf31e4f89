"""``labelwise pretrain`` and ``list backbones``: real commands on real files, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from labelwise.cli.app import app
from labelwise.models.weights import read_metadata, read_state
from labelwise.project.learning import Learning
from labelwise.project.setup import open_project

QUICK = ("--objective", "simclr", "--epochs", "2", "--batch-size", "32", "--set", "flip=false", "--set", "hidden=16")


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits in class folders, with a test split, as a project."""
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    for number in range(150):
        part = "test" if number % 3 == 0 else "train"
        file = tmp_path / "images" / part / str(digits.target[number]) / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = np.kron(digits.images[number], np.ones((2, 2))) * 15.9
        Image.fromarray(picture.astype(np.uint8)).save(file)
    run("init", "images")
    settings = yaml.safe_load((tmp_path / "labelwise.yaml").read_text())
    settings["input"] = {"size": 16, "channels": 1, "augment": "none"}
    (tmp_path / "labelwise.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def _set(project: Path, **keys: object) -> None:
    settings = yaml.safe_load((project / "labelwise.yaml").read_text()) | keys
    (project / "labelwise.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.heavy
def test_pretrain_then_suggest_and_fit_with_it(project: Path):
    said = json.loads(run("pretrain", *QUICK, "--json").stdout)
    assert said["file"] == str(project / "pretrained" / "simclr-lenet.safetensors")
    assert said["images"] == 90
    assert set(said["knn"]) == {"pretrained", "untrained", "pixels"}
    assert all(0 < value <= 1 for value in said["knn"].values())
    text = run("pretrain", *QUICK).stdout
    assert "trained before on exactly this" in text
    assert "effective rank" in text
    assert "pretrained:simclr-lenet" in text
    _set(project, features={"backbone": "pretrained:simclr-lenet", "dtype": "float16"})
    run("check")
    assert run("fit").stdout.startswith("trained on")
    assert Learning(open_project(project)).features.backbone.input.size == (16, 16)
    _set(
        project,
        learner={
            "kind": "torch",
            "model": "lenet",
            "weights": "pretrained:simclr-lenet",
            "phases": [{"epochs": 1, "min_steps": 0}],
        },
    )
    assert run("fit").stdout.startswith("trained on")


@pytest.mark.heavy
def test_from_python_by_the_configuration(project: Path):
    _set(project, pretrain={"objective": "rotation", "epochs": 1, "batch_size": 32, "model": "lenet"})
    done = open_project(project).pretrain(name="turned")
    assert done.file.name == "turned.safetensors"
    assert done.objective == "rotation"
    assert not done.before
    assert open_project(project).pretrain(name="turned").before


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--objective", "simcrl"), "did you mean 'simclr'"),
        (("--model", "lennet"), "did you mean 'lenet'"),
        (("--set", "temprature=1"), "did you mean 'temperature'"),
        (("--epochs", "0"), "epochs"),
        (("--name", "../elsewhere"), "cannot name a file"),
    ],
)
def test_what_cannot_be_is_one_line(project: Path, arguments: tuple[str, ...], message: str):
    result = run("pretrain", *arguments, code=1)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (project / "pretrained").exists()


@pytest.mark.heavy
def test_a_backbone_that_was_not_trained(project: Path):
    _set(project, features={"backbone": "pretrained:nothing"})
    assert "Run 'labelwise pretrain'" in run("fit", code=1).stderr


@pytest.mark.kills
def test_a_killed_command_goes_on_to_the_same_weights(project: Path):
    arguments = [*QUICK[:2], "--epochs", "30", *QUICK[4:]]
    command = [sys.executable, "-m", "labelwise", "pretrain", *arguments, "--name", "killed"]
    unfinished = project / "pretrained" / "killed.unfinished"
    # sums of another number of threads are rounded otherwise, which a late kill would show
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=threads)
    deadline = time.monotonic() + 120
    while not unfinished.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, "killed while it was at work"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert unfinished.exists()
    run("pretrain", *arguments, "--name", "killed")
    run("pretrain", *arguments, "--name", "whole")
    killed, whole = (read_state(project / "pretrained" / f"{name}.safetensors") for name in ("killed", "whole"))
    assert all(np.array_equal(value, whole[name]) for name, value in killed.items())
    assert not unfinished.exists()
    keys = {read_metadata(project / "pretrained" / f"{name}.safetensors")["key"] for name in ("killed", "whole")}
    assert len(keys) == 1


@pytest.mark.heavy
def test_list_backbones_says_what_labels_they_saw():
    rows = {row["name"]: row for row in json.loads(run("list", "backbones", "--json").stdout)}
    assert rows["pixels"]["saw"] == "images"
    assert rows["lite0"]["trained on"] == "labels of ImageNet-1k"
    assert rows["vit_small_patch14_dinov2.lvd142m"]["saw"] == "images"
    assert rows["resnet50.a1_in1k"]["saw"] == "labels"
    text = run("list", "backbones").stdout
    assert "vit_small_patch14_dinov2.lvd142m" in text
    assert "resnet50.a1_in1k" not in text
    assert "resnet50.a1_in1k" in run("list", "backbones", "--match", "resnet50.a1").stdout
