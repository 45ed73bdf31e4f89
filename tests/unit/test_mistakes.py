"""What the last model gets wrong: found with its weights, kept in the run, drawn side by side."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import shapes
import tiny
from labelwise.campaign import mistakes as module
from labelwise.campaign.mistakes import flat_map, last_mistakes, mistakes
from labelwise.campaign.records import Mistakes, RoundRecord, RunRecord, Study, read_study
from labelwise.config import RecipeConfig, parse
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget
from labelwise.errors import FormatError, UnmetNeed
from labelwise.report.confusion import MOST_CLASSES, confusion_of, confusion_picture
from labelwise.report.curves import Look
from labelwise.report.feature_map import map_picture, rings
from labelwise.report.mistakes import shown_mistakes
from labelwise.signals import PredictedClass
from labelwise.strategies import STRATEGIES
from labelwise.studies.comparison import Comparison, compare_strategies

SOURCE = tiny.digits(90, test=40)
TESTS = SOURCE.ids[50:]


def _campaign(folder, source=SOURCE, learner=None, **setting):
    found = tiny.campaign(folder, source, learner or tiny.torch_learner(), labelled=source.ids[:10], **setting)
    found.fit()
    return found


def _run(folder):
    """A campaign of two rounds of five picks."""
    found = tiny.campaign(folder, SOURCE, tiny.torch_learner(), labelled=SOURCE.ids[:10], truth=SOURCE.truth)
    records = list(found.rounds(STRATEGIES.create("margin"), HeldBack(SOURCE.truth), Budget(5), count=2))
    return found, records


# ---- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["torch", "features"])
def test_confusions_are_counted_image_by_image(tmp_path, kind):
    learner = tiny.torch_learner() if kind == "torch" else tiny.feature_learner(SOURCE)
    campaign = _campaign(tmp_path, learner=learner)
    found = mistakes(campaign, mapped=None)
    table = learner.collect(tiny.view(SOURCE, TESTS), frozenset({PredictedClass()}))
    counts = Counter()
    for item, predicted in zip(table.ids, table[PredictedClass()].tolist(), strict=True):
        counts[int(SOURCE.truth[item]), predicted] += 1
    assert {(true, predicted): n for true, predicted, n in found.confusion} == counts
    right = sum(n for true, predicted, n in found.confusion if true == predicted)
    assert right / found.tested == pytest.approx(campaign.evaluate("test")["accuracy"])
    assert (found.tested, found.points) == (40, [])


def test_images_that_cannot_be_read_are_left_out(tmp_path):
    source = tiny.Broken(SOURCE, TESTS[:3])
    found = mistakes(_campaign(tmp_path, source))
    assert found.tested == sum(n for *_, n in found.confusion) == 37
    assert len(found.points) == 37


@pytest.mark.heavy
def test_the_map_shows_tests_and_picks_and_is_the_same_again(tmp_path):
    campaign, records = _run(tmp_path)
    one, two = mistakes(campaign), mistakes(campaign)
    assert one == two
    points = np.array(one.points)
    assert points.shape == (50, 5)
    assert points[:, 4].sum() == one.picked == 10, "the initial set was not picked"
    assert points[:, :2].min() == 0
    assert points[:, :2].max() == 1
    pairs = Counter((int(row[2]), int(row[3])) for row in one.points if not row[4])
    assert [[true, predicted, n] for (true, predicted), n in sorted(pairs.items())] == one.confusion
    assert mistakes(campaign, before=1).picked == len(records[0].picked) == 5


@pytest.mark.heavy
def test_of_many_images_some_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHOWN_TESTS", 20)
    monkeypatch.setattr(module, "SHOWN_PICKS", 4)
    found = mistakes(_run(tmp_path)[0])
    assert Counter(row[4] for row in found.points) == {0: 20, 1: 4}
    assert (found.tested, found.picked) == (40, 10)


@pytest.mark.heavy
def test_where_there_is_nothing_to_say(tmp_path):
    untrained = tiny.campaign(tmp_path / "a", SOURCE, tiny.torch_learner(), labelled=SOURCE.ids[:10])
    assert mistakes(untrained) is None
    assert mistakes(_campaign(tmp_path / "b", tiny.digits(30))) is None, "no test image"
    few = mistakes(_campaign(tmp_path / "c", tiny.digits(30, test=module.FEWEST - 1)))
    assert few.points == []
    assert few.tested == module.FEWEST - 1
    boxes = shapes.Shapes(12, reference=3)
    boxed = tiny.campaign(tmp_path / "d", boxes, shapes.learner(), labelled=boxes.ids[:6])
    boxed.fit()
    assert mistakes(boxed) is None, "no one class an image"


def test_a_model_that_diverged_has_confusions_and_no_map(tmp_path):
    campaign = _campaign(tmp_path)
    with torch.no_grad():
        campaign.setting.learner.networks.nets[0].hidden.weight.fill_(float("nan"))
    found = mistakes(campaign)
    assert found.points == []
    assert sum(n for *_, n in found.confusion) == 40


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.heavy)])
def test_a_map_keeps_neighbours_together(method):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 30)
    rows = (np.eye(3, 60)[groups] * 20 + rng.normal(size=(90, 60))).astype(np.float32)
    places = flat_map(rows, seed=2**40, method=method)
    np.testing.assert_array_equal(places, flat_map(rows, seed=2**40, method=method))
    assert places.min() == 0
    assert places.max() == 1
    centres = np.stack([places[groups == group].mean(0) for group in range(3)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
    assert (nearest == groups).mean() > 0.95


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("width", [1, 2])
def test_a_map_of_features_of_few_dimensions(width, method):
    rows = np.random.default_rng(0).normal(size=(20, width)).astype(np.float32)
    assert flat_map(rows, seed=0, method=method).shape == (20, 2)


def test_umap_where_it_is_not_installed_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    values = {"data": {"source": "unused"}, "learner": {"kind": "tiny:counting_learner"}, "map": "umap"}
    values |= {"input": {"size": 16, "channels": 1}, "initial": 10, "batch": 5, "rounds": 1, "seeds": 1}
    tiny.FITS.clear()
    with pytest.raises(UnmetNeed, match=r"labelwise\[viz\]"):
        Comparison(parse(RecipeConfig, values, where="test"), tiny.digits(60, test=20), tmp_path).run()
    assert tiny.FITS == []


# ---- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_found_once_and_kept_with_the_run(tmp_path):
    campaign, records = _run(tmp_path)
    opened = []

    def open_campaign():
        opened.append(1)
        return campaign

    ask = lambda mapped: last_mistakes(tmp_path, records[-1], open_campaign, mapped=mapped)  # noqa: E731
    first = ask(None)
    assert ask(None) == first == mistakes(campaign, mapped=None)
    assert len(opened) == 1
    assert ask("tsne").points
    assert len(opened) == 2, "a map was not there yet"
    earlier = last_mistakes(tmp_path, records[0], open_campaign, mapped="tsne")
    assert earlier != ask("tsne"), "of the weights of that round"
    assert earlier.picked == 0
    gone = dataclasses.replace(records[-1], fit_key="0" * 32)
    assert last_mistakes(tmp_path, gone, open_campaign, mapped="tsne") is None


@pytest.mark.heavy
def test_a_study_keeps_them_and_maps_the_first_seed(tmp_path):
    study = compare_strategies(
        SOURCE, lambda task: tiny.torch_learner(task), out=tmp_path, strategies=["random", "margin"], initial=10,
        batch=5, rounds=1, seeds=2, input={"size": 16, "channels": 1, "augment": "none"},
    )  # fmt: skip
    assert [(run.seed, bool(run.mistakes.points)) for run in study.runs] == [
        (0, True),
        (0, True),
        (1, False),
        (1, False),
    ]
    for run in study.runs:
        assert run.mistakes.picked == 5, "what lay in the initial set was not picked"
        right = sum(n for true, predicted, n in run.mistakes.confusion if true == predicted)
        assert right / 40 == pytest.approx(run.rounds[-1].metrics["accuracy"])
    assert read_study(tmp_path / "study.json").runs == study.runs


@pytest.mark.parametrize(
    "wrong",
    [
        {"confusion": [[0, 1]]},
        {"confusion": [[0, "a", 1]]},
        {"confusion": [[0, None, 1]]},
        {"confusion": [[0, -1, 1]]},
        {"confusion": 3},
        {"confusion": [], "points": [[0, 0]]},
        {"points": []},
    ],
)
def test_damaged_records_are_refused(wrong):
    run = {"strategy": "random", "seed": 0, "rounds": [], "mistakes": wrong}
    with pytest.raises(FormatError) as caught:
        RunRecord.from_json(run)
    assert "\n" not in str(caught.value)


def test_records_of_before_are_read():
    run = RunRecord(strategy="random", seed=0, rounds=[RoundRecord(round=0, labels=1, metrics={})])
    assert "mistakes" not in run.to_json()
    assert RunRecord.from_json(run.to_json()).mistakes is None


# ---- what is drawn --------------------------------------------------------------------------------------------------


def _by_hand(rows, classes):
    """{(true, predicted): share}, counted one by one."""
    total = Counter()
    for true, _, n in rows:
        total[true] += n
    shares = Counter()
    for true, predicted, n in rows:
        shares[true, predicted] += n / total[true]
    return {(t, p): shares[t, p] if total[t] else float("nan") for t in range(classes) for p in range(classes)}


def test_shares_of_each_true_class():
    rng = np.random.default_rng(0)
    rows = [[int(a), int(b), int(n)] for a, b, n in rng.integers(0, 5, (40, 3)) if a != 3]
    found = confusion_of({"one": rows}, [f"c{c}" for c in range(6)])
    for (true, predicted), share in _by_hand(rows, 6).items():
        np.testing.assert_allclose(found.shares["one"][true, predicted], share)
    assert np.isnan(found.shares["one"][3]).all(), "no test image of it"
    assert not found.left_out


def test_of_many_classes_those_that_are_found_least_often():
    rng = np.random.default_rng(1)
    names = [f"c{c:02}" for c in range(30)]
    counts = {
        model: [
            [c, int(p), int(n)] for c in range(29) for p, n in zip(rng.permutation(30)[:4], (5, 1, 2, 0), strict=True)
        ]
        + [[c, c, 2 * c] for c in range(29)]
        for model in ("one", "two")
    }
    hands = {model: _by_hand(rows, 30) for model, rows in counts.items()}
    recall = {c: np.mean([hands[model][c, c] for model in counts]) for c in range(29)}
    worst = sorted(sorted(recall, key=recall.get)[:MOST_CLASSES])
    found = confusion_of(counts, names)
    assert found.left_out
    assert list(found.rows) == [names[c] for c in worst], "a class without a test image is none of them"
    assert list(found.columns) == [*found.rows, "other"]
    for model, matrix in found.shares.items():
        np.testing.assert_allclose(matrix.sum(1), 1)
        for row, true in enumerate(worst):
            np.testing.assert_allclose(matrix[row, :-1], [hands[model][true, c] for c in worst])


def _crowd(rng, centre, count, true, predicted, picked=0):
    return [[*map(float, place), true, predicted, picked] for place in rng.normal(centre, 0.03, (count, 2))]


def test_ellipses_lie_where_the_errors_are():
    rng = np.random.default_rng(0)
    points = _crowd(rng, (0.5, 0.5), 300, 0, 0)
    points += _crowd(rng, (0.2, 0.7), 20, 1, 2) + _crowd(rng, (0.8, 0.3), 9, 2, 1)
    points += _crowd(rng, (0.1, 0.1), 4, 0, 1) + _crowd(rng, (0.9, 0.9), 50, 0, 2, picked=1)
    found = rings(points, ["a", "b", "c"])
    assert [ring.text for ring in found] == ["b → c", "c → b"], "four are too few, and picks are no test images"
    for ring, centre in zip(found, ((0.2, 0.7), (0.8, 0.3)), strict=True):
        np.testing.assert_allclose(ring.centre, centre, atol=0.03)
        assert 0.02 < ring.height <= ring.width < 0.2


def test_ellipses_follow_the_direction_of_the_errors():
    along = np.linspace(-0.2, 0.2, 41)
    points = [[0.5 + t, 0.5 + t, 0, 1, 0] for t in along]
    (ring,) = rings(points, ["a", "b"])
    assert ring.angle % 180 == pytest.approx(45, abs=1)
    assert ring.width > 3 * ring.height
    same = rings([[0.5, 0.5, 0, 1, 0]] * 6, ["a", "b"])
    assert same[0].width > 0, "one place is a small circle"


def _found(classes=10, tested=60):
    rng = np.random.default_rng(classes)
    rows = [[int(c), int(p), 3] for c in range(classes) for p in (c, (c + 1) % classes)]
    places, true = rng.random((tested, 2)), rng.integers(0, classes, tested)
    points = [
        [*place, int(c), int(c + (k % 3 == 0)) % classes, int(k % 5 == 0)]
        for k, (place, c) in enumerate(zip(places.tolist(), true, strict=True))
    ]
    return Mistakes(confusion=rows, points=points, tested=6 * classes, picked=500)


@pytest.mark.heavy
@pytest.mark.parametrize("look", [Look(dpi=40), Look(dark=True, width=4.0, height=3.3, dpi=40, transparent=True)])
@pytest.mark.parametrize("models", [1, 2, 4])
def test_pictures_of_any_number_of_models_and_classes(look, models):
    for classes in (2, 13):
        names = ["$a_b$ {x}", "_hidden", *(f"{'long ' * 9}{c}" for c in range(classes - 2))]
        several = {f"model_{m}({'x' * 40})": _found(classes) for m in range(models)}
        confusion = confusion_of({name: m.confusion for name, m in several.items()}, names)
        pictures = [confusion_picture(confusion, look=look)]
        pictures.append(map_picture({name: m.points for name, m in several.items()}, names, look=look))
        for data in pictures:
            with Image.open(io.BytesIO(data)) as image:
                assert image.width == round(look.width * look.dpi)
                assert image.height < 12 * models * look.dpi


@pytest.fixture
def _coarse(monkeypatch):
    from labelwise.report import renderings

    monkeypatch.setattr(renderings, "LOOKS", {"wide": Look(dpi=20)})


@pytest.mark.heavy
@pytest.mark.usefixtures("_coarse")
def test_captions_say_what_is_left_out():
    names = [f"c{c}" for c in range(40)]
    shown = shown_mistakes({f"model {m}": [_found(40), _found(40)] for m in range(8)}, names)
    assert "Images of 2 seeds counted together." in shown["confusion_caption"]
    assert "the 12 of 40 classes that are found least often" in shown["confusion_caption"]
    assert "Shown: 6 of 8 strategies" in shown["confusion_caption"]
    assert shown["confusion"]["alt"].endswith("model 4, model 7"), "the last is the baseline"
    assert "Drawn: 48 of 240 test images and 12 of 500 picks" in shown["map_caption"]
    assert "40 classes are too many for colours" in shown["map_caption"]
    assert "Shown: 4 of 8 strategies" in shown["map_caption"]
    small = shown_mistakes({"margin": [dataclasses.replace(_found(3), points=[])]}, ["a", "b", "c"])
    assert small["map"] is None
    assert "Shown" not in small["confusion_caption"]
    assert "seed" not in small["confusion_caption"]
    assert shown_mistakes({}, names) is None


@pytest.mark.usefixtures("_coarse")
def test_names_that_are_too_few_give_way_to_numbers():
    assert shown_mistakes({"margin": [_found(4)]}, ["a", "b"])["confusion"]["wide"]["width"] > 0


@pytest.mark.usefixtures("_coarse")
def test_pages_have_a_section_where_something_is_known(tmp_path, monkeypatch):
    from labelwise.report import html, project

    monkeypatch.setattr(html, "picture", lambda draw, alt: {"alt": alt, **_STILL})
    monkeypatch.setattr(project, "picture", html.picture)
    monkeypatch.setattr("labelwise.report.mistakes.picture", html.picture)
    rounds = [RoundRecord(round=0, labels=10, metrics={"accuracy": 0.5}, picked=["a"])]
    rounds.append(RoundRecord(round=1, labels=11, metrics={"accuracy": 0.6}))
    for found, shown in ((_found(3), True), (None, False)):
        runs = [RunRecord(strategy=name, seed=0, rounds=rounds, mistakes=found) for name in ("margin", "random")]
        study = Study(name="s", task="classification", primary="accuracy", runs=runs, pool={"classes": ["a", "b", "c"]})
        page = html.write_study_report(study, tmp_path / "study.html").read_text()
        assert ("What is taken for what" in page) is ('href="#mistakes"' in page) is shown
        assert ("Confusion matrices of margin, random" in page) is shown, "the baseline last"
        state = project.ProjectState(
            name="p", task="classification", strategy="margin", progress={"labelled": 11, "unlabelled": 4},
            class_counts={"a": 5, "b": 6, "c": 0}, mistakes=found,
        )  # fmt: skip
        page = project.write_project_report(state, tmp_path / "project.html").read_text()
        assert ("Confusion matrices of margin, 11 labels" in page) is shown


_STILL = {name: {"uri": "data:,", "width": 1, "height": 1} for name in ("wide", "wide_dark", "narrow", "narrow_dark")}
