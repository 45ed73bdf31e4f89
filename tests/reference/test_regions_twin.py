"""What a model says of regions against slow twins: means over pixels, embeddings, draws, and what trainings read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import painted
from labelwise.contracts.learner import Examples
from labelwise.contracts.passes import Dropout
from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.contracts.task import Outputs
from labelwise.data.mask_labels import mask_of
from labelwise.data.regions import Regions
from labelwise.data.superpixels import Superpixels
from labelwise.data.views import View as SourceView
from labelwise.errors import UnmetNeed
from labelwise.learners.regions import RegionsOfBatch
from labelwise.signals.draws import DrawUncertainty
from labelwise.signals.plain import Embedding, Uncertainty

DRAWS = Dropout(draws=3)
SIGNALS = frozenset({
    Uncertainty(measure="entropy", reduction="mean"),
    Uncertainty(measure="margin", reduction="max"),
    DrawUncertainty(measure="predictive_entropy", source=DRAWS),
    DrawUncertainty(measure="bald", source=DRAWS),
    Embedding(),
})  # fmt: skip


def outputs_of(rng, images, size, classes=3, cells=(2, 3), width=4):
    """Made-up outputs of a batch."""
    pixels = images * size[0] * size[1]
    probs = torch.from_numpy(rng.random((pixels, classes))).softmax(1)
    maps = torch.from_numpy(rng.normal(size=(images, width, *cells)))
    items = torch.arange(images).repeat_interleave(size[0] * size[1])
    return Outputs(images, items, probs, extra={"map_embedding": maps})


def slow_regions(maps, size, outputs):
    """Pixel by pixel: for each region the pixels of the input it has, and the mean of the map's cells there."""
    height, width = size
    cells = outputs.extra["map_embedding"]
    means, embeddings = [], []
    for image, found in enumerate(maps):
        for region in range(1, int(found.max()) + 1):
            mine = []
            for y in range(height):
                for x in range(width):
                    there = found[int((y + 0.5) * found.shape[0] / height), int((x + 0.5) * found.shape[1] / width)]
                    if there == region:
                        mine.append((y, x))
            if not mine:
                ys, xs = np.nonzero(found == region)
                mine = [
                    (int((ys.mean() + 0.5) * height / found.shape[0]), int((xs.mean() + 0.5) * width / found.shape[1]))
                ]
            rows = [image * height * width + y * width + x for y, x in mine]
            means.append(outputs.probs_UC[rows].mean(0).numpy())
            at = [(int((y + 0.5) * cells.shape[2] / height), int((x + 0.5) * cells.shape[3] / width)) for y, x in mine]
            embeddings.append(np.mean([cells[image, :, y, x].numpy() for y, x in at], axis=0))
    return np.array(means), np.array(embeddings)


@pytest.mark.parametrize(
    ("shape", "size"), [((9, 12), (9, 12)), ((9, 12), (4, 5)), ((9, 12), (20, 31)), ((1, 7), (2, 2))]
)
def test_regions_of_a_batch_are_what_a_loop_over_pixels_finds(shape, size):
    rng = np.random.default_rng(sum(shape) + sum(size))
    maps = []
    for count in (1, 5, 7):
        # every region occurs; some of them are a single pixel that a smaller input loses
        found = rng.integers(1, count + 1, shape)
        found.flat[rng.permutation(found.size)[:count]] = np.arange(1, count + 1)
        maps.append(found)
    outputs = outputs_of(rng, len(maps), size)
    batch = RegionsOfBatch.of([torch.from_numpy(found) for found in maps], size, torch.device("cpu"))
    cut = batch.of_outputs(outputs)
    assert cut.size == sum(int(found.max()) for found in maps)
    means, embeddings = slow_regions(maps, size, outputs)
    sums = torch.zeros(cut.size, 3, dtype=torch.float64).index_add(0, cut.unit_item_U, cut.probs_UC)
    counts = cut.unit_item_U.bincount(minlength=cut.size)
    assert (counts > 0).all(), "a region always has a pixel"
    assert np.allclose((sums / counts[:, None]).numpy(), means)
    assert np.allclose(cut.extra["embedding"].numpy(), embeddings, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    source, learner = painted.trained()
    source = SourceView(source, ids=source.ids[:12])
    return Regions(source, Superpixels(count=8)), learner


def dense(learner, regions, image, signal):
    """The map of one image at the size of the input, by itself: probabilities of each pass, then the measure."""
    task = learner.task
    batch = task.batch(task.input.prepare(regions.load(image))[None], None, train=False)
    with torch.inference_mode():
        first = learner.networks.outputs(batch, frozenset({"probs"}))
        if isinstance(signal, Uncertainty):
            return first.probs_UC.double()[None]
        passes = list(learner.networks.drawn(batch, DRAWS, first, seed=7, want=frozenset()))
    return torch.stack([drawn.probs_UC.double() for drawn in passes])


def entropy_of(probs):
    return -(probs * probs.clamp_min(1e-300).log()).sum(-1)


def measured(signal, probs_TUC):
    mean = probs_TUC.mean(0)
    if signal.measure == "margin":
        two = mean.topk(2, dim=1).values
        return 1 - (two[:, 0] - two[:, 1])
    if signal.measure == "bald":
        return entropy_of(mean) - entropy_of(probs_TUC).mean(0)
    return entropy_of(mean)


@pytest.mark.heavy
def test_scores_of_regions_are_those_of_the_maps_of_their_images(trained):
    regions, learner = trained
    asked = [item for item in regions.ids if regions.within(item)[1] is not None][3:30]
    table = learner.collect(Examples(regions, tuple(asked)), SIGNALS, seed=7)
    assert table.ids == tuple(asked)
    for signal in SIGNALS - {Embedding()}:
        for row, item in enumerate(asked):
            image, number = regions.image_of(item), regions.number(item)
            maps = [torch.from_numpy(regions.map_of(image).astype(np.int64))]
            where = RegionsOfBatch.of(maps, learner.task.input.size, torch.device("cpu"))
            inside = measured(signal, dense(learner, regions, image, signal))[where.pixel_U[where.item_U == number - 1]]
            expected = inside.max() if signal.reduction == "max" else inside.mean()
            assert table[signal][row] == pytest.approx(float(expected), rel=1e-4, abs=1e-6), (signal, item)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("lacking", "match"),
    [({"per_pixel"}, "says nothing of pixels, so nothing of regions"), ({"map_embedding"}, "embeds images as a whole")],
)
def test_a_task_that_cannot_speak_of_regions_says_so(monkeypatch, trained, lacking, match):
    regions, learner = trained
    task = type(learner.task)
    monkeypatch.setattr(task, "provides", task.provides - lacking)
    asked = tuple(item for item in regions.ids if regions.within(item)[1] is not None)[:2]
    with pytest.raises(UnmetNeed, match=match):
        learner.collect(Examples(regions, asked), frozenset({Embedding()}), seed=7)


