"""Pictures of a set that is written: links, copies, lists; what is never overwritten."""

from __future__ import annotations

import os

import pytest

from labelwise.contracts.format import Writing
from labelwise.errors import FormatError, StateError
from labelwise.formats.pictures import check_apart, check_fresh, place_pictures

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
    with pytest.raises(FormatError, match=r"'a\.jpg' and 'a\.png' would both lie at 'a\.txt'"):
        check_apart({"a.jpg": "a.txt", "b": "b", "a.png": "a.txt"})
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be put at"):
        place_pictures(tmp_path / "file", {"a b.jpg": "x.jpg"}, how)


@pytest.mark.parametrize(
    "place", ["../a.jpg", "images/../../a.jpg", "/tmp/a.jpg", "C:\\a.jpg", "c:/a.jpg", "..\\a.jpg", ""]
)
@pytest.mark.parametrize("images", ["link", "list"])
def test_nothing_lies_outside_the_folder(tmp_path, source, place, images):
    with pytest.raises(FormatError, match="outside the folder"):
        place_pictures(tmp_path / "out", {"a b.jpg": place}, _writing(source, images))


@pytest.mark.parametrize("images", ["link", "copy"])
def test_an_image_that_is_gone_is_refused_before_anything_is_put(tmp_path, source, images):
    with pytest.raises(StateError, match=r"gone\.jpg' is not there \(and 0 more\).*--images list"):
        place_pictures(tmp_path / "out", WANTED | {"gone.jpg": "x.jpg"}, _writing(source, images))
    assert not (tmp_path / "out").exists()


def test_without_symbolic_links_there_are_hard_links_and_copies(tmp_path, source, monkeypatch):
    def refused(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "symlink", refused)
    notes = place_pictures(tmp_path / "hard", WANTED, _writing(source, "link")).notes
    assert notes[1].startswith("2 image(s) are hard links")
    assert (tmp_path / "hard" / WANTED["a b.jpg"]).samefile(source / "a b.jpg")
    monkeypatch.setattr(os, "link", refused)
    notes = place_pictures(tmp_path / "copied", WANTED, _writing(source, "link")).notes
    assert notes[1].startswith("2 image(s) were copied")
    assert sorted(path.name for path in (tmp_path / "copied/images/train").iterdir()) == ["a b.jpg"]


def test_relative_paths_are_linked_from_where_one_stands(tmp_path, source, monkeypatch):
    monkeypatch.chdir(source)
    place_pictures("../out", {"a b.jpg": "images/a b.jpg"}, Writing("labelled", "boxes", lambda image: image, "link"))
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/images/a b.jpg").read_bytes() == b"a b.jpg"


def test_a_folder_with_files_of_an_older_set_is_refused(tmp_path):
    (tmp_path / "labels" / "train").mkdir(parents=True)
    for name in ("labels/train/old.txt", "labels/train/a.txt", "notes.md"):
        (tmp_path / name).touch()
    with pytest.raises(StateError, match=r"holds 1 file\(s\) .*'labels/train/old.txt': choose an empty folder"):
        check_fresh(tmp_path, ("images", "labels"), ["labels/train/a.txt"])
    check_fresh(tmp_path, ("images", "labels"), ["labels/train/a.txt", "labels/train/old.txt"])
