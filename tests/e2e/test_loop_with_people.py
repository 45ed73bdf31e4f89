"""The whole loop on the command line, as a user walks it, on files with the names and defects of real folders."""

import csv
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import labelwise
from labelwise.cli.app import app

NAMES = {3: 'quo"te.png', 4: "comma,new\nline.png", 5: "=cmd().png", 6: "ünï–图.png"}
CLASSES = ",".join("0123456789")


def png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.fixture
def truth(tmp_path, monkeypatch):
    """A folder of 60 digits and three broken files; what the digits are."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    digits = load_digits()
    known = {}
    for i in range(60):
        name = NAMES.get(i, f"d {i:02d}.png")
        Image.fromarray((digits.images[i] * 15).astype(np.uint8)).save(images / name)
        known[name] = str(digits.target[i])
    (images / "zero.png").touch()
    (images / "cut.png").write_bytes((images / "d 00.png").read_bytes()[:80])
    (images / "bomb.png").write_bytes(png_header(50_000, 50_000))
    return known


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    """One line on standard error, exit 1."""
    message = run(*arguments, code=1).stderr
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


def write_answers(path, rows):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "label"], *rows])
    return path


def suggested(*arguments):
    return json.loads(run("suggest", *arguments, "--json").stdout)


def test_the_loop(truth, tmp_path):
    run("init", "images", "--classes", CLASSES, "--backbone", "pixels")
    first = suggested("-n", 20, "--strategy", "margin")
    assert first["strategy"] == "kmeans", "no label yet: the cold-start method takes over"
    ids = [pick["id"] for pick in first["picks"]]
    assert len(set(ids)) == 20
    assert not {"zero.png", "cut.png", "bomb.png"} & set(ids), "broken images are never asked"

    run("export", "picks.csv", "picks.json", "gallery.html")
    assert (tmp_path / "picks.csv").read_bytes().startswith(b"id,label,rank,score,strategy,predicted\r\n")
    page = (tmp_path / "gallery.html").read_text()
    assert page.count("data:image/jpeg") >= 20
    assert "http://" not in page.replace("http://www.w3.org", "")

    # a part, a correction, a filled-in JSON with a skip
    run("import", write_answers("some.csv", [(item, truth[item]) for item in ids[:12]]))
    run("import", write_answers("fix.csv", [(ids[0], "9" if truth[ids[0]] != "9" else "8")]))
    picks = json.loads((tmp_path / "picks.json").read_text())
    for item in picks["items"][12:15]:
        item["label"] = truth[item["id"]]
    picks["items"][15]["skipped"] = True
    (tmp_path / "filled.json").write_text(json.dumps(picks))
    run("import", "filled.json")

    again = suggested("-n", 5)
    assert [pick["id"] for pick in again["picks"]] == ids[16:], "the open round comes back, not a new one"
    more = suggested("-n", 5, "--more", "--strategy", "margin")
    assert len(more["picks"]) == 5
    assert not {pick["id"] for pick in more["picks"]} & set(ids)
    assert more["picks"][0]["predicted"] in truth.values()
    assert all(0 <= pick["score"] <= 1 for pick in more["picks"])

    run("cancel")
    after = suggested("-n", 5)
    asked = {pick["id"] for pick in after["picks"]}
    assert len(asked) == 5
    assert not asked & set(ids[:16]), "labelled and skipped items are not asked again"
    run("fit")
    run("report", "--out", "report.html")
    assert "<html" in (tmp_path / "report.html").read_text()
    ranking = suggested("-n", "all", "--strategy", "entropy")
    scores = [pick["score"] for pick in ranking["picks"]]
    assert scores == sorted(scores, reverse=True)


def test_a_file_that_holds_images_out_is_not_taken_for_a_plain_one(truth, tmp_path):
    run("init", "images", "--classes", CLASSES, "--backbone", "pixels")
    rows = [
        (item, truth[item], split) for item, split in zip(sorted(truth), ["train", "test", "val"] * 2, strict=False)
    ]
    with Path("answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label", "split"), *rows])
    notes = json.loads(run("import", "answers.csv", "--json").stdout)["notes"]
    assert any(note.startswith("4 image(s) that the file holds out") for note in notes), notes


@pytest.mark.heavy
def test_a_file_with_one_bad_row_changes_nothing(truth, tmp_path):
    run("init", "images", "--classes", CLASSES, "--backbone", "pixels")
    good = ("d 00.png", truth["d 00.png"])
    for row, words in (
        (("nobody.png", "1"), "row 3"),
        (("d 01.png", "cat"), "unknown class 'cat'"),
        (("d 00.png", "9"), "two answers"),
        (("../../etc/passwd", "1"), "leaves the data root"),
    ):
        assert words in refused("import", write_answers("bad.csv", [good, row]))
    assert labelwise.open(tmp_path).progress_counts() == {"labelled": 0, "pending": 0, "skipped": 0, "unlabelled": 63}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("suggest", "-n", "0"), "give 1 or more"),
        (("suggest", "-n", "-3"), "give 1 or more"),
        (("suggest", "-n", "5000"), "at most 63"),
        (("suggest", "--strategy", "margn"), "did you mean 'margin'"),
        (("suggest", "--strategy", "margin", "--set", "subpol=3"), "did you mean 'subpool'"),
        (("export", "picks.pdf"), ".csv, .json, .xml or .html"),
        (("init", "nowhere", "--project", "q"), "does not exist"),
        (("init", "empty", "--project", "q"), "no images"),
        (("init", "images/d 00.png", "--project", "q"), "holds no set of images"),
        (("init", "images", "--project", "q", "--task", "clasification"), "did you mean 'classification'"),
    ],
)
def test_bad_input_is_one_line(truth, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    run("init", "images", "--classes", CLASSES, "--backbone", "pixels")
    assert words in refused(*arguments)
    assert not (tmp_path / "q" / "labelwise.yaml").exists()


@pytest.mark.heavy
def test_a_configuration_that_is_wrong_or_newer(truth, tmp_path):
    run("init", "images", "--classes", CLASSES, "--backbone", "pixels")
    path = tmp_path / "labelwise.yaml"
    before = path.read_text()
    path.write_text(before + "stratgy: margin\n")
    assert "did you mean 'strategy'" in refused("suggest")
    path.write_text(before.replace("version: 1", "version: 99"))
    assert "newer labelwise" in refused("suggest")


@pytest.mark.heavy
def test_somebody_elses_predictions(truth, tmp_path):
    run("init", "images", "--classes", CLASSES, "--backbone", "pixels")
    ids = sorted(truth)
    probs = np.random.default_rng(0).dirichlet(np.ones(10), len(ids)).astype(np.float32)

    def saved(name, **arrays):
        np.savez(tmp_path / name, ids=np.array(ids), **arrays)
        return name

    doubled, holed = probs.copy(), probs.copy()
    doubled[5] *= 2
    holed[3, 2] = np.nan
    assert "sum" in refused("suggest", "-n", 5, "--predictions", saved("sum.npz", probs=doubled))
    assert "nan" in refused("suggest", "-n", 5, "--predictions", saved("nan.npz", probs=holed))
    assert "59 rows" in refused("suggest", "-n", 5, "--predictions", saved("rows.npz", probs=probs[:-1]))
    found = suggested("-n", 5, "--strategy", "least_confidence", "--predictions", saved("good.npz", probs=probs))
    wanted = [ids[i] for i in np.argsort(probs.max(1), kind="stable")[:5]]
    assert [pick["id"] for pick in found["picks"]] == wanted
    run("cancel")
    wide = saved("wide.npz", embeddings=np.eye(60, 7, dtype=np.float32))
    run("suggest", "-n", 2, "--strategy", "kmeans", "--predictions", wide)
    other = saved("other.npz", embeddings=np.eye(60, 9, dtype=np.float32))
    assert "9 features" in refused("suggest", "-n", 2, "--more", "--strategy", "kmeans", "--predictions", other)


def test_folders_of_dates_are_no_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in ("2026-01-01", "2026-01-02"):
        (tmp_path / "photos" / day).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (8, 8), 40 * i).save(tmp_path / "photos" / day / f"{i}.png")
    made = json.loads(run("init", "photos", "--classes", "cat,dog", "--json").stdout)
    assert made["labelled"] == 0
    assert made["unlabelled"] == 6
