"""Which picture a name means: nothing is matched that a folder contradicts, and everything is told."""

from __future__ import annotations

import time
import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given

from labelwise.exchange.matching import MANGLED, NAME, NUMBER, PATH, PREFIX, Matcher

IDS = frozenset(
    {
        "cam1/0000.jpg",
        "cam1/0001.jpg",
        "sub/Grün.jpg",
        "plain.png",
        "ab12cd34-photo0.jpg",
        "a b/c+d.jpg",
        "x/y/same.jpg",
    }
    | {"z/same.jpg", "day/images/k.png", "p/my photo (1).JPG"}
)


@pytest.fixture
def matcher():
    return Matcher(IDS, "/nowhere/photos")


@pytest.mark.parametrize(
    ("name", "item", "how"),
    [
        ("cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("./cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("cam1\\0000.jpg", "cam1/0000.jpg", PATH),
        ("C:\\old\\photos\\cam1\\0000.jpg", "cam1/0000.jpg", PREFIX),
        ("/nowhere/photos/cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("/nowhere/photos/../photos/cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("cam1//0000.jpg", "cam1/0000.jpg", PATH),
        (" plain.png ", "plain.png", PATH),
        ("photos/cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("images/cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("cam1/images/0000.jpg", "cam1/0000.jpg", PATH),
        ("day/k.png", "day/images/k.png", PATH),
        ("0001.jpg", "cam1/0001.jpg", NAME),
        ("sub/" + unicodedata.normalize("NFD", "Grün.jpg"), "sub/Grün.jpg", PATH),
        ("sub/Gr%C3%BCn.jpg", "sub/Grün.jpg", PATH),
        ("a%20b/c%2Bd.jpg", "a b/c+d.jpg", PATH),
        ("file:///nowhere/photos/plain.png", "plain.png", PATH),
        ("/data/local-files/?d=photos/cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("/mnt/disk/set/cam1/0000.jpg", "cam1/0000.jpg", PREFIX),
        ("https://host/bucket/plain.png", "plain.png", PREFIX),
        ("s3://bucket/cam1/0000.jpg", "cam1/0000.jpg", PATH),
        ("3/ab12cd34-photo0.jpg", "ab12cd34-photo0.jpg", MANGLED),
        ("photo0.jpg", "ab12cd34-photo0.jpg", MANGLED),
        ("/data/upload/7/0123abcd-plain.png", "plain.png", MANGLED),
        ("plain_png.rf.0123456789abcdef0123456789abcdef.png", "plain.png", MANGLED),
        ("my-photo-1-_JPG.rf.0123456789abcdef0123456789abcdef.jpg", "p/my photo (1).JPG", MANGLED),
        ("my-photo-1-_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "p/my photo (1).JPG", MANGLED),
        ("cam1__0001.jpg", "cam1/0001.jpg", MANGLED),
    ],
)
def test_a_name_that_means_one_picture(matcher, name, item, how):
    match = matcher.find(name)
    assert match is not None
    assert (match.item, match.how) == (item, how)


@pytest.mark.parametrize(
    "name",
    [
        "cam2/0000.jpg",
        "data/cam2/0000.jpg",
        "cam2\\0000.jpg",
        "C:\\data\\cam2\\0000.jpg",
        "pics/plain.png",
        "train/labels/plain.png",
        "../plain.png",
        "cam1/../../photos/plain.png",
        "/tmp/plain.png",
        "/etc/passwd",
        "photos",
        "same.jpg",
        "plain.jpg",
        "0.jpg",
        "1/0000.jpg",
        "my-photo-1-.jpg",
        "my-photo-2-_jpg.rf.0123456789abcdef0123456789abcdef.jpg",
        "same_jpg.rf.0123456789abcdef0123456789abcdef.jpg",
        "other/ab12cd34-photo0.jpg",
        "",
        ".",
        "/",
        "\0",
        "a/" * 5000 + "plain.png",
    ],
)
def test_a_name_in_doubt_is_no_match(matcher, name):
    assert matcher.find(name) is None
    assert len(matcher.why_not(name)) < 300


def test_a_name_that_roboflow_gave_two_pictures_says_which(matcher):
    """It keeps no folder: two pictures of one name cannot be told apart afterwards."""
    why = matcher.why_not("same_jpg.rf.0123456789abcdef0123456789abcdef.jpg")
    assert "may be 'x/y/same.jpg' or 'z/same.jpg'" in why


def test_a_neighbouring_camera_is_no_match_even_where_ids_have_no_folder(tmp_path):
    for camera in ("cam1", "cam2"):
        (tmp_path / camera).mkdir()
    matcher = Matcher({"0000.jpg"}, tmp_path / "cam1")
    assert matcher.find("cam1/0000.jpg").item == "0000.jpg"
    assert matcher.find("cam2/0000.jpg") is None
    assert matcher.find(f"{tmp_path}/cam2/0000.jpg") is None


def test_paths_through_links_and_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "real" / "d").mkdir(parents=True)
    (tmp_path / "real" / "d" / "e.png").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    ids = {"d/e.png", "e.jpg"}
    for path, root in (("real", "link"), ("link", "real"), ("real", "real")):
        match = Matcher(ids, tmp_path / root).find(f"{tmp_path}/{path}/d/e.png")
        assert (match.item, match.how) == ("d/e.png", PATH)
    monkeypatch.chdir(tmp_path)
    assert Matcher(ids, "real").find("real/d/e.png").item == "d/e.png"
    assert Matcher(ids, None).find(f"{tmp_path}/real/d/e.png") is None, "another folder of this machine"


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("train/plain.png", "plain.png"),
        ("valid/images/plain.png", "plain.png"),
        ("images/val2017/0001.jpg", "cam1/0001.jpg"),
        ("Test/cam1/0001.jpg", "cam1/0001.jpg"),
        ("train/cam2/0001.jpg", None),
        ("train/same.jpg", None),
        ("cats/plain.png", None),
    ],
)
def test_a_split_that_a_tool_sorted_into_is_no_folder_of_a_project_without_splits(matcher, name, item):
    match = matcher.find(name)
    assert (match and match.item) == item


def test_a_split_contradicts_another_one():
    matcher = Matcher({"train/a.png", "b.png"})
    assert matcher.find("test/a.png") is None
    assert matcher.find("test/b.png") is None


def test_numbers_count_through_a_list_only():
    matcher = Matcher({"000007.jpg", "a.jpg"}, None)
    assert matcher.find("7") is None
    assert matcher.numbered(7, {}) is None
    found = matcher.numbered(7, {7: "images/a.jpg"})
    assert (found.item, found.how) == ("a.jpg", NUMBER)
    assert matcher.numbered("7", {7: "a.jpg"}).item == "a.jpg"
    matcher.numbers = {7: "000007.jpg"}
    assert matcher.numbered(7, {}).item == "000007.jpg"


def test_what_was_done_is_said_in_one_line(matcher):
    for name in ("cam1/0000.jpg", "0001.jpg", "/mnt/disk/set/cam1/0000.jpg"):
        matcher.count(matcher.find(name))
    assert matcher.said() == "1 by path, 1 by path below another root, 1 by file name (without '/mnt/disk/set/')"


def test_names_without_ending():
    matcher = Matcher({"train/a.b.jpg", "val/a.b.png", "c.png"}, None)
    assert matcher.find("train/a.b", bare=True).item == "train/a.b.jpg"
    assert matcher.find("labels/c", bare=True) is None
    assert matcher.find("c", bare=True).item == "c.png"
    assert matcher.find("a.b", bare=True) is None


def test_many_frames_of_one_name_are_not_compared_pair_by_pair():
    matcher = Matcher({f"video{n}/0.jpg" for n in range(50_000)}, None)
    start = time.process_time()
    assert all(matcher.find(f"images/video{n}/0.jpg").item == f"video{n}/0.jpg" for n in range(0, 50_000, 10))
    assert all(matcher.find(f"other{n}/0.jpg") is None for n in range(5_000))
    assert time.process_time() - start < 5


NAMES = st.text(st.sampled_from("ab/.\\%\0: ü2_-"), max_size=12)


@given(ids=st.frozensets(NAMES.filter(lambda name: name.strip("/. ")), min_size=1, max_size=5), name=NAMES)
def test_whatever_the_name_nothing_breaks_and_a_match_is_a_known_id(ids, name):
    matcher = Matcher(ids, "/root")
    match = matcher.find(name)
    assert match is None or match.item in ids
    assert (name not in ids) or match.item == name


@given(st.lists(st.sampled_from(["cam1", "cam2", "day", "night"]), min_size=1, max_size=3), st.data())
def test_folders_that_are_not_containers_always_have_to_agree(folders, data):
    """The twin: with ids of one depth, a name matches only where all its folders are those of the id."""
    ids = {"/".join([*folders, "0.jpg"])}
    told = data.draw(st.lists(st.sampled_from(["cam1", "cam2", "day", "night"]), min_size=len(folders), max_size=3))
    match = Matcher(ids, None).find("/".join([*told, "0.jpg"]))
    assert (match is not None) == (told[-len(folders) :] == folders)
