"""Frames of one video are a group: told by folder or name, never split, thinned where that is wished."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run
from labelwise.data.arrays import ArraySource
from labelwise.data.videos import rule_of, with_videos
from labelwise.data.views import View, split
from labelwise.errors import DataError
from labelwise.project.project import Project


def frames(*names, **options):
    groups = options.pop("groups", None)
    source = ArraySource(np.zeros((len(names), 4, 4), np.uint8), ids=list(names), **options)
    return source if groups is None else View(source, groups=dict(zip(names, groups, strict=True)))


def test_names_tell_a_video_by_what_stands_before_their_last_number():
    found = with_videos(frames("a/cam1_007_left.png", "a/cam1_008_left.png", "a/cam2_7.png", "b/cam1_1.png", "c.png"))
    assert dict(found.groups) == {
        "a/cam1_007_left.png": "a/cam1_",
        "a/cam1_008_left.png": "a/cam1_",
        "a/cam2_7.png": "a/cam2_",
        "b/cam1_1.png": "b/cam1_",
    }
    assert rule_of(View(found)) == "name"
    told = found.notes()
    assert told[0].startswith("4 frame(s) of 3 video(s), told by their name before its last number: a/cam1_ (2)")
    assert "a guess, --video folder is the other one" in told[0]
    assert told[1] == "1 image(s) without a number in their name are no frames of a video: 'c.png'"


def test_folders_tell_a_video_where_each_has_several_frames_and_is_no_class():
    names = ("a/1.png", "a/2.png", "b/x.png", "b/y.png")
    found = with_videos(frames(*names))
    assert set(found.groups.values()) == {"a", "b"}
    assert "told by the folder they lie in" in found.notes()[0]
    classes = frames(*names, labels=[0, 0, 1, 1])
    assert rule_of(with_videos(classes)) == "name"
    assert rule_of(with_videos(classes, "folder")) == "folder"
    assert "guess" not in with_videos(classes, "folder").notes()[0]


def test_every_so_many_frames_of_each_video_in_the_order_of_their_numbers():
    names = [f"a_{n}.png" for n in range(1, 12)] + ["b_5.png", "b_9.png", "c.png"]
    found = with_videos(frames(*names, labels=[0] * 14), "name", 5)
    assert set(found.ids) == {"a_1.png", "a_6.png", "a_11.png", "b_5.png", "c.png"}
    assert found.notes()[-1] == "9 frame(s) left out: one of 5 of each video is kept; 9 of these have a label"
    assert "a_3.png" in with_videos(frames(*names), "name", 5, known={"a_3.png"}).ids


def test_groups_that_the_data_name_stay():
    found = with_videos(frames("p_1.png", "q_2.png", "q_3.png", groups=["one", "one", "two"]), every=2)
    assert dict(found.groups) == {"p_1.png": "one", "q_3.png": "two"}
    assert "told by the data" in found.notes()[0]


def test_a_video_that_the_data_split_is_refused():
    with pytest.raises(DataError, match="video 'a_' is split between training and test by the data"):
        with_videos(frames("a_1.png", "a_2.png", roles=["pool", "test"]), "name")


def test_splits_leave_videos_whole():
    names = [f"{video}_{n}.png" for video in "abcdef" for n in range(5)]
    for seed in range(5):
        cut = split(with_videos(frames(*names, labels=[0] * 30), "name"), 0.3, seed)
        sides = defaultdict(set)
        for item in cut.ids:
            sides[item[0]].add(cut.roles.get(item, "pool"))
        assert {len(side) for side in sides.values()} == {1}
        assert list(cut.roles.values()).count("test") == 10


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def shoot(video: str, numbers) -> None:
        (tmp_path / "film" / video).mkdir(parents=True, exist_ok=True)
        for n in numbers:
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / "film" / video / f"{n}.png")

    for video in ("one", "two", "three"):
        shoot(video, range(6))
    return shoot


@pytest.mark.heavy
def test_a_project_of_frames_from_init_to_holdout_and_further_frames(film, tmp_path):
    made = as_json("init", "film", "--classes", "a,b", "--labels", "none", "--every", 2, "--backbone", "pixels")
    assert made["images"] == 9
    assert any(note.startswith("18 frame(s) of 3 video(s), told by the folder") for note in made["notes"])
    assert "9 frame(s) left out: one of 2 of each video is kept" in made["notes"]
    assert "video: folder" in (tmp_path / "labelwise.yaml").read_text()  # found once
    held = as_json("holdout", "-n", 2)["picks"]
    video = held[0].partition("/")[0]
    assert sorted(held) == [f"{video}/{n}.png" for n in (0, 2, 4)]

    film(video, range(6, 9))
    film("four", [0, 1])
    joined = as_json("init", "film", "--every", 2)
    assert joined["new"] == 3
    assert any(note.startswith("2 new image(s) are of videos or groups that are held out") for note in joined["notes"])
    pool = Project(tmp_path).pool
    assert {pool.role(p) for p, item in enumerate(pool.items) if item.group == video} == {"test"}
    free = {pool.ids[p] for p in pool.unlabelled}
    assert "four/0.png" in free
    assert not any(item.startswith(video) for item in free)


@pytest.mark.heavy
def test_what_is_no_rule_is_refused(film):
    assert "'auto', 'folder' or 'name'" in refused("init", "film", "--video", "reel")
    assert run("init", "film", "--every", "0", code=2).exit_code == 2


def test_studies_split_by_video(film, tmp_path):
    from labelwise.config import RecipeConfig, parse
    from labelwise.studies.data import open_labelled

    rows = [f"{v}/{n}.png,{'ab'[n % 2]}" for v in ("one", "two", "three") for n in range(6)]
    (tmp_path / "film" / "labels.csv").write_text("\n".join(["id,label", *rows]))
    data = {"source": str(tmp_path / "film" / "labels.csv"), "video": "folder", "every": 3}
    source = open_labelled(parse(RecipeConfig, {"data": data}, where="test"), base=tmp_path)
    assert len(source.ids) == 6
    tested = {item.partition("/")[0] for item in source.ids if source.roles.get(item) == "test"}
    assert len(tested) == 1
    assert all((source.roles.get(item) == "test") == (item.partition("/")[0] in tested) for item in source.ids)
