"""Segmentations of somebody else's model: probability maps as arrays, and masks with how sure the model is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import painted
from commands import as_json, refused, run
from labelwise.formats.mask_coding import MaskCoding
from masks_on_disk import write_png_masks

COUNT, CLASSES = 12, len(painted.CLASSES)
NAMES = [f"{number:02d}.png" for number in range(COUNT)]
HEIGHT, WIDTH = painted.HEIGHT, painted.WIDTH


def said(number: int) -> np.ndarray:
    """(C, H, W) what the model says: of odd numbers it is sure, of even ones the less the higher."""
    _, truth = painted.paint(number)
    sure = 0.97 if number % 2 else 0.9 - 0.05 * (number // 2)
    right = np.where(truth < CLASSES, truth, 0)
    right[:, : WIDTH // 4] = 0  # it does not look there
    probs = np.full((CLASSES, HEIGHT, WIDTH), (1 - sure) / (CLASSES - 1))
    np.put_along_axis(probs, right[None].astype(np.int64), sure, 0)
    return probs


UNSURE = [NAMES[number] for number in (10, 8, 6, 4, 2, 0)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(painted.paint(number)[0]).save(tmp_path / "images" / name)
    run("init", tmp_path / "images", "-p", tmp_path, "--task", "segmentation", "--classes", ",".join(painted.CLASSES),
        "--labels", "none", "--backbone", "pixels")  # fmt: skip
    return tmp_path


def labelled(project: Path, numbers: range) -> None:
    masks = [(NAMES[number], painted.paint(number)[1]) for number in numbers]
    write_png_masks(project / "answers", masks, MaskCoding(painted.CLASSES))
    run("import", project / "answers", "-p", project)


def one_file(folder: Path, change=lambda probs: probs, **more) -> Path:
    np.savez(folder / "maps.npz", **{name: change(said(number)) for number, name in enumerate(NAMES)}, **more)
    return folder / "maps.npz"


def a_folder(folder: Path, change=lambda probs: probs) -> Path:
    """As nnU-Net writes it: one slice of a volume."""
    (folder / "maps").mkdir()
    for number, name in enumerate(NAMES):
        probs = change(said(number))[:, None]
        np.savez_compressed(folder / "maps" / f"{name[:-4]}.npz", probabilities=probs)
    return folder / "maps"


def bytes_of(probs: np.ndarray) -> np.ndarray:
    return (probs * 255).round().astype(np.uint8)


def masks(folder: Path, *, confidence: bool = True) -> Path:
    for part in ("masks", *(["confidence"] if confidence else [])):
        (folder / "said" / part).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        probs = said(number)
        Image.fromarray(probs.argmax(0).astype(np.uint8)).save(folder / "said/masks" / name)
        if confidence:
            Image.fromarray((probs.max(0) * 255).round().astype(np.uint8)).save(folder / "said/confidence" / name)
    return folder / "said"


WAYS = {
    "chw": one_file,
    "hwc float16": lambda folder: one_file(folder, lambda probs: np.moveaxis(probs, 0, -1).astype(np.float16)),
    "bytes": lambda folder: one_file(folder, bytes_of),
    "classes in another order": lambda folder: one_file(
        folder, lambda probs: probs[::-1], classes=np.array(painted.CLASSES[::-1])
    ),
    "a folder": a_folder,
    "half the size": lambda folder: one_file(folder, lambda probs: probs[:, ::2, ::2]),
    "masks with confidences": masks,
}


@pytest.mark.heavy
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", ["entropy", "margin"])
def test_the_images_that_the_model_doubts_come_first(way, strategy, project):
    file = WAYS[way](project)
    found = as_json("suggest", "-n", 6, "-s", strategy, "--predictions", file, "-p", project)
    assert [pick["id"] for pick in found["picks"]] == UNSURE
    assert not (project / ".labelwise/fits").exists()


@pytest.mark.heavy
def test_regions_that_the_model_doubts_come_first(project):
    """Of the one image that it doubts most, the regions; each row of regions is its own mean."""
    with (project / "labelwise.yaml").open("a") as file:
        file.write("regions: {count: 4}\n")
    file = one_file(project)
    labelled(project, range(1, 2))
    found = as_json("suggest", "-n", 3, "-s", "entropy", "--predictions", file, "-p", project)
    assert {pick["id"].partition("#")[0] for pick in found["picks"]} == {NAMES[10]}
    assert all("#" in pick["id"] for pick in found["picks"])
    told = refused("suggest", "-n", 3, "--more", "-s", "k_center", "--set", "features=task", "--predictions", file,
                   "-p", project)  # fmt: skip
    assert "embedding" in told


@pytest.mark.heavy
@pytest.mark.parametrize("way", ["chw", "bytes", "masks with confidences", "masks alone"])
def test_a_model_of_somebody_else_is_measured_at_the_size_of_the_masks(way, project):
    file = masks(project, confidence=False) if way == "masks alone" else WAYS[way](project)
    labelled(project, range(6))
    found = as_json("evaluate", "--predictions", file, "-p", project)
    counts = np.zeros((CLASSES, CLASSES))
    for number in range(6):
        truth, guess = painted.paint(number)[1], said(number).argmax(0)
        known = truth < CLASSES
        np.add.at(counts, (truth[known], guess[known]), 1)
    hit = counts.diagonal()
    either = counts.sum(0) + counts.sum(1) - hit
    assert found["metrics"]["miou"] == pytest.approx((hit / either)[either > 0].mean())
    assert 0.2 < found["metrics"]["miou"] < 0.95
    assert found["images"] == 6


def test_masks_alone_are_not_chosen_by(project):
    told = refused(
        "suggest", "-n", 2, "-s", "entropy", "--predictions", masks(project, confidence=False), "-p", project
    )
    assert "needs class probabilities" in told


@pytest.mark.heavy
def test_what_the_maps_say_is_offered_to_people(project):
    run("suggest", "-n", 2, "-s", "entropy", "--predictions", one_file(project), "-p", project)
    run("export", project / "out", "--format", "masks", "--predictions", project / "maps.npz", "-p", project)
    offered = np.asarray(Image.open(project / "out/suggested" / NAMES[10]))
    np.testing.assert_array_equal(offered, said(10).argmax(0))


def logits(probs: np.ndarray) -> np.ndarray:
    return np.log(probs)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (logits, "give probabilities from 0 to 1, not logits"),
        (lambda probs: probs / 2, "sum to 0.5; classes exclude each other"),
        (lambda probs: probs * np.nan, "holds nan"),
        (lambda probs: probs[:-1], "and there are 4 classes: give one layer for each class"),
        (lambda probs: probs[0], "give floats, or bytes (0 to 255), of shape (classes, height, width)"),
        (lambda probs: (probs * 1000).astype(np.int32), "is an array of int32"),
        (lambda probs: np.broadcast_to(probs[:, :4, :4], (4, 4, 4)), "say --format maps:order=chw or hwc"),
    ],
    ids=["logits", "sums", "nan", "too few", "no layers", "whole numbers", "order"],
)
def test_maps_that_are_none_are_refused_in_one_line(change, words, project):
    told = refused("suggest", "-n", 2, "-s", "entropy", "--format", "maps", "--predictions", one_file(project, change),
                   "-p", project)  # fmt: skip
    assert words in told
    assert len(told) <= 300 + len(str(project))


@pytest.mark.heavy
def test_a_map_that_would_take_too_much_memory_is_refused_unread(project):
    """480 MB of zeros in half a megabyte; and an honest array of 61 million numbers."""
    np.savez_compressed(project / "packed.npz", **{NAMES[0]: np.zeros((4, 10_000, 12_000), np.uint8)})
    told = refused("suggest", "-n", 2, "-s", "entropy", "--predictions", project / "packed.npz", "-p", project)
    assert "unpacks from 0." in told or "at most 60,000,000" in told
    with (project / "large.npz").open("wb") as file:
        np.savez(file, **{NAMES[0]: np.zeros((4, 3_900, 4_000), np.uint8)})
    told = refused("suggest", "-n", 2, "-s", "entropy", "--predictions", project / "large.npz", "-p", project)
    assert "has 62,400,000 numbers: at most 60,000,000 are read" in told


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda said: (said / "confidence" / NAMES[3]).unlink(), "has no picture of its confidence"),
        (lambda said: Image.new("L", (5, 4)).save(said / "confidence" / NAMES[3]), "save both at one size"),
        (
            lambda said: Image.fromarray(np.full((HEIGHT, WIDTH), 900, np.uint16)).save(said / "confidence" / NAMES[3]),
            "save confidences as eight-bit grey",
        ),
    ],
    ids=["missing", "size", "deep"],
)
def test_confidences_that_do_not_fit_are_refused(spoil, words, project):
    folder = masks(project)
    spoil(folder)
    assert words in refused("suggest", "-n", 2, "-s", "entropy", "--predictions", folder, "-p", project)