def test_what_is_said_of_a_region_depends_on_nothing_else(trained):
    regions, learner = trained
    image = regions.source.ids[1]
    mine = tuple(item for item in regions.ids if regions.image_of(item) == image and item != image)
    alone = learner.collect(Examples(regions, mine), SIGNALS, seed=7)
    everything = learner.collect(Examples(regions, regions.ids), SIGNALS, seed=7)
    at = [everything.ids.index(item) for item in mine]
    for signal in SIGNALS:
        assert np.allclose(everything[signal][at], alone[signal], rtol=1e-4, atol=1e-6)
        single = learner.collect(Examples(regions, mine[:1]), frozenset({signal}), seed=7)
        assert np.allclose(single[signal], alone[signal][:1], rtol=1e-4, atol=1e-6)


def test_images_beside_regions_keep_their_own_rows(trained):
    regions, learner = trained
    images = regions.source.ids[:3]
    mixed = (f"{images[0]}#2", images[2], f"{images[1]}#1", images[0])
    table = learner.collect(Examples(regions, mixed), SIGNALS, seed=7)
    whole = learner.collect(Examples(regions.source, (images[2], images[0])), SIGNALS, seed=7)
    assert table.ids == mixed
    for signal in SIGNALS:
        assert np.allclose(table[signal][[1, 3]], whole[signal], rtol=1e-4, atol=1e-6)


def test_a_training_reads_an_image_once_with_what_all_its_regions_say(tmp_path, trained):
    from labelwise.campaign.events import added
    from labelwise.campaign.loop import Campaign
    from labelwise.campaign.setting import Setting
    from labelwise.campaign.store import Store
    from labelwise.contracts.oracle import Answer
    from labelwise.signals.cache import SignalCache

    regions, learner = trained
    store = Store(tmp_path / "state", create=True)
    store.append([added(regions, item) for item in regions.ids])
    campaign = Campaign(store, Setting(regions, learner.task, learner, SignalCache(None), truth=regions.truth))
    one, two = regions.source.ids[:2]
    assert {regions.within(campaign.pool.ids[p])[1] for p in campaign.pool.candidates} == {None}, "images come first"
    some = [f"{one}#1", f"{one}#3", f"{two}#2"]
    campaign.answer([Answer(item, regions.truth[item], regions.price(item)) for item in some])
    data = campaign.examples.data()
    assert data.labelled.ids == (one, two)
    whole = mask_of(regions.source.truth[one]).whole().numpy()
    asked = np.isin(regions.map_of(one), (1, 3))
    merged = data.labelled.targets[0].whole().numpy()
    assert np.array_equal(merged[asked], whole[asked])
    assert (merged[~asked] == IGNORE).all()
    assert all(regions.within(campaign.pool.ids[p])[1] is not None for p in campaign.pool.candidates), "then regions"
    assert not set(some) & {campaign.pool.ids[p] for p in campaign.pool.candidates}
    assert one not in [campaign.pool.ids[p] for p in campaign.pool.unlabelled], "an image with a labelled region"
    cost = campaign.pool.cost()
    assert cost["regions"] == 3
    assert "images" not in cost
    assert cost["pixels"] == sum(mask_of(regions.truth[item]).pixels for item in some)
    joined = Mask.join([mask_of(regions.truth[item]) for item in some[:2]])
    assert data.labelled.targets[0] == joined
    store.close()
