"""Pictures that lists name, and a glance into folders."""

from __future__ import annotations

import time

import pytest

from labelwise.formats.glance import some_files, start_of
from labelwise.formats.listed import Listed

NAMES = ["images/day/1.jpg", "images/night/1.jpg", "images/night/2.jpg", "images/ü b.jpg", "3.jpg"]


def test_paths_as_written_and_of_other_machines():
    listed = Listed(NAMES)
    assert listed.find("images/day/1.jpg\n") == "images/day/1.jpg"
    assert listed.find("./images/day/1.jpg") == "images/day/1.jpg"
    assert listed.find("day/1.jpg", "images") == "images/day/1.jpg"
    assert listed.find("images\\day\\1.jpg") == "images/day/1.jpg"
    assert listed.find("images/u\u0308 b.jpg") == "images/ü b.jpg"
    assert listed.find("../images/night/1.jpg") == "images/night/1.jpg"
    assert listed.find("night/1.jpg") == "images/night/1.jpg"
    assert listed.find("/content/set/images/day/1.jpg") == "images/day/1.jpg"
    # the same folders have to be dropped from all lines
    assert listed.find("/content/set/3.jpg") == "3.jpg"
    assert listed.find("/content/other/3.jpg") is None
    listed.begin()
    assert listed.find("/content/other/3.jpg") == "3.jpg"
    assert listed.find("cam2/3.jpg") is None


def test_what_is_no_match():
    listed = Listed(NAMES)
    for line in ("1.jpg", "dusk/1.jpg", "", " ", ".", "..", "../..", "/", "ight/1.jpg", "9.jpg", "images/day"):
        assert listed.find(line) is None, line


def test_stems():
    listed = Listed(["a.jpg", "sub/photo 1.png", "b.jpg", "b.png", "c.d.jpg"], bare=True)
    assert listed.find("a") == "a.jpg"
    assert listed.find("a.jpg") == "a.jpg"
    assert listed.find("photo 1") == "sub/photo 1.png"
    assert listed.find("c.d") == "c.d.jpg"
    assert listed.find("b") is None  # two pictures share the stem
    assert listed.find("c") is None


@pytest.mark.heavy
def test_many_pictures_of_one_name_cost_no_more():
    listed = Listed(f"{n:06}/0.jpg" for n in range(100_000))
    began = time.process_time()
    for n in range(20_000):
        assert listed.find("0.jpg") is None
        assert listed.find(f"/x/{n:06}/0.jpg") == f"{n:06}/0.jpg"
    assert time.process_time() - began < 3


def test_a_glance_finds_some_files_near_the_top(tmp_path):
    for name in ("b/1.txt", "a/2.TXT", "z.txt", ".hidden.txt", "a/deep/er/3.txt", "x.jpg", ".git/4.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "null.txt").symlink_to("/dev/null")
    found = [path.relative_to(tmp_path).as_posix() for path in some_files(tmp_path, {".txt"})]
    assert found == ["z.txt", "a/2.TXT", "b/1.txt", "a/deep/er/3.txt"]
    assert len(some_files(tmp_path, {".txt"}, 2)) == 2
    assert some_files(tmp_path / "nowhere", {".txt"}) == []
    assert start_of(tmp_path / "z.txt", 3) == b"z.t"
    assert start_of(tmp_path / "a") == start_of(tmp_path / "null.txt") == start_of(tmp_path / "no") == b""


@pytest.mark.heavy
def test_a_glance_at_a_large_folder_is_short(tmp_path):
    for n in range(12_000):
        (tmp_path / f"{n}.jpg").touch()
    began = time.process_time()
    assert some_files(tmp_path, {".txt"}) == []
    assert time.process_time() - began < 0.3
