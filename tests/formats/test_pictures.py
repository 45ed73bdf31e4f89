"""Pictures of a set that is written: links, copies, lists; what is never overwritten."""

from __future__ import annotations

import pytest

from labelwise.contracts.format import Writing
from labelwise.errors import FormatError, StateError
from labelwise.formats.pictures import place_pictures

WANTED = {"a b.jpg": "images/train/a b.jpg", "ü.jpg": "images/val/ü.jpg", "array 3": "images/train/array 3"}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a b.jpg", "ü.jpg"):
        (tmp_path / "data" / name).write_bytes(name.encode())
    return tmp_path / "data"


def _writing(source, images) -> Writing:
    return Writing(
        "labelled", "boxes", path_of=lambda image: "" if "array" in image else str(source / image), images=images
    )


def test_lists_name_the_files_where_they_are(tmp_path, source):
    placed = place_pictures(tmp_path / "out", WANTED, _writing(source, "list"))
    assert placed.paths == {
        "a b.jpg": str(source / "a b.jpg"),
        "ü.jpg": str(source / "ü.jpg"),
        "array 3": "images/train/array 3",
    }
    assert placed.notes == ("1 image(s) have no file of their own: their labels were written without them",)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("images", ["link", "copy"])
def test_pictures_lie_in_the_set(tmp_path, source, images):
    for _ in range(2):  # the same again changes nothing
        placed = place_pictures(tmp_path / "out", WANTED, _writing(source, images))
        assert placed.paths == WANTED
        for name in ("a b.jpg", "ü.jpg"):
            target = tmp_path / "out" / WANTED[name]
            assert target.read_bytes() == name.encode()
            assert target.is_symlink() is (images == "link")
    assert not (tmp_path / "out" / WANTED["array 3"]).exists()


def test_a_copy_after_a_link_leaves_the_original_alone(tmp_path, source):
    place_pictures(tmp_path / "out", WANTED, _writing(source, "link"))
    place_pictures(tmp_path / "out", WANTED, _writing(source, "copy"))
    target = tmp_path / "out" / WANTED["a b.jpg"]
    assert not target.is_symlink()
    assert (source / "a b.jpg").read_bytes() == b"a b.jpg"


def test_a_set_written_into_the_data_themselves(source):
    place_pictures(source, {"a b.jpg": "a b.jpg"}, _writing(source, "copy"))
    place_pictures(source, {"a b.jpg": "a b.jpg"}, _writing(source, "link"))
    assert not (source / "a b.jpg").is_symlink()


def test_dead_links_are_replaced_and_other_files_stay(tmp_path, source):
    target = tmp_path / "out" / WANTED["a b.jpg"]
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "nowhere")
    place_pictures(tmp_path / "out", WANTED, _writing(source, "link"))
    assert target.read_bytes() == b"a b.jpg"
    target.unlink()
    target.write_bytes(b"mine")
    with pytest.raises(StateError, match="is there and is another file"):
        place_pictures(tmp_path / "out", WANTED, _writing(source, "link"))
    assert target.read_bytes() == b"mine"


def test_what_is_refused(tmp_path, source):
    how = _writing(source, "copy")
    with pytest.raises(FormatError, match="outside the folder"):
        place_pictures(tmp_path / "out", {"a b.jpg": "../a.jpg"}, how)
    with pytest.raises(FormatError, match=r"would both lie at 'x\.jpg'"):
        place_pictures(tmp_path / "out", {"a b.jpg": "x.jpg", "ü.jpg": "x.jpg"}, how)
    with pytest.raises(StateError, match="cannot be put at"):
        place_pictures(tmp_path / "out", {"gone.jpg": "x.jpg"}, how)
