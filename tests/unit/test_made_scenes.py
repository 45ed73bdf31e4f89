"""Made scenes: the same each time, as redundant as they say, and their boxes hold what is drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from labelwise.data.made_scenes import CLASSES, redundant_scenes
from labelwise.data.open import open_source
from labelwise.errors import ConfigError
from labelwise.recipes import shipped_plan
from labelwise.studies.comparison import Comparison


def _scene(item: str) -> str:
    return item.split("/")[0]


def test_one_scene_of_five_is_seen_often_and_crosses_are_rare():
    source = redundant_scenes(scenes=10, often=6, seldom=2, test=10)
    views = Counter(_scene(item) for item in source.ids if source.roles.get(item, "pool") == "pool")
    assert sorted(views.values()) == [2] * 8 + [6] * 2
    assert sum(role == "test" for role in source.roles.values()) == 10
    crossed = {
        _scene(item) for item in source.ids for thing in source.truth[item]["objects"] if thing["class"] == "cross"
    }
    assert crossed == {"scene001", "scene006", "test001", "test006"}
    assert source.classes == CLASSES


def test_the_same_arguments_give_the_same_images_and_more_scenes_change_none():
    few, more = (
        redundant_scenes(scenes=5, often=2, seldom=1, test=1),
        redundant_scenes(scenes=6, often=2, seldom=1, test=1),
    )
    shared = [item for item in few.ids if item.startswith("scene")]
    assert all(np.array_equal(few.load(item), more.load(item)) for item in shared)
    assert [few.truth[item] for item in shared] == [more.truth[item] for item in shared]
    other = redundant_scenes(scenes=5, often=2, seldom=1, test=1, seed=1)
    assert few.truth != other.truth


def test_views_of_a_scene_are_nearer_to_each_other_than_to_other_scenes():
    source = redundant_scenes(scenes=6, often=3, seldom=3, test=1)
    pool = [item for item in source.ids if item.startswith("scene")]
    images = np.stack([source.load(item).astype(float).ravel() for item in pool])
    apart = ((images[:, None] - images[None]) ** 2).mean(2)
    same = np.array([[_scene(a) == _scene(b) for b in pool] for a in pool])
    np.fill_diagonal(apart, np.inf)
    assert all(same[row, apart[row].argmin()] for row in range(len(pool)))


def test_boxes_lie_in_the_image_around_what_is_brighter():
    source = redundant_scenes(scenes=5, often=2, seldom=1, test=5)
    for item in source.ids:
        image, (width, height) = source.load(item)[..., 0].astype(float), source.truth[item]["size"]
        assert image.shape == (height, width)
        assert source.truth[item]["objects"]
        for thing in source.truth[item]["objects"]:
            left, top, right, bottom = map(int, thing["box"])
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            x, y = (left + right) // 2, (top + bottom) // 2
            assert image[y - 2 : y + 2, x - 2 : x + 2].mean() > np.median(image) + 15


def test_numbers_below_one_are_refused():
    with pytest.raises(ConfigError, match="seldom is 0: give at least 1"):
        redundant_scenes(seldom=0)


@pytest.mark.heavy
def test_the_recipe_has_all_that_its_rows_need(tmp_path):
    plan = shipped_plan("mi-aod-scenes-mini")
    source = open_source(plan.recipe.data.source)
    assert Counter(source.roles.get(item, "pool") for item in source.ids) == {"pool": 300, "test": 75}
    Comparison(plan.recipe, plan.open(), tmp_path).check()
