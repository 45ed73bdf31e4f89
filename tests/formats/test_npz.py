"""Predictions for whole images as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.npz_predictions import NpzPredictions

FORM = NpzPredictions()
PROBS = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)


def samples(folder):
    """Small files as numpy writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "p.npz", ids=["a.png", "b.png"], probs=PROBS, classes=["cat", "dog"])
    np.savez_compressed(folder / "e.npz", ids=["7", "8"], embeddings=np.ones((2, 3)))
    return [folder / "p.npz", folder / "e.npz"]


def read(path, **hints):
    head, records = FORM.read(path, "predictions", Hints(**hints))
    return head, list(records)


def test_rows_are_records_in_the_order_of_the_classes(tmp_path):
    path, other = samples(tmp_path)
    head, records = read(path)
    assert head.classes == ("cat", "dog")
    assert [(r.image, r.bare, r.objects[0].probs.tolist()) for r in records] == [
        ("a.png", False, [0.5, 0.5]),
        ("b.png", False, [0.25, 0.75]),
    ]
    head, records = read(path, classes=("dog", "cat"), kind="classes")
    assert head.classes == ("dog", "cat")
    assert records[1].objects[0].probs.tolist() == [0.75, 0.25]
    head, records = read(other, kind="boxes")
    assert [(r.image, r.bare, r.objects[0].embedding.tolist(), r.objects[0].probs) for r in records] == [
        ("7", True, [1, 1, 1], None),
        ("8", True, [1, 1, 1], None),
    ]


def test_what_cannot_be_read_is_one_line(tmp_path):
    path, _ = samples(tmp_path)
    with pytest.raises(FormatError, match="holds class probabilities of images, and boxes are wanted"):
        read(path, kind="boxes")
    with pytest.raises(FormatError, match="class 'dog' does not fit"):
        read(path, kind="classes", classes=("cat", "owl"))


def test_what_was_written_is_read(tmp_path):
    path, _ = samples(tmp_path)
    head, records = read(path)
    assert FORM.write(tmp_path / "q.npz", head, reversed(records), Writing("predictions", "classes")) == []
    again, found = read(tmp_path / "q.npz")
    assert again == head
    assert [(r.image, r.objects[0].probs.tolist(), r.objects[0].embedding) for r in found] == [
        (r.image, r.objects[0].probs.tolist(), None) for r in records
    ]
    by_name = [Record(Where("x"), "a.png", objects=(Seen(probs={"dog": 0.75, "cat": 0.25}, embedding=[1, 2]),))]
    FORM.write(tmp_path / "q.npz", Head(classes=("cat", "dog")), by_name, Writing("predictions", "classes"))
    (found,) = read(tmp_path / "q.npz")[1]
    assert (found.objects[0].probs.tolist(), found.objects[0].embedding.tolist()) == ([0.25, 0.75], [1, 2])
    some = [*by_name, Record(Where("x"), "b.png", objects=(Seen(probs=[0.5, 0.5]),))]
    with pytest.raises(FormatError, match=r"'b\.png' has no embedding, and other images have"):
        FORM.write(tmp_path / "q.npz", Head(classes=("cat", "dog")), some, Writing("predictions", "classes"))


def test_sniff(tmp_path):
    for path in samples(tmp_path):
        assert FORM.sniff(path, "predictions").sure == 1
    np.savez(tmp_path / "images.npz", images=np.zeros((2, 4, 4)), labels=[0, 1])
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "text.npz").write_text("id,label\n")
    for name in ("images.npz", "no.npz", "text.npz", "gone.npz"):
        assert FORM.sniff(tmp_path / name, "predictions").sure < 0.5
