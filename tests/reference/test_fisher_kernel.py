"""Fisher-kernel matching against slow twins: one image, one pair, one rank at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import tiny
from labelwise.campaign.plan import Offer
from labelwise.contracts.query import Budget
from labelwise.contracts.signal import ProbeContext
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.models.taps import Taps
from labelwise.rng import generator
from labelwise.selection import fisher_kernel as core
from labelwise.selection.fisher_kernel import FisherKernel, Moments
from labelwise.signals import descriptors
from labelwise.signals.descriptors import Descriptors, turned
from labelwise.strategies import STRATEGIES
from labelwise.strategies.fisher import Fisher

SOURCE = tiny.digits(90, reference=30)
POOL, REFERENCE = SOURCE.ids[:60], SOURCE.ids[60:]
LABELLED = SOURCE.ids[:12]
LAYERS = ("conv", "hidden")
DATA = tiny.learner_data(SOURCE, LABELLED, reference=REFERENCE)


@pytest.fixture(scope="module")
def learner():
    made = tiny.torch_learner(batch_size=16)
    made.fit(DATA, 0)
    return made


def _rng(seed=0):
    return np.random.default_rng(seed)


# ---- standardising and similarity -----------------------------------------------------------------------------------


def _standardised(levels, equal=False):
    rows = []
    for n in range(len(levels[0])):
        row = []
        for level in levels:
            x = level[n].double().numpy()
            if len(x) < 2:
                row += [0.0] * len(x)
                continue
            spread = math.sqrt(sum((v - x.mean()) ** 2 for v in x) / (len(x) - 1)) + 1e-10
            row += [(v - x.mean()) / spread / (math.sqrt(len(x) - 1) if equal else 1) for v in x]
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize("equal", [False, True])
def test_levels_are_standardised_one_by_one(equal):
    levels = [torch.randn(5, 7), torch.rand(5, 3) * 100, torch.zeros(5, 4), torch.randn(5, 1), torch.randn(5, 2)]
    found = core.standardised(levels, equal=equal)
    torch.testing.assert_close(found.double(), _standardised(levels, equal), rtol=1e-5, atol=1e-5)
    # a dot product is a sum of correlations, weighted by channels or alike
    rho = np.corrcoef(levels[0].numpy())[0, 1]
    assert float(found[0, :7] @ found[1, :7]) == pytest.approx(rho * (1 if equal else 6), abs=1e-4)


@pytest.mark.parametrize("combine", ["sum", "product"])
def test_similarity_is_that_of_one_pair(combine):
    a, b = torch.randn(4, 6), torch.randn(3, 6)
    found = FisherKernel(combine, features=2)(a, b)
    for i in range(4):
        for j in range(3):
            z, g = float(a[i, :2] @ b[j, :2]), float(a[i, 2:] @ b[j, 2:])
            assert float(found[i, j]) == pytest.approx(z + g if combine == "sum" else z * g, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_the_nearest_row_in_blocks(block, monkeypatch):
    monkeypatch.setattr(core, "_BLOCK", block)
    rows, keys = torch.randn(9, 5), torch.randn(23, 5)
    keys[11] = keys[4]
    expected = [max(range(23), key=lambda j: (float(row.double() @ keys[j].double()), -j)) for row in rows]
    assert core.nearest_row(rows, keys).tolist() == expected
    assert core.nearest_row(torch.zeros(2, 5), keys).tolist() == [0, 0]
    with pytest.raises(DataError, match="no rows"):
        core.nearest_row(rows, keys[:0])


# ---- failures and matches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [FisherKernel(), FisherKernel("product", features=3)])
@pytest.mark.parametrize("seed", range(4))
def test_each_centre_is_least_like_those_before(seed, kernel):
    rows = torch.from_numpy(_rng(seed).integers(-3, 4, (20, 6))).float()
    rows[7] = rows[3]
    picks = core.spread_centres(rows, 9, kernel=kernel, rng=_rng(seed)).tolist()
    assert len(set(picks)) == 9
    similar = kernel(rows, rows)
    for n in range(1, 9):
        best = {j: max(float(similar[j, i]) for i in picks[:n]) for j in range(20) if j not in picks[:n]}
        assert best[picks[n]] == min(best.values())


def test_the_first_centre_and_equals_are_drawn():
    rows = torch.ones(6, 2)
    assert {core.spread_centres(rows, 1, rng=_rng(seed)).item() for seed in range(40)} == set(range(6))
    assert {core.spread_centres(rows, 2, rng=_rng(seed))[1].item() for seed in range(60)} == set(range(6))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_failures_are_kept_where_there_are_few(count):
    assert sorted(core.spread_centres(torch.randn(count, 3), count, rng=_rng()).tolist()) == list(range(count))
    with pytest.raises(ConfigError, match="failures"):
        core.spread_centres(torch.randn(count, 3), count + 1, rng=_rng())


def _matched(rows, centres, k, kernel):
    """Rank by rank, the most similar first; a candidate counts at its best rank."""
    similar = kernel(centres, rows)
    ranked = [sorted(range(len(rows)), key=lambda i, p=p: -float(similar[p, i])) for p in range(len(centres))]
    chosen = []
    for rank in range(len(rows)):
        column = sorted(range(len(centres)), key=lambda p, r=rank: -float(similar[p, ranked[p][r]]))
        for p in column:
            if ranked[p][rank] not in chosen:
                chosen.append(ranked[p][rank])
    return chosen[:k]


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
@pytest.mark.parametrize(("centres", "k"), [(1, 1), (1, 40), (3, 12), (8, 8), (8, 40), (40, 5)])
def test_matches_are_merged_rank_by_rank(centres, k, block, monkeypatch):
    monkeypatch.setattr(core, "_BLOCK", block)
    rows, sought = torch.randn(40, 6), torch.randn(centres, 6)
    for kernel in (FisherKernel(), FisherKernel("product", features=3)):
        found = core.matches(rows, sought, k, kernel=kernel, rng=_rng())
        assert found.tolist() == _matched(rows, sought, k, kernel)


def test_matches_stay_among_the_candidates():
    rows = torch.randn(30, 4)
    allowed = torch.tensor([3, 5, 8, 13, 21])
    assert set(core.matches(rows, torch.randn(2, 4), 5, candidates_M=allowed, rng=_rng()).tolist()) == set(
        allowed.tolist()
    )
    assert core.matches(rows, torch.randn(2, 4), 0, rng=_rng()).tolist() == []


def test_equal_matches_are_drawn():
    rows = torch.ones(12, 3)
    found = {core.matches(rows, torch.ones(2, 3), 1, rng=_rng(seed)).item() for seed in range(80)}
    assert len(found) > 8
    rows[5, 0] = math.nan
    with pytest.raises(DataError, match="diverge"):
        core.matches(rows, torch.ones(1, 3), 2, rng=_rng())
    with pytest.raises(DataError, match="no centre"):
        core.matches(rows, torch.ones(0, 3), 2, rng=_rng())
    with pytest.raises(ConfigError, match="13 picks"):
        core.matches(rows, torch.ones(1, 3), 13, rng=_rng())


# ---- information ----------------------------------------------------------------------------------------------------


def _moments(copies, channels, classes=3, images=2):
    z, g = torch.randn(copies, images, channels), torch.randn(copies, images, classes, channels)
    g[:, :, 1] += 0.8 * z
    return z, g


def _logdet(matrix, published):
    if published:
        factor = torch.linalg.cholesky_ex(matrix + 1e-8 * torch.eye(len(matrix), dtype=matrix.dtype))[0]
        pivots = factor.diagonal().square()
        return float(torch.where(torch.isfinite(pivots) & (pivots > 0), pivots, 1e-44).log().sum())
    return float(torch.linalg.slogdet(matrix + 1e-3 * torch.eye(len(matrix), dtype=matrix.dtype))[1])


@pytest.mark.parametrize("faithful", [False, True])
def test_information_of_one_image_and_class(faithful):
    z, g = _moments(40, 4)
    moments = Moments(
        torch.einsum("kbl,kbm->blm", z, z),
        torch.einsum("kbcl,kbcm->bclm", g, g),
        torch.einsum("kbl,kbcm->bclm", z, g),
        40,
    )
    found = core.information(moments, faithful=faithful)
    for b in range(2):
        for c in range(3):
            zz = sum(torch.outer(z[k, b], z[k, b]) for k in range(40)).double()
            gg = sum(torch.outer(g[k, b, c], g[k, b, c]) for k in range(40)).double()
            zg = sum(torch.outer(z[k, b], g[k, b, c]) for k in range(40)).double()
            if not faithful:
                zz, gg, zg = zz / 40, gg / 40, zg / 40
                scales = float(zz.diagonal().mean()), float(gg.diagonal().mean())
                zz, gg, zg = zz / scales[0], gg / scales[1], zg / math.sqrt(scales[0] * scales[1])
            joint = torch.cat([torch.cat([zz, zg], 1), torch.cat([zg.T, gg], 1)])
            expected = _logdet(zz, faithful) + _logdet(gg, faithful) - _logdet(joint, faithful)
            assert float(found[b, c]) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert found.argmax(1).tolist() == [1, 1], "the class whose gradients follow the features"


def test_the_published_diagonal_says_nothing_and_the_mended_one_does():
    z, g = _moments(60, 5)
    parts = z.square().sum(0), g.square().sum(0), (z[:, :, None] * g).sum(0)
    assert core.information_diagonal(*parts, faithful=True).abs().max() < 1e-6
    mended = core.information_diagonal(*parts)
    for b in range(2):
        for c in range(3):
            together, alone = (z[:, b] * g[:, b, c]).sum(0), z[:, b].square().sum(0) * g[:, b, c].square().sum(0)
            r2 = [float(together[n]) ** 2 / float(alone[n]) for n in range(5)]
            assert float(mended[b, c]) == pytest.approx(-sum(math.log(1 - r * 0.999) for r in r2), rel=1e-4)
    assert mended.argmax(1).tolist() == [1, 1]


# ---- descriptors ----------------------------------------------------------------------------------------------------


def _image(learner, item):
    images = learner._reader.with_targets(tiny.view(SOURCE, [item]))
    return next(iter(images)).images


def _raw(net, image, label):
    """Pooled activations and gradients of one image by itself, level by level."""
    with torch.enable_grad(), Taps(net, LAYERS).capture() as seen:
        logits = net(image)
        taps = [seen[path] for path in LAYERS]
        found = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), taps)
    pool = [x.mean((2, 3)) if x.dim() == 4 else x for x in (*(t.detach() for t in taps), *found)]
    return logits.detach(), pool[:2], pool[2:]


def _row(net, image, label, equal=False):
    _, z, g = _raw(net, image, label)
    return torch.cat([_standardised(z, equal), _standardised(g, equal)], dim=1)[0]


def _collect(learner, signal, ids=POOL, *, targets=False, data=DATA, role="pool"):
    view = tiny.view(SOURCE, ids, labels=targets)
    return torch.from_numpy(np.array(learner.collect(view, frozenset({signal}), data=data, role=role)[signal]))


@pytest.mark.parametrize("levels", ["channels", "equal"])
def test_gradients_under_true_and_predicted_labels(learner, levels):
    net = learner.networks.nets[0]
    true = _collect(learner, Descriptors(LAYERS, "true", levels), REFERENCE, targets=True, role="reference")
    said = _collect(learner, Descriptors(LAYERS, "predicted", levels))
    alone = _collect(learner, Descriptors(LAYERS, "none", levels))
    assert true.shape == (30, 2 * (6 + 12))
    for n in range(0, 30, 7):
        expected = _row(net, _image(learner, REFERENCE[n]), int(SOURCE.truth[REFERENCE[n]]), levels == "equal")
        torch.testing.assert_close(true[n].double(), expected, rtol=1e-3, atol=1e-3)
    for n in range(0, 60, 11):
        image = _image(learner, POOL[n])
        guess = int(_raw(net, image, 0)[0].argmax())
        torch.testing.assert_close(said[n].double(), _row(net, image, guess, levels == "equal"), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(alone, said[:, :18])


@pytest.mark.parametrize("label", ["nearest", "nearest_joint"])
def test_labels_of_the_nearest_reference_image(learner, label):
    net = learner.networks.nets[0]

    def row(item):
        image = _image(learner, item)
        found = _row(net, image, int(_raw(net, image, 0)[0].argmax()))
        return found if label == "nearest_joint" else found[:18]

    keys = [row(item) for item in REFERENCE]
    found = _collect(learner, Descriptors(LAYERS, label))
    for n in range(0, 60, 9):
        asked = row(POOL[n])
        best = max(range(30), key=lambda j: float(asked @ keys[j]))
        expected = _row(net, _image(learner, POOL[n]), int(SOURCE.truth[REFERENCE[best]]))
        torch.testing.assert_close(found[n].double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.heavy
@pytest.mark.parametrize("preset", ["default", "faithful"])
@pytest.mark.parametrize("label", ["trace", "information", "information_diagonal"])
def test_labels_from_perturbed_copies(learner, label, preset):
    if (label, preset) == ("information_diagonal", "faithful"):
        pytest.skip("rounding noise by construction")
    signal = Descriptors(LAYERS, label, copies=6, preset=preset)
    net, task = learner.networks.nets[0], learner.task
    rng = generator(0, "probe", signal.key)
    turns, noise = rng.standard_normal(6) * 5.0, torch.from_numpy(rng.standard_normal((6, 1, 16, 16)) * 0.01).float()
    assert task.input.size == (16, 16)
    found = _collect(learner, signal)
    for n in (0, 13, 44):
        image = _image(learner, POOL[n])
        z, g = [], []
        for k in range(6):
            copy = turned(image, turns[k] if preset == "faithful" else math.radians(turns[k])) + noise[k]
            raw = [_raw(net, copy, c) for c in range(10)]
            z.append(torch.cat(raw[0][1], dim=1)[0])
            g.append(torch.stack([torch.cat(one[2], dim=1)[0] for one in raw]))
        z, g = torch.stack(z)[:, None], torch.stack(g)[:, None]
        if label == "trace":
            score = torch.einsum("kbl,kbcl->c", z, g)
        elif label == "information":
            sums = ("kbl,kbm->blm", z, z), ("kbcl,kbcm->bclm", g, g), ("kbl,kbcm->bclm", z, g)
            score = core.information(Moments(*(torch.einsum(*s) for s in sums), 6), faithful=preset == "faithful")[0]
        else:
            score = core.information_diagonal(z.square().sum(0), g.square().sum(0), (z[:, :, None] * g).sum(0))[0]
        label_n = int(score.argmax() if preset == "faithful" else score.argmin())
        torch.testing.assert_close(found[n].double(), _row(net, image, label_n), rtol=1e-3, atol=1e-3)


def test_a_turn_takes_the_nearest_pixel():
    image = torch.arange(25.0).view(1, 1, 5, 5)
    torch.testing.assert_close(turned(image, 0.0), image)
    torch.testing.assert_close(turned(image, math.pi), image.flip(2, 3))
    torch.testing.assert_close(turned(image, math.pi / 2), image.rot90(-1, (2, 3)))
    assert turned(torch.ones(1, 1, 4, 6), 0.7).eq(1).all()


def test_the_repaired_estimates_name_the_class_more_often(learner):
    """Gradients are those of the loss: the published end names the least likely class."""

    def hits(preset):
        signal = Descriptors(LAYERS, "trace", copies=8, preset=preset)
        context = learner._reader.context(learner.networks.nets[0], DATA, generator(0, "x"))
        state = signal.prepare(context)
        images = torch.cat([_image(learner, item) for item in POOL])
        found = signal._estimated(state, learner.networks.nets[0], images)
        return float((found == learner.networks.nets[0](images).argmax(1)).float().mean())

    assert hits("default") > 0.3 > hits("faithful")


# ---- the strategy ---------------------------------------------------------------------------------------------------


def _campaign(path, learner, source=SOURCE, **setting):
    setting.setdefault("truth", {item: source.truth[item] for item in source.ids})
    return tiny.campaign(path, source, learner, labelled=LABELLED, **setting)


def test_the_strategy_is_its_parts(learner, tmp_path):
    """Failures, centres and matches put together by hand give the same picks."""
    strategy = Fisher(LAYERS)
    found = _campaign(tmp_path, learner).choose(strategy, Budget(7))
    pool = _collect(learner, Descriptors(LAYERS, "nearest"), POOL[12:])
    reference = _collect(learner, Descriptors(LAYERS, "true"), REFERENCE, targets=True, role="reference")
    net = learner.networks.nets[0]
    guess = [int(_raw(net, _image(learner, item), 0)[0].argmax()) for item in REFERENCE]
    wrong = [n for n in range(30) if guess[n] != int(SOURCE.truth[REFERENCE[n]])]
    rng = generator(0, "select", 0)
    rows = reference[torch.tensor(wrong)]
    centres = core.spread_centres(rows, min(7, len(wrong)), rng=rng)
    assert found.notes == (f"{len(wrong)} of 30 reference images are misclassified",)
    picks = core.matches(torch.cat([torch.zeros(12, 36), pool]), rows[centres], 7,
                         candidates_M=torch.arange(12, 60), rng=rng)  # fmt: skip
    assert [pick.id for pick in found.picks] == [SOURCE.ids[p] for p in picks]


def test_published_gradients_of_reference_images_are_under_the_predicted_class():
    assert Fisher(LAYERS, "predicted")._of_reference == Descriptors(LAYERS, "true")
    published = Fisher(LAYERS, "predicted", preset="faithful")
    assert published._of_reference == Descriptors(LAYERS, "predicted", preset="faithful")


@pytest.fixture(scope="module")
def perfect():
    made = tiny.torch_learner(model=tiny.plain_net, phases=[tiny.Phase(epochs=60, lr=1e-2, batch_size=32)])
    made.fit(tiny.learner_data(SOURCE, SOURCE.ids, reference=REFERENCE), 0)
    return made


@pytest.mark.heavy
@pytest.mark.parametrize("label", ["none", "predicted", "nearest", "nearest_joint", "true"])
def test_a_perfect_model_falls_back_on_what_it_is_least_sure_of(label, perfect, tmp_path):
    found = _campaign(tmp_path, perfect).choose(Fisher(LAYERS, label), Budget(5))
    assert len(found.picks) == 5
    assert found.notes == ("none of 30 reference images is misclassified: matched against the 5 least certain",)


def test_few_failures_are_matched_as_deep_as_it_takes(learner, tmp_path):
    found = _campaign(tmp_path, learner).choose(Fisher(LAYERS), Budget(48))
    assert sorted(pick.id for pick in found.picks) == sorted(POOL[12:])


def test_a_class_without_reference_images_is_said(learner, tmp_path):
    taken = {item: role for item, role in SOURCE.roles.items() if SOURCE.truth[item] != SOURCE.truth[LABELLED[0]]}
    source = tiny.SourceView(SOURCE, ids=[i for i in SOURCE.ids if i in POOL or i in taken], roles=taken)
    found = _campaign(tmp_path, learner, source).choose(Fisher(LAYERS), Budget(5))
    assert f"no image of class number [{SOURCE.truth[LABELLED[0]]}]" in found.notes[0]


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_a_layer_that_is_not_there_names_the_nearest(learner):
    with pytest.raises(ConfigError, match=r"'hiden': did you mean 'hidden'"):
        Offer(learner, held_back=True).check([Fisher(["conv", "hiden"])])


def test_without_a_reference_set(learner, tmp_path):
    bare = tiny.digits(60)
    with pytest.raises(UnmetNeed, match=r"'fisher' matches images against a reference set.*data\.reference"):
        _campaign(tmp_path, learner, bare).choose(Fisher(LAYERS), Budget(5))
    view = tiny.view(SOURCE, POOL, labels=False)
    alone = tiny.learner_data(SOURCE, LABELLED)
    with pytest.raises(UnmetNeed, match="pseudo-labels come from a reference set"):
        learner.collect(view, frozenset({Descriptors(LAYERS, "nearest")}), data=alone)
    with pytest.raises(UnmetNeed, match="without one"):
        learner.collect(view, frozenset({Descriptors(LAYERS, "true")}), data=alone)


def test_more_memory_than_there_is_is_refused_with_the_size(learner, monkeypatch):
    monkeypatch.setattr(descriptors, "free_memory", lambda: 20_000)
    with pytest.raises(
        DataError, match=r"of 90 images with 36 numbers each take 0\.0 GB.*name fewer or narrower layers"
    ):
        _collect(learner, Descriptors(LAYERS, "predicted"))


def test_corrected_reference_labels_make_other_rows(learner):
    """Rows are kept by their key: it has to know the labels that gradients are taken under."""
    other = tiny.learner_data(SOURCE, LABELLED, reference=REFERENCE[:-1])
    for label in ("true", "nearest", "nearest_joint"):
        signal = Descriptors(LAYERS, label)
        assert learner.signal_key(signal, data=DATA) != learner.signal_key(signal, data=other)
    assert learner.signal_key(Descriptors(LAYERS, "predicted"), data=DATA) == learner.signal_key(
        Descriptors(LAYERS, "predicted"), data=other
    )


def test_oracles_need_hidden_labels(learner, tmp_path):
    with pytest.raises(UnmetNeed, match="oracle"):
        _campaign(tmp_path, learner, truth=None).choose(Fisher(LAYERS, "true"), Budget(3))
    assert len(_campaign(tmp_path / "two", learner).choose(Fisher(LAYERS, "true"), Budget(3)).picks) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 1}, "copies must be at least 2"),
        ({"kernel": "product", "label": "none"}, "multiplies by gradients"),
        ({"label": "neares"}, "did you mean 'nearest'"),
        ({"layers": 3}, "layers = 3"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        STRATEGIES.create("fisher", **options)


def test_the_context_counts(learner):
    context = learner._reader.context(learner.networks.nets[0], DATA, _rng())
    assert isinstance(context, ProbeContext)
    assert dict(context.count) == {"labelled": 12, "unlabelled": 48, "reference": 30, "validation": 0, "test": 0}
