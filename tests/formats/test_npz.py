"""Predictions for whole images as arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def put(tmp_path, **arrays):
    arrays = {"ids": ["a.png", "b.png"], "probs": PROBS} | arrays
    np.savez(tmp_path / "p.npz", **{key: value for key, value in arrays.items() if value is not None})
    return tmp_path / "p.npz"


def test_rows_are_records_in_the_order_of_the_file(tmp_path):
    path, other = samples(tmp_path)
    head, records = read(path)
    assert head.classes == ("cat", "dog")
    assert [(r.image, r.bare, r.objects[0].probs.tolist()) for r in records] == [
        ("a.png", False, [0.5, 0.5]),
        ("b.png", False, [0.25, 0.75]),
    ]
    assert read(path, classes=("dog", "cat"), kind="classes")[0].classes == ("cat", "dog"), "the door orders them"
    head, records = read(other, kind="boxes")
    assert [(r.image, r.bare, r.objects[0].embedding.tolist(), r.objects[0].probs) for r in records] == [
        ("7", True, [1, 1, 1], None),
        ("8", True, [1, 1, 1], None),
    ]
    head, records = read(put(tmp_path, ids=["b.png", "a.png"], embeddings=np.arange(4).reshape(2, 2)))
    assert head.classes == ()
    assert [(r.image, str(r.where), r.objects[0].embedding.tolist()) for r in records] == [
        ("b.png", f"'{tmp_path}/p.npz', id 1", [0, 1]),
        ("a.png", f"'{tmp_path}/p.npz', id 2", [2, 3]),
    ]
    assert {r.objects[0].embedding.dtype for r in records} == {np.dtype(np.float32)}


def test_bytes_and_numbers_as_ids(tmp_path):
    assert [r.image for r in read(put(tmp_path, ids=np.array([b"a", b"b"])))[1]] == ["a", "b"]
    assert [r.image for r in read(put(tmp_path, ids=np.array([7, 8])))[1]] == ["7", "8"]


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"probs": None}, "holds ids: needed are ids and probs or embeddings"),
        ({"ids": None}, "holds probs: needed are ids"),
        ({"probs": PROBS[:1]}, "probs have 1 rows for 2 ids"),
        ({"probs": PROBS[:, 0]}, r"shape \(2,\)"),
        ({"probs": PROBS.astype(str)}, "give numbers"),
        ({"probs": np.ones((2, 0))}, r"shape \(2, 0\)"),
        ({"embeddings": np.ones((1, 4))}, "embeddings have 1 rows"),
        ({"ids": np.zeros((2, 1))}, "ids has type float64"),
        ({"ids": np.array(["a", "b"], dtype=object)}, "never loaded"),
        ({"ids": np.array([], dtype=str), "probs": np.ones((0, 2))}, "ids are empty"),
        ({"classes": np.zeros((2, 2))}, "classes has type float64"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, arrays, match):
    with pytest.raises(FormatError, match=match) as error:
        read(put(tmp_path, **arrays))
    assert "\n" not in str(error.value)
    assert "p.npz" in str(error.value)


@settings(max_examples=30)
@given(
    ids=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0#"), min_size=1),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    seed=st.integers(0, 99),
)
def test_round_trip(tmp_path_factory, ids, seed):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), len(ids)).astype(np.float32)
    vectors = rng.normal(size=(len(ids), 4)).astype(np.float32)
    records = [
        Record(Where("x"), item, objects=(Seen(probs=row, embedding=vector),))
        for item, row, vector in zip(ids, probs, vectors, strict=True)
    ]
    path = tmp_path_factory.mktemp("npz") / "p.npz"
    FORM.write(path, Head(classes=("x", "y", "z")), records, Writing("predictions", "classes"))
    head, found = read(path)
    assert head.classes == ("x", "y", "z")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    assert [record.image for record in found] == sorted(ids)
    assert np.array_equal([record.objects[0].probs for record in found], probs[order])
    assert np.array_equal([record.objects[0].embedding for record in found], vectors[order])


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
