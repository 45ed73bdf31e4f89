"""Regions of drawn scenes: studies that ask for them, budgets in pixels and clicks, and a project with people."""

from __future__ import annotations

import numpy as np
import pytest

import painted
from labelwise.data.mask_labels import mask_of
from labelwise.data.regions import Regions
from labelwise.data.superpixels import Superpixels
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.studies.comparison import compare_strategies

INPUT = {"size": list(painted.INPUT), "augment": "none"}
STUDY = {"task": "segmentation", "input": INPUT, "initial": 3, "batch": 6, "rounds": 2, "seeds": 1}
STUDY |= {"full": False, "again": 0}


def study(tmp_path, regions, **changes):
    return compare_strategies(
        painted.Painted(20, test=6),
        lambda task: painted.learner(),
        out=tmp_path / "study",
        **({"strategies": ["random", "entropy"], "regions": regions} | STUDY | changes),
    )


@pytest.mark.heavy
def test_a_study_asks_for_regions_and_counts_what_they_cost(tmp_path):
    found = study(tmp_path, {"count": 6}, strategies=["random", "entropy", "k_center", "predictive_entropy"], again=1)
    assert [(r.round, r.labels) for r in found.runs[0].again] == [(0, 3), (2, 15)], "the labels of both are found"
    assert {r.fit_key for r in found.runs[0].again}.isdisjoint(r.fit_key for r in found.runs[0].rounds)
    for run in found.runs:
        first, second, last = run.rounds
        assert [r.labels for r in run.rounds] == [3, 9, 15]
        assert first.cost["images"] == last.cost["images"] == 3
        assert (second.cost["regions"], last.cost["regions"]) == (6, 12)
        assert last.cost["clicks"] >= first.cost["clicks"] + 12
        picked = [*first.picked, *second.picked]
        assert len(set(picked)) == 12
        assert all("#" in item for item in picked)
        assert all(np.isfinite(r.metrics["miou"]) for r in run.rounds)
    # all strategies of a seed start from the same images and weights
    assert len({run.rounds[0].metrics["miou"] for run in found.runs}) == 1
    again = study(tmp_path, {"count": 6}, strategies=["random", "entropy", "k_center", "predictive_entropy"])
    assert [run.rounds[-1].metrics for run in again.runs] == [run.rounds[-1].metrics for run in found.runs]


@pytest.mark.heavy
@pytest.mark.parametrize("annotate", ["dominant", "instances"])
def test_other_ways_to_annotate(tmp_path, annotate):
    (run,) = study(tmp_path, {"count": 6, "annotate": annotate}, strategies=["random"], rounds=1).runs
    spent = {
        unit: run.rounds[-1].cost[unit] - run.rounds[0].cost.get(unit, 0) for unit in ("regions", "clicks", "pixels")
    }
    assert spent["regions"] == 6
    assert spent["clicks"] == 6 if annotate == "dominant" else spent["clicks"] > 6
    assert spent["pixels"] > 0


@pytest.mark.heavy
def test_a_budget_in_pixels_buys_as_many_regions_as_fit(tmp_path):
    (run,) = study(tmp_path, {"count": 6, "unit": "pixels"}, strategies=["random"], batch=500, rounds=1).runs
    source = painted.Painted(20, test=6)
    regions = Regions(source, Superpixels(count=6))
    areas = regions.expected_cost(run.rounds[0].picked, "pixels")
    assert areas.sum() <= 500
    assert len(areas) >= 2
    for item, area in zip(run.rounds[0].picked, areas, strict=True):
        assert area == (regions.map_of(regions.image_of(item)) == regions.number(item)).sum()
        assert mask_of(regions.truth[item]).pixels <= area


def test_more_regions_than_there_are(tmp_path):
    with pytest.raises(ConfigError, match="regions asked for, and 14 images without the 3 initial"):
        study(tmp_path, {"count": 6}, batch=500)
    with pytest.raises(ConfigError, match="15 initial images asked for, and the pool has 14"):
        study(tmp_path, {"count": 6}, initial=15)
    with pytest.raises(ConfigError, match="segmentation only"):
        study(tmp_path, {"count": 6}, task="classification")


@pytest.mark.heavy
def test_frozen_features_of_a_region_are_those_of_its_bounding_box(tmp_path):
    (run,) = study(
        tmp_path,
        {"count": 6},
        strategies=[{"name": "k_center", "features": "frozen"}],
        features={"backbone": "pixels", "size": 8},
        rounds=1,
    ).runs
    assert len(set(run.rounds[0].picked)) == 6
    assert all("#" in item for item in run.rounds[0].picked)


@pytest.mark.parametrize("name", ["badge", "uniform", "true_loss", "galaxy"])
def test_what_cannot_speak_of_regions_is_refused_before_anything_is_trained(tmp_path, name):
    with pytest.raises(UnmetNeed, match=r"choose another|whole images"):
        study(tmp_path, {"count": 6}, strategies=[name])
    assert not list(tmp_path.rglob("fit.json"))
