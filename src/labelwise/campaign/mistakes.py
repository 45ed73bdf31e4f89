"""What the last model gets wrong on the test images, and where these lie among its features: for pictures in a report.

Dimension key: N images, D features.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.campaign.loop import Campaign
from labelwise.campaign.records import Mistakes, RoundRecord, write_whole
from labelwise.config import MapMethod
from labelwise.errors import UnmetNeed
from labelwise.rng import generator, seed_of
from labelwise.signals.plain import Embedding, PredictedClass

#: most test images and picks on a map
SHOWN_TESTS, SHOWN_PICKS = 1500, 500
#: fewer images make no map
FEWEST = 12
_AXES, _PERPLEXITY, _NEIGHBOURS = 50, 30, 15
FILE = "mistakes.json"


def mistakes(campaign: Campaign, *, before: int | None = None, mapped: MapMethod | None = "tsne") -> Mistakes | None:
    """Confusions of the model in use on the labelled test images, and a map of some of them and of the picks.

    Args:
        campaign: with a trained model.
        before: picks of earlier rounds only; None: of all.
        mapped: what lays out the map; None: there is to be no map.

    Returns:
        None where there is nothing to say: no weights, no test image, or labels that are not one class an image.

    Cost: one pass over the test images; for the map a pass over at most 2,000 images and some 10 s to lay it out.
    """
    learner, said = campaign.setting.learner, PredictedClass()
    view = campaign.examples.of(campaign.pool.with_role("test"), targets=True)
    truth = dict(zip(view.ids, view.targets or (), strict=True))
    classes = all(isinstance(target, int) for target in truth.values())
    if learner.weights is None or not truth or not classes or not said.fields <= learner.provides:
        return None
    table = learner.collect(view, frozenset({said}), progress=campaign.progress)
    pairs = Counter(zip((truth[item] for item in table.ids), table[said].tolist(), strict=True))
    confusion = [[true, predicted, count] for (true, predicted), count in sorted(pairs.items())]
    end = campaign.pool.round if before is None else before
    asked = {query.id for query in campaign.pool.queries() if 0 <= query.round < end}
    picks = [campaign.pool.ids[p] for p in campaign.pool.labelled if campaign.pool.ids[p] in asked]
    points = []
    if mapped is not None and Embedding().fields <= learner.provides:
        points = _points(campaign, sorted(table.ids), picks, mapped)
    method = mapped or "tsne"
    return Mistakes(confusion=confusion, points=points, tested=len(table.ids), picked=len(picks), method=method)


def last_mistakes(
    folder: Path,
    last: RoundRecord,
    open_campaign: Callable[[], Campaign],
    *,
    mapped: MapMethod | None,
) -> Mistakes | None:
    """``mistakes`` of the last model of a run: found in the run's folder, or looked up with its weights and kept there.

    Args:
        folder: of the run.
        last: record of its last round.
        open_campaign: called where the model has to be looked at.
        mapped: as for ``mistakes``.

    Returns:
        None also where the weights are gone.
    """
    file, key = folder / FILE, [last.fit_key, mapped]
    if file.is_file():
        kept = json.loads(file.read_text(encoding="ascii"))
        if kept["of"] == key:
            return Mistakes.from_json(kept["mistakes"])
    campaign = open_campaign()
    learner, weights = campaign.setting.learner, (campaign.setting.fits or folder) / last.fit_key
    if not last.fit_key or not (weights / "fit.json").is_file():
        return None
    learner.load(weights, last.fit_key)
    found = mistakes(campaign, before=last.round, mapped=mapped)
    if found is not None:
        kept = {"of": key, "mistakes": found.to_json()}
        write_whole(file, json.dumps(kept, allow_nan=False).encode("ascii"))
    return found


def check_map(method: MapMethod) -> None:
    """Refuses a map that could not be made, before anything is computed.

    Raises:
        UnmetNeed: umap-learn is not installed.
    """
    if method == "umap" and find_spec("umap") is None:
        raise UnmetNeed("a map by umap needs umap-learn: pip install 'labelwise[viz]', or set map: tsne")


def flat_map(rows_ND: NDArray[np.float32], *, seed: int, method: MapMethod = "tsne") -> NDArray[np.float64]:
    """(N, 2) in [0, 1]: rows laid out so that neighbours stay neighbours; the same for the same seed.

    Args:
        rows_ND: features, finite, not all alike.
        seed: of the map.
        method: ``tsne``, or ``umap``, which keeps more of how groups lie to one another.

    Raises:
        UnmetNeed: umap-learn is not installed.

    Reference:
        van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008; as scikit-learn has it, started on the
        first two principal axes. McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection for
        Dimension Reduction", 2018 (arXiv 1802.03426); as umap-learn has it, 15 neighbours. Both from the first 50
        principal axes.
    """
    from sklearn.decomposition import PCA

    state = seed % 2**32
    rows = np.asarray(rows_ND, dtype=np.float64)
    axes = min(_AXES, *rows.shape)
    if rows.shape[1] > axes:
        rows = PCA(axes, svd_solver="full").fit_transform(rows)
    start = "pca" if rows.shape[1] > 1 else "random"
    found = (_umap if method == "umap" else _tsne)(rows, start, state)
    low_2 = found.min(0)
    return np.asarray((found - low_2) / float((found - low_2).max()), dtype=np.float64)


def _tsne(rows_NA: NDArray[np.float64], start: str, state: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(rows_NA) - 1) / 4)
    made = TSNE(2, perplexity=perplexity, init=start, random_state=state, n_jobs=1)
    # its threads and those of PyTorch each wait for their own by spinning, which takes ten times the processor time of
    # the map: a few hundred points need one
    with threadpool_limits(1, user_api="openmp"):
        return np.asarray(made.fit_transform(rows_NA), dtype=np.float64)


def _umap(rows_NA: NDArray[np.float64], start: str, state: int) -> NDArray[np.float64]:
    check_map("umap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that one class of it would need tensorflow
        from umap import UMAP
    made = UMAP(n_neighbors=min(_NEIGHBOURS, len(rows_NA) - 1), init=start, random_state=state, n_jobs=1)
    return np.asarray(made.fit_transform(rows_NA), dtype=np.float64)


def _points(campaign: Campaign, tests: Sequence[str], picks: Sequence[str], method: MapMethod) -> list[list[float]]:
    rng = generator(campaign.setting.seed, "map")
    tests, picks = _some(tests, SHOWN_TESTS, rng), _some(picks, SHOWN_PICKS, rng)
    positions = np.array([campaign.pool.position(item) for item in [*tests, *picks]], dtype=np.int64)
    view = campaign.examples.of(positions, targets=True)
    truth = dict(zip(view.ids, view.targets or (), strict=True))
    said, seen = PredictedClass(), Embedding()
    table = campaign.setting.learner.collect(view, frozenset({said, seen}))
    rows_ND = np.asarray(table[seen], dtype=np.float32)
    if len(rows_ND) < FEWEST or not np.isfinite(rows_ND).all() or not np.ptp(rows_ND, axis=0).any():
        return []  # too few, or a model that diverged
    campaign.progress("mapping test images", 0, 1)
    places = flat_map(rows_ND, seed=seed_of(campaign.setting.seed, "map"), method=method)
    campaign.progress("mapping test images", 1, 1)
    chosen = set(picks)
    return [
        [round(x, 3), round(y, 3), truth[item], predicted, int(item in chosen)]
        for (x, y), item, predicted in zip(places.tolist(), table.ids, table[said].tolist(), strict=True)
    ]


def _some(items: Sequence[str], most: int, rng: np.random.Generator) -> list[str]:
    """All, or ``most`` of them drawn at random."""
    if len(items) <= most:
        return list(items)
    return [items[row] for row in sorted(rng.choice(len(items), most, replace=False).tolist())]
