"""The commands around the loop: what they ask, print, refuse and write; real files, real commands."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from commands import as_json, refused, run
from labelwise.project.setup import open_project

CLASSES = ",".join("0123456789")


def answers(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "label"), *rows])
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder ``photos`` of 40 digits; what they are."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    digits = load_digits()
    for i in range(40):
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(photos / f"{i:02d}.png")
    return {f"{i:02d}.png": str(digits.target[i]) for i in range(40)}


@pytest.fixture
def project(truth: dict[str, str]) -> dict[str, str]:
    run("init", "photos", "--backbone", "pixels")
    return truth


# ---- init


def test_init_says_what_it_found_and_what_comes_next(truth: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "photos" / "notes.txt").write_text("x")
    shown = run("init", "photos", "--project", "work", "--classes", "cat,dog", "--seed", "7").stdout
    assert "40 images" in shown
    assert "classes: cat, dog" in shown
    assert "40 unlabelled" in shown
    assert "1 .txt" in shown
    assert "labelwise suggest -n 10 --project work" in shown
    config = yaml.safe_load((tmp_path / "work" / "labelwise.yaml").read_text())
    assert config["seed"] == 7
    assert Path(config["images"]) == (tmp_path / "photos").resolve()


@pytest.mark.heavy
def test_init_again_adds_new_images_and_refuses_other_settings(project: dict[str, str], tmp_path: Path) -> None:
    before = (tmp_path / "labelwise.yaml").read_text()
    Image.new("L", (8, 8)).save(tmp_path / "photos" / "new.png")
    again = as_json("init", "photos")
    assert (again["images"], again["new"]) == (41, 1)
    assert "seed" in refused("init", "photos", "--seed", 5)
    assert "is about 'photos' already" in refused("init", tmp_path.parent)
    assert (tmp_path / "labelwise.yaml").read_text() == before


def test_init_keeps_the_options_of_learner_and_strategy(truth: dict[str, str], tmp_path: Path) -> None:
    run("init", "photos", "--model", "lenet", "--size", 16, "--strategy", "kmeans", "--set", "pool=all")
    config = yaml.safe_load((tmp_path / "labelwise.yaml").read_text())
    assert config["learner"] == {"kind": "torch", "model": "lenet"}
    assert config["input"] == {"size": 16}
    assert config["strategy"] == {"name": "kmeans", "options": {"pool": "all"}}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--strategy", "margn"), "did you mean 'margin'"),
        (("--strategy", "kmeans", "--set", "pol=all"), "did you mean 'pool'"),
        (("--set", "pool=all"), "add --strategy NAME"),
        (("--learner", "feature"), "did you mean 'features'"),
        (("--model", "lennet"), "did you mean 'lenet'"),
        (("--backbone", "pixles"), "did you mean 'pixels'"),
        (("--learner", "features", "--model", "lenet"), "leave one out"),
        (("--classes", "cat"), "at least two classes"),
        (("--classes", "cat,cat"), "listed twice"),
        (("--project", "/proc/nowhere"), "/proc/nowhere"),
        (("--project", "photos/00.png"), "photos/00.png"),
    ],
)
def test_init_refuses_in_one_line_and_makes_nothing(
    truth: dict[str, str], tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in refused("init", "photos", *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.heavy
def test_a_project_is_found_from_below_or_named(
    project: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "photos")
    assert as_json("cancel") == {"dropped": 0, "notes": []}
    assert as_json("cancel", "--project", tmp_path) == {"dropped": 0, "notes": []}
    assert "no labelwise.yaml in 'other'" in refused("cancel", "--project", "other")
    monkeypatch.chdir(tmp_path.parent)
    assert "run 'labelwise init IMAGES' first" in refused("suggest")


# ---- suggest and export


@pytest.mark.heavy
def test_suggest_shows_twenty_and_counts_the_rest(project: dict[str, str]) -> None:
    shown = run("suggest", "-n", 25, "-s", "margin").stdout
    assert "round 0: 25 images chosen by kmeans" in shown
    assert "... and 5 more" in shown
    assert "'margin' needs a trained model: 'kmeans' chose instead" in shown
    assert "labelwise import picks.json" in shown
    again = run("suggest").stdout
    assert "round 0 is open: 25 of its picks are unanswered" in again


@pytest.mark.heavy
def test_suggest_takes_what_is_left_by_default_and_ends(project: dict[str, str]) -> None:
    assert len(as_json("suggest")["picks"]) == 40
    assert "no image is left to ask" in refused("suggest", "--more")


@pytest.mark.heavy
def test_export_shortcut_and_its_errors(project: dict[str, str], tmp_path: Path) -> None:
    assert ".csv, .json, .xml or .html" in refused("suggest", "-n", 3, "--export", "picks.pdf")
    assert as_json("cancel") == {"dropped": 0, "notes": []}, "a file that cannot be written opens no round"
    found = as_json("suggest", "-n", 3, "--export", "a.csv", "--export", "b.html")
    assert found["exported"] == ["a.csv", "b.html"]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
    done = as_json("export", "c.txt", "--format", "json")
    assert done == {"exported": ["c.txt"], "picks": 3, "left_out": []}
    assert len(json.loads((tmp_path / "c.txt").read_text())["items"]) == 3
    assert "did you mean 'json'" in refused("export", "d.txt", "--format", "jsn")
    assert "cannot write" in refused("export", "/proc/nowhere/d.json")
    run("cancel")
    assert "no round is open" in refused("export", "d.json")


@pytest.mark.heavy
def test_a_ranking_asks_nobody(project: dict[str, str], tmp_path: Path) -> None:
    found = as_json("suggest", "-n", "all", "--strategy", "random", "--export", "ranking.csv")
    assert found["round"] is None
    assert len(found["picks"]) == 40
    assert len((tmp_path / "ranking.csv").read_text().splitlines()) == 41
    assert open_project(tmp_path).progress_counts()["pending"] == 0


@pytest.mark.heavy
def test_seed_decides_and_repeats(project: dict[str, str]) -> None:
    def picks(seed: int) -> list[str]:
        return [pick["id"] for pick in as_json("suggest", "-n", "all", "--strategy", "random", "--seed", seed)["picks"]]

    assert picks(1) == picks(1)
    assert picks(1) != picks(2)


@pytest.mark.heavy
def test_options_are_typed(project: dict[str, str], tmp_path: Path) -> None:
    run("import", answers(tmp_path / "a.csv", list(project.items())[:12]), "--yes")
    found = as_json("suggest", "-n", 3, "--strategy", "prefilter", "--set", "first=entropy", "--set", "keep=2.5")
    assert found["strategy"] == "prefilter"
    run("cancel")
    assert "keep" in refused("suggest", "-n", 3, "--strategy", "prefilter", "--set", "keep=many")
    assert "did you mean 'entropy'" in refused("suggest", "-n", 3, "--strategy", "prefilter", "--set", "first=entrpy")


# ---- import


@pytest.mark.heavy
def test_first_import_needs_confirmation(
    project: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = answers(tmp_path / "a.csv", [("00.png", "zero"), ("01.png", "one")])
    text = (tmp_path / "labelwise.yaml").read_text() + "# our own remark\n"
    (tmp_path / "labelwise.yaml").write_text(text)
    alone = refused("import", file)
    assert "--yes" in alone
    assert "--classes" in alone
    monkeypatch.setattr("labelwise.cli.console.interactive", lambda: True)
    said = run("import", file, typed="n\n", code=1)
    assert "'one', 'zero'" in said.stderr
    assert "nothing was imported" in said.stderr
    assert open_project(tmp_path).progress_counts()["labelled"] == 0
    assert (tmp_path / "labelwise.yaml").read_text() == text
    assert "2 labelled" in run("import", file, typed="y\n").stdout
    assert yaml.safe_load((tmp_path / "labelwise.yaml").read_text())["classes"] == ["one", "zero"]
    assert "# our own remark" in (tmp_path / "labelwise.yaml").read_text()


@pytest.mark.heavy
def test_classes_can_be_named_at_the_first_import(project: dict[str, str], tmp_path: Path) -> None:
    file = answers(tmp_path / "a.csv", [("00.png", "0")])
    assert "the only class" in refused("import", file, "--yes")
    assert "classes are numbers such as 0" in refused("import", file, "--classes", "cat,dog")
    done = as_json("import", file, "--classes", CLASSES)
    assert (done["labelled"], done["classes"]) == (1, CLASSES.split(","))
    assert "leave --classes out" in refused("import", file, "--classes", "cat,dog")


@pytest.mark.heavy
def test_skips_before_any_class_is_known_and_skips_that_withdraw_a_label(
    project: dict[str, str], tmp_path: Path
) -> None:
    run("suggest", "-n", 4)
    asked = [pick["id"] for pick in as_json("suggest")["picks"]]
    done = as_json("import", answers(tmp_path / "a.csv", [(asked[0], "skip"), (asked[1], "")]))
    assert (done["skipped"], done["unanswered"], done["pending"]) == (1, 1, 3)
    run("import", answers(tmp_path / "b.csv", [(asked[1], "1"), (asked[2], "2")]), "--yes")
    corrected = as_json("import", answers(tmp_path / "c.csv", [(asked[1], "2"), (asked[2], "skip")]))
    assert (corrected["labelled"], corrected["corrected"], corrected["skipped"]) == (0, 1, 1)
    counts = open_project(tmp_path).progress_counts()
    assert counts == {"labelled": 1, "pending": 1, "skipped": 2, "unlabelled": 36}


@pytest.mark.heavy
def test_odd_file_names_survive_every_format(truth: dict[str, str], tmp_path: Path) -> None:
    names = ["a b.png", "c'd\".png", "e,f.png", "g\nh.png", "ü–图.png", "=1+1.png", "-x.png", "@y.png"]
    for number, name in enumerate(names):
        Image.new("L", (8, 8), 20 * number).save(tmp_path / "photos" / name)
    run("init", "photos", "--classes", "a,b", "--backbone", "pixels")
    shown = run("suggest", "-n", 48, "--export", "p.json", "--export", "p.csv", "--export", "p.html").stdout
    assert all(line.isprintable() for line in shown.splitlines())
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    labelled = [rows[0], *([row[0], "a", *row[2:]] for row in rows[1:] if any(n in row[0] for n in names[:4]))]
    with (tmp_path / "filled.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(labelled)
    assert as_json("import", "filled.csv")["labelled"] == 4, "the exported CSV, its labels filled in"
    picks = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    for item in picks["items"]:
        item["label"] = "b" if item["id"] in names[4:] else ""
    (tmp_path / "filled.json").write_text(json.dumps(picks), encoding="utf-8")
    assert as_json("import", "filled.json")["labelled"] == 4
    found = open_project(tmp_path)
    assert {found.pool.ids[p] for p in found.pool.labelled} == set(names)


# ---- what cannot be read


@pytest.mark.heavy
def test_unreadable_images_are_reported_and_cost_no_round(truth: dict[str, str], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    good = (photos / "00.png").read_bytes()
    (photos / "zero.png").touch()
    (photos / "cut.png").write_bytes(good[:70])
    (photos / "bomb.png").write_bytes(png_header(50_000, 50_000))
    run("init", "photos", "--classes", CLASSES, "--backbone", "pixels")
    before = as_json("check", "--all")
    assert set(before["unreadable"]) == {"zero.png", "cut.png", "bomb.png"}
    assert "0 bytes" in before["unreadable"]["zero.png"]
    assert "178,956,970 pixels" in before["unreadable"]["bomb.png"]
    found = as_json("suggest", "-n", 40)
    assert {pick["id"] for pick in found["picks"]} == set(truth)
    notes = "\n".join(found["notes"])
    assert notes.count("1 of 43 left out of this round (") == 3
    assert all(name in notes for name in ("zero.png", "cut.png", "bomb.png"))
    counts = open_project(tmp_path).progress_counts()
    assert (counts["skipped"], counts["unlabelled"]) == (0, 3), "left out of that round, not for ever"
    assert "none of the 3 items that are left can be asked" in refused("suggest", "-n", 1, "--more")
    (photos / "cut.png").write_bytes(good)
    assert [pick["id"] for pick in as_json("suggest", "-n", 3, "--more")["picks"]] == ["cut.png"]
    assert set(as_json("check", "--all")["unreadable"]) == {"zero.png", "bomb.png"}


@pytest.mark.heavy
def test_check_finds_missing_and_new_images_and_says_what_to_do(project: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "photos" / "00.png").unlink()
    Image.new("L", (8, 8)).save(tmp_path / "photos" / "new.png")
    found = as_json("check")
    assert (found["missing"], found["new"]) == (["00.png"], 1)
    shown = run("check").stdout
    assert "1 image gone" in shown
    assert "labelwise init photos" in shown
    with (tmp_path / "labelwise.yaml").open("a") as file:
        file.write("strategy: margn\n")
    assert "did you mean 'margin'" in refused("check")


# ---- the model


@pytest.mark.heavy
def test_fit_and_evaluate_on_held_out_images(truth: dict[str, str], tmp_path: Path) -> None:
    rows = [("file", "label", "split")]
    rows += [(f"photos/{name}", label if i >= 25 else "", "test" if i >= 25 else "train")
             for i, (name, label) in enumerate(truth.items())]  # fmt: skip
    with (tmp_path / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    made = as_json("init", "all.csv", "--project", "p", "--backbone", "pixels", "--classes", CLASSES)
    assert (made["unlabelled"], made["test"]) == (25, 15)
    assert "run 'labelwise fit' first" in refused("evaluate", "--project", "p")
    assert "there is no label" in refused("fit", "--project", "p")
    labels = answers(tmp_path / "a.csv", [(f"photos/{name}", truth[name]) for name in list(truth)[:20]])
    run("import", labels, "--project", "p")
    first = as_json("fit", "--project", "p")
    assert first["trained"]
    assert 0.3 < first["metrics"]["accuracy"] <= 1
    again = as_json("fit", "--project", "p")
    assert not again["trained"]
    assert again["weights"] == first["weights"]
    found = as_json("evaluate", "--project", "p")
    assert found["test"] == 15
    assert found["metrics"] == pytest.approx(first["metrics"])
    assert "balanced accuracy" in run("evaluate", "--project", "p").stdout
    page = Path(as_json("report", "--project", "p")["report"])
    assert page == (tmp_path / "p" / "report.html").resolve()
    assert "accuracy" in page.read_text()
    assert "What is taken for what" in page.read_text()
    assert "How the model sees the test images" in page.read_text()
    (next((tmp_path / "p" / ".labelwise" / "fits").glob("*")) / "weights.safetensors").write_bytes(b"")
    assert "What is taken for what cannot be said" in Path(as_json("report", "--project", "p")["report"]).read_text()


@pytest.mark.heavy
def test_without_test_images_it_says_so(project: dict[str, str], tmp_path: Path) -> None:
    run("import", answers(tmp_path / "a.csv", list(project.items())[:12]), "--yes")
    assert "they were chosen, not drawn" in run("fit").stdout
    found = as_json("evaluate")
    assert (list(found["metrics"]), found["test"], found["on"]) == (["cross_validated_accuracy"], 0, "labelled images")


@pytest.mark.heavy
def test_weights_of_another_network_are_no_traceback(truth: dict[str, str], tmp_path: Path) -> None:
    run("init", "photos", "--model", "lenet", "--size", 16, "--classes", CLASSES)
    config = yaml.safe_load((tmp_path / "labelwise.yaml").read_text())
    config["learner"]["phases"] = [{"epochs": 1, "min_steps": 0}]
    (tmp_path / "labelwise.yaml").write_text(yaml.safe_dump(config))
    run("import", answers(tmp_path / "a.csv", list(truth.items())[:12]))
    run("fit")
    config["learner"]["model"] = "resnet18_cifar"
    (tmp_path / "labelwise.yaml").write_text(yaml.safe_dump(config))
    assert "do not fit" in refused("suggest", "-n", 2, "-s", "margin", "--no-fit")


@pytest.mark.heavy
def test_a_state_without_its_file_is_not_taken_for_another_project(project: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "labelwise.yaml").unlink()
    (tmp_path / "other").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "other" / "x.png")
    assert "state of other images" in refused("init", "other")
    assert as_json("init", "photos", "--backbone", "pixels")["images"] == 40, "the same images: made whole again"


def test_a_damaged_state_is_one_line(project: dict[str, str], tmp_path: Path) -> None:
    for path in (tmp_path / ".labelwise").glob("state.db*"):
        path.unlink()
    (tmp_path / ".labelwise" / "state.db").write_bytes(b"this is no database" * 100)
    assert "file is not a database" in refused("suggest")
