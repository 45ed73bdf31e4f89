"""Selection against the plain loops, scikit-activeml, baal and faiss, in one run, as ratios, with the gap to the roof.

Run: ``python benchmarks/speed/selection.py [CELL ...] [--list] [--threads T] [--turns N] [--out FILE.json]``.

Each cell runs in a process of its own, so that its peak memory is its own. A row says: seconds of ours through
``labelwise.select`` (as people call it, checks included), peak memory above the inputs in units of the inputs, the
objective that was reached (cover radius, inertia, share of the pool covered, ...), the same for each other side, and
the ratio of times per pick. Peers run at the largest size they finish in a minute; ours then runs at that size too. The
fastest of ``--turns`` counts, sides taking turns, because such machines are shared.

Features: unit rows around 100 centres, ``loose`` (clusters overlap) or ``tight``; ``relu`` (behind a random rectified
layer: mostly mean); ``low_rank`` (16 directions and a little noise); ``real`` (``--real FILE.npy``: your own).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import machine
import numpy as np
import peers
import torch
from threadpoolctl import threadpool_limits

import labelwise as lw
from labelwise.selection import Gaussian, cover_radius, mean_coverage
from labelwise.selection.clustering import assign, kmeans
from labelwise.selection.neighbours import nearest

OPTIONS: dict[str, Any] = {"real": None, "turns": 3, "device": "cpu"}


@dataclass
class Row:
    """One side of a cell.

    Args:
        side: who.
        seconds: of the fastest turn.
        picks: how many were chosen.
        memory: peak above the inputs, in units of the inputs; None where it was not measured.
        objective: name and value of what was reached.
        note: anything else.
    """

    side: str
    seconds: float
    picks: int
    memory: float | None = None
    objective: tuple[str, float] | None = None
    note: str = ""


@dataclass
class Cell:
    """What a cell printed."""

    name: str
    machine: str
    rows: list[Row] = field(default_factory=list)


# ---- inputs ---------------------------------------------------------------------------------------------------------


def features(kind: str, rows: int, width: int) -> np.ndarray:
    """(rows, width) float32, made block by block: a million rows are 2 GB."""
    if kind == "real":
        if OPTIONS["real"] is None:
            raise SystemExit("this cell needs --real FILE.npy with one row of features an image")
        return np.array(np.load(OPTIONS["real"], mmap_mode="r")[:rows], dtype=np.float32)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, width)).astype(np.float32)
    mixing = rng.normal(size=(16 if kind == "low_rank" else width, width)).astype(np.float32)
    found = np.empty((rows, width), dtype=np.float32)
    for start in range(0, rows, 50_000):
        size = min(50_000, rows - start)
        if kind == "low_rank":
            block = rng.normal(size=(size, 16)).astype(np.float32) @ mixing
            block += 0.1 * rng.normal(size=(size, width)).astype(np.float32)
        else:
            noise = rng.normal(size=(size, width)).astype(np.float32)
            block = centres[rng.integers(0, 100, size)] + {"loose": 0.7}.get(kind, 0.3) * noise
        if kind == "relu":
            block = np.maximum(block @ mixing, 0)
        found[start : start + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return found


def probabilities(rows: int, classes: int, *, sure: float = 3.0) -> np.ndarray:
    """Softmax of random scores, with one class ahead: (rows, classes) float32."""
    rng = np.random.default_rng(1)
    found = np.empty((rows, classes), dtype=np.float32)
    for start in range(0, rows, 100_000):
        size = min(100_000, rows - start)
        scores = rng.normal(size=(size, classes)).astype(np.float32)
        scores[np.arange(size), rng.integers(0, classes, size)] += sure * rng.exponential(size=size).astype(np.float32)
        scores = np.exp(scores - scores.max(1, keepdims=True))
        found[start : start + size] = scores / scores.sum(1, keepdims=True)
    return found


def device(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(OPTIONS["device"])


# ---- running --------------------------------------------------------------------------------------------------------


def ours(method: str, k: int, *, turns: int | None = None, label: str = "labelwise", **given: Any) -> tuple[Row, Any]:
    """``labelwise.select``, timed; the first turn also measures memory."""
    arrays = {n: device(a) if isinstance(a, np.ndarray) else a for n, a in given.items()}
    size = sum(a.numel() * a.element_size() for a in arrays.values() if isinstance(a, torch.Tensor))

    def call() -> Any:
        picks = lw.select(method, k, **arrays, seed=0)
        if OPTIONS["device"] != "cpu":
            torch.cuda.synchronize()
        return picks

    # a small call first: imports and warm-up of the thread pool are no part of a selection
    small = {n: a[:, :300] if n == "draws" else a[:300] for n, a in arrays.items() if isinstance(a, torch.Tensor)}
    options = {n: a for n, a in given.items() if n not in small and n != "labelled"}
    lw.select(method, 3, **small, **options, seed=0)
    seconds, memory, picks = machine.with_memory(call)
    for _ in range((turns or OPTIONS["turns"]) - 1):
        seconds = min(seconds, machine.in_turns(1, call)[0][0])
    assert len(set(picks.positions.tolist())) == k
    return Row(label, seconds, k, memory / max(size, 1)), picks


def other(side: str, k: int, call: Callable[[], Any], *, turns: int = 1, note: str = "") -> tuple[Row, Any]:
    seconds, result = machine.in_turns(turns, call)[0]
    return Row(side, seconds, k, note=note), result


def reached(row: Row, name: str, value: float) -> Row:
    row.objective = (name, float(value))
    return row


def herding(rows: np.ndarray, picks: np.ndarray) -> float:
    """Mean over the pool of exp(-d^2) to the nearest pick, exact."""
    return mean_coverage(device(rows), picks, similarity=Gaussian(1.0, unit=True))


def covered(rows: np.ndarray, picks: np.ndarray, radius: float) -> float:
    """Share of the pool within the radius of a pick."""
    _, distance2 = assign(device(rows), device(rows[picks]))
    return float((distance2 <= radius**2).double().mean())


def inertia(rows: np.ndarray, centroids: Any) -> float:
    return float(assign(device(rows), device(np.asarray(centroids)))[1].double().sum())


# ---- cells ----------------------------------------------------------------------------------------------------------

CELLS: dict[str, Callable[[], tuple[np.ndarray, list[Row]]]] = {}


def cell(name: str) -> Callable[[Any], Any]:
    def keep(function: Any) -> Any:
        CELLS[name] = function
        return function

    return keep


def _k_center(
    kind: str, rows: int, width: int, k: int, labelled: int, *, peer: int = 0
) -> tuple[np.ndarray, list[Row]]:
    x = features(kind, rows, width)
    centres = np.random.default_rng(1).permutation(len(x))[:labelled].tolist()
    mine, picks = ours("k_center", k, embeddings=x, labelled=centres)
    plain, (_, distances) = other("NumPy loop", k, lambda: peers.numpy_k_center(x, k, centres), turns=2)
    plain.note = f"largest gap in distance {np.abs(picks.scores - distances).max():.1e}"
    reached(mine, "cover radius", cover_radius(device(x), [*centres, *picks.positions.tolist()]))
    found = [mine, plain]
    if peer:
        few, _ = ours("k_center", peer, embeddings=x, label=f"labelwise, {peer} picks")
        found += [few, other("scikit-activeml CoreSet", peer, lambda: peers.skactiveml("CoreSet", x, peer))[0]]
    return x, found


for _kind in ("loose", "tight", "relu", "low_rank"):
    cell(f"k_center/50k/{_kind}")(lambda kind=_kind: _k_center(kind, 50_000, 512, 1000, 1, peer=100))
cell("k_center/50k/loose/1000-labelled")(lambda: _k_center("loose", 50_000, 512, 1000, 1000))
cell("k_center/200k/loose")(lambda: _k_center("loose", 200_000, 768, 1000, 1))
cell("k_center/real")(lambda: _k_center("real", 50_000, 0, 1000, 1))


@cell("k_center/1M")
def _k_center_million() -> tuple[np.ndarray, list[Row]]:
    x = features("tight", 1_000_000, 512)
    rate = machine.product_rate(device(x))
    mine, picks = ours("k_center", 10_000, embeddings=x, turns=1)
    reached(mine, "radius", float(picks.scores[-1]))
    roof = 2.0 * x.size * 10_000 / rate
    return x, [mine, Row("the products at this machine's rate", roof, 10_000)]


def _badge(rows: int, width: int, classes: int, k: int, *, peer: tuple[int, int] | None = None, **options: Any) -> Any:
    x, p = features("loose", rows, width), probabilities(rows, classes)
    mine, _ = ours("badge", k, embeddings=x, probs=p, **options)
    plain, _ = other("NumPy factored loop", k, lambda: peers.numpy_badge(x, p, k), turns=2)
    found = [mine, plain]
    if peer:
        size, few = peer
        found.append(ours("badge", few, embeddings=x[:size], probs=p[:size], label=f"labelwise, {size} x {few}")[0])
        call = lambda: peers.skactiveml_badge(x[:size], p[:size], few)  # noqa: E731
        found.append(other(f"scikit-activeml Badge, {size} x {few}", few, call)[0])
    return x, found


cell("badge/50k/C10")(lambda: _badge(50_000, 512, 10, 1000))
cell("badge/50k/C100")(lambda: _badge(50_000, 512, 100, 1000, peer=(10_000, 20)))
cell("badge/50k/C1000")(lambda: _badge(50_000, 512, 1000, 1000))
cell("badge/50k/C1000/top10")(lambda: _badge(50_000, 512, 1000, 1000, top=10))


def _kmeans(kind: str, rows: int, width: int, k: int) -> tuple[np.ndarray, list[Row]]:
    x = features(kind, rows, width)
    mine, _ = ours("kmeans", k, embeddings=x, turns=2)
    centroids = kmeans(device(x), k, rng=np.random.default_rng(0)).centroids_KD.cpu().numpy()
    theirs, random_start = other("faiss.Kmeans", k, lambda: peers.faiss_kmeans(x, k), turns=2)
    batches, mini = other("scikit-learn MiniBatchKMeans", k, lambda: peers.minibatch_kmeans(x, k))
    for row, found in ((mine, centroids), (theirs, random_start), (batches, mini)):
        reached(row, "inertia", inertia(x, found))
    return x, [mine, theirs, batches]


for _kind in ("loose", "tight", "relu"):
    cell(f"kmeans/50k/{_kind}")(lambda kind=_kind: _kmeans(kind, 50_000, 512, 1000))
cell("kmeans/50k/loose/k100")(lambda: _kmeans("loose", 50_000, 512, 100))
cell("kmeans/real")(lambda: _kmeans("real", 50_000, 0, 1000))


def _base(x: np.ndarray, k: int, what: str) -> Row:
    """What a method stands on, by itself: the bar for its own part."""
    if what == "k-means":
        return other("k-means alone", k, lambda: kmeans(device(x), min(k, 500), rng=np.random.default_rng(0)))[0]
    return other("neighbour graph alone (k 20)", k, lambda: nearest(device(x), 20))[0]


def _coverage(method: str, rows: int, k: int, *, peer: str | None, base: str, kind: str = "tight") -> Any:
    x = features(kind, rows, 512)
    given = {"probs": probabilities(rows, 10)} if method == "uherding" else {}
    if method == "prob_cover":
        given["radius"] = 0.4
    mine, picks = ours(method, k, embeddings=x, turns=OPTIONS["turns"] if peer else 1, **given)
    found = [mine]
    if method in ("max_herding", "uherding"):
        reached(mine, "herding value", herding(x, picks.positions))
    if method == "prob_cover":
        reached(mine, "covered", covered(x, picks.positions, 0.4))
    if method in ("typiclust", "facility_location"):
        reached(mine, "mean distance to a pick", math.sqrt(inertia(x, x[picks.positions]) / len(x)))
    if peer:
        options = {"n_classes": 100, "deltas": [0.4]} if peer == "ProbCover" else {}
        options |= {"metric_dict": {"gamma": 1.0}} if peer == "MaxHerding" else {}
        row, theirs = other(f"scikit-activeml {peer}", k, lambda: peers.skactiveml(peer, x, k, **options))
        if peer == "MaxHerding":
            reached(row, "herding value", herding(x, theirs))
        if peer == "ProbCover":
            reached(row, "covered", covered(x, theirs, 0.4))
        if peer == "TypiClust":
            reached(row, "mean distance to a pick", math.sqrt(inertia(x, x[theirs]) / len(x)))
        found.append(row)
    if base:
        found.append(_base(x, k, base))
    return x, found


for _method, _peer, _base_of in (
    ("typiclust", "TypiClust", "k-means"),
    ("prob_cover", "ProbCover", "neighbours"),
    ("max_herding", "MaxHerding", "neighbours"),
    ("uherding", None, "neighbours"),
    ("facility_location", None, "neighbours"),
):
    cell(f"{_method}/10k")(lambda m=_method, p=_peer: _coverage(m, 10_000, 200, peer=p, base=""))
    cell(f"{_method}/50k")(lambda m=_method, b=_base_of: _coverage(m, 50_000, 1000, peer=None, base=b))


def _uncertainty(method: str, baal: str | None) -> tuple[np.ndarray, list[Row]]:
    p = probabilities(1_000_000, 100)
    mine, _ = ours(method, 1000, probs=p, turns=5)
    from labelwise import selection

    tensor = device(p)
    scores = other("the scores alone", 1000, lambda: getattr(selection, method)(tensor), turns=7)[0]
    one = other("one pass over the bytes", 1000, lambda: tensor.amax(), turns=7)[0]
    found = [scores, one, mine]
    if method == "entropy":
        found.append(other("NumPy", 1000, lambda: peers.numpy_entropy(p, 1000))[0])
    if baal:
        found.append(other(f"baal {baal}", 1000, lambda: peers.baal_ranks(baal, p, 1000))[0])
    return p, found


for _method, _peer in (("least_confidence", "Certainty"), ("margin", "Margin"), ("entropy", "Entropy")):
    cell(f"{_method}/1M")(lambda m=_method, p=_peer: _uncertainty(m, p))


@cell("bald/50k")
def _bald() -> tuple[np.ndarray, list[Row]]:
    rng = np.random.default_rng(0)
    draws = np.stack([rng.dirichlet(np.full(10, 0.5), 50_000).astype(np.float32) for _ in range(10)])
    mine, _ = ours("bald", 1000, draws=draws)
    last = np.ascontiguousarray(draws.transpose(1, 2, 0))
    return draws[0], [mine, other("baal BALD", 1000, lambda: peers.baal_ranks("BALD", last, 1000))[0]]


@cell("batch_bald/10k")
def _batch_bald() -> tuple[np.ndarray, list[Row]]:
    rng = np.random.default_rng(0)
    draws = np.stack([rng.dirichlet(np.full(10, 0.5), 10_000).astype(np.float32) for _ in range(10)])
    mine, _ = ours("batch_bald", 10, draws=draws, turns=1)
    last = np.ascontiguousarray(draws.transpose(1, 2, 0))
    call = lambda: peers.baal_ranks("BatchBALD", last, 10, num_samples=10)  # noqa: E731
    return draws[0], [mine, other("baal BatchBALD", 10, call)[0]]


def _alone(method: str, k: int, rows: int, classes: int, **options: Any) -> tuple[np.ndarray, list[Row]]:
    """Methods no peer has: their time, and that of k-center on the same rows for scale."""
    x, p = features("loose", rows, 512), probabilities(rows, classes)
    mine, _ = ours(method, k, embeddings=x, probs=p, turns=1, **options)
    return x, [mine, ours("k_center", k, embeddings=x, label="k_center, for scale")[0]]


def _seldom(rows: int, width: int, labelled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlapping groups behind a rectified layer, half of which were seldom labelled; which row is of such a one."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, width)).astype(np.float32)
    mixing = rng.normal(size=(width, width)).astype(np.float32) / math.sqrt(width)
    group = rng.integers(0, 20, rows)
    x = np.maximum((0.5 * centres[group] + rng.normal(size=(rows, width)).astype(np.float32)) @ mixing, 0)
    weight = np.where(group < 10, 1.0, 0.15)
    return x, np.sort(rng.choice(rows, labelled, replace=False, p=weight / weight.sum())), group >= 10


@cell("discriminative/10k")
def _discriminative() -> tuple[np.ndarray, list[Row]]:
    """Processor time, not seconds by the clock; and how many picks two sides have in common (by chance 10 %)."""
    x, labelled, seldom = _seldom(11_000, 512, 1_000)
    even = (x - x.mean(0)) / x.std(0)
    small = slice(0, 1_200)
    lw.select("discriminative", 10, embeddings=x[small], labelled=range(100), seed=0)  # warm

    def side(name: str, call: Callable[[int], np.ndarray], *seeds: int) -> tuple[Row, list[set[int]]]:
        picks, seconds = [], []
        for seed in seeds:
            started = time.process_time()
            picks.append(call(seed))
            seconds.append(time.process_time() - started)
        row = Row(name, sum(seconds) / len(seeds), len(picks[0]), note=f"processor time, mean of {len(seeds)} seeds")
        return reached(row, "of seldom labelled groups", seldom[np.concatenate(picks)].mean()), [set(p) for p in picks]

    def select(seed: int) -> np.ndarray:
        return lw.select("discriminative", 1_000, embeddings=x, labelled=labelled, seed=seed).positions

    loop = peers.discriminative_loop
    sides = [
        side("labelwise", select, 0, 1, 2),
        side("published loop", lambda seed: loop(x, labelled, 1_000, seed=seed), 0, 1),
        side("it on standardised features", lambda seed: loop(even, labelled, 1_000, seed=seed), 0),
    ]
    published = sides[1][1]
    for row, picks in sides:
        shared = [len(mine & theirs) / 10 for mine in picks for theirs in published if mine is not theirs]
        row.note += f"; shares {sum(shared) / len(shared):.1f} % of its picks with (another seed of) the published loop"
    return x, [row for row, _ in sides]


cell("bait/10k")(lambda: _alone("bait", 100, 10_000, 10))
cell("accu_kmeans/50k")(lambda: _alone("accu_kmeans", 1000, 50_000, 10))


# ---- printing -------------------------------------------------------------------------------------------------------


def run(name: str) -> Cell:
    rows_ND, found = CELLS[name]()
    return Cell(name, machine.describe(device(rows_ND)), found)


def show(done: Cell) -> None:
    print(f"{done.name}   [{done.machine}]")
    first = done.rows[0]
    for row in done.rows:
        per_pick = (row.seconds / row.picks) / (first.seconds / first.picks)
        objective = "" if row.objective is None else f"   {row.objective[0]} {row.objective[1]:.5g}"
        memory = "" if row.memory is None else f"   memory {row.memory:.2f} x"
        ratio = "" if row is first else f"   {per_pick:8.2f} x per pick"
        note = f"   {row.note}" if row.note else ""
        print(f"  {row.side:38} {row.seconds:9.3f} s  {row.picks:6} picks{ratio}{memory}{objective}{note}")
    print(flush=True)


@cache
def _environment() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "numpy", "faiss-cpu", "scikit-learn", "scikit-activeml", "baal", "labelwise")
    return {name: version(name) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", help="names or beginnings of names; all by default")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cuda: ours on the GPU, peers where they can")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--out", type=Path, help="append results as JSON lines")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = [n for n in CELLS if not options.cells or any(n.startswith(c) for c in options.cells)]
    if options.list:
        print("\n".join(names))
        return
    if options.here:
        OPTIONS.update(real=options.real, turns=options.turns, device=options.device)
        torch.set_num_threads(options.threads)
        with threadpool_limits(options.threads):  # NumPy, faiss and scikit-learn
            print(json.dumps(asdict(run(names[0]))))
        return
    for name in names:
        if name.endswith("real") and options.real is None:
            continue
        arguments = [sys.executable, __file__, name, "--here", "--turns", str(options.turns)]
        arguments += ["--threads", str(options.threads), "--device", options.device]
        arguments += ["--real", str(options.real)] if options.real else []
        done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"{name}: failed\n", flush=True)
            continue
        values = json.loads(done.stdout.splitlines()[-1])
        show(Cell(values["name"], values["machine"], [Row(**row) for row in values["rows"]]))
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(values | {"environment": _environment(), "threads": options.threads}) + "\n")


if __name__ == "__main__":
    main()
