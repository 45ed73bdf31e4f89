"""Signal rows on disk: computed once for each content, found by content, never half-written, never mixed up."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import labelwise.signals.cache
import tiny
from labelwise.contracts.learner import Examples
from labelwise.contracts.signal import Plain, SignalTable, stack_rows
from labelwise.contracts.task import Outputs
from labelwise.data.views import View as SourceView
from labelwise.errors import StateError
from labelwise.signals import Embedding, Logits, PredictedClass, Probs, Ragged, Uncertainty
from labelwise.signals.cache import SignalCache

SOURCE = tiny.digits(60)


class RaggedCorners(Plain):
    """As many values as the last digit of the predicted class: rows of different lengths, empty ones too."""

    name = "ragged_corners"

    def compute(self, outputs: Outputs) -> Ragged:
        counts_B = outputs.probs_UC.argmax(1) % 3
        return Ragged(torch.arange(int(counts_B.sum()), dtype=torch.float32), counts_B)


class Producer:
    """Rows made of the item's number; remembers what it was asked for."""

    def __init__(self, weights: str = "w") -> None:
        self.weights = weights
        self.asked: list[tuple[str, ...]] = []
        self.signals: list[frozenset] = []
        self.failing: dict[str, str] = {}

    def collect(self, view, signals, *, role="pool", data=None, seed=0, progress=None) -> SignalTable:
        self.asked.append(view.ids)
        self.signals.append(signals)
        good = [item for item in view.ids if item not in self.failing]
        columns = {signal: self._rows(signal, good) for signal in signals}
        return SignalTable(
            tuple(good), columns if good else {}, {i: self.failing[i] for i in view.ids if i in self.failing}
        )

    def _rows(self, signal, ids: Sequence[str]):
        numbers = torch.tensor([float(item[4:8]) for item in ids])
        if isinstance(signal, RaggedCorners):
            counts = numbers.long() % 3
            return stack_rows([Ragged(numbers.repeat_interleave(counts), counts)])
        if isinstance(signal, PredictedClass):
            return numbers.long().numpy()
        return torch.stack([numbers, numbers + 0.5], dim=1).numpy()

    def signal_key(self, signal, *, data=None, seed=0) -> str:
        return f"{self.weights}-{signal.name}"

    @property
    def count(self) -> int:
        return sum(map(len, self.asked))


class Contents(SourceView):
    """The digits, with contents of the test's own making."""

    def __init__(self, contents: dict[str, str]) -> None:
        super().__init__(SOURCE)
        self.contents = contents

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return [self.contents[item] for item in item_ids]


def _table(cache: SignalCache, producer: Producer, ids: Sequence[str], *signals, contents=None) -> SignalTable:
    source = SOURCE if contents is None else Contents(dict(zip(ids, contents, strict=True)))
    return cache.table(producer, tiny.view(source, ids, labels=False), frozenset(signals or [Probs()]))


def _numbers(table: SignalTable, signal=None) -> list[float]:
    return np.asarray(table[signal or Probs()])[:, 0].tolist()


def _expected(ids: Sequence[str]) -> list[float]:
    return [float(item[4:8]) for item in ids]


IDS = SOURCE.ids


def test_ten_more_images_compute_ten(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    assert _numbers(_table(cache, producer, IDS[:40])) == _expected(IDS[:40])
    assert _numbers(_table(cache, producer, IDS[:50])) == _expected(IDS[:50])
    assert producer.asked == [IDS[:40], IDS[40:50]]
    assert _numbers(_table(cache, producer, IDS[30:45])) == _expected(IDS[30:45])
    assert producer.count == 50


@pytest.mark.parametrize("ids", [IDS[:1], IDS[::-1], IDS[5::7], IDS[20:] + IDS[:20]])
def test_any_subset_in_any_order(tmp_path, ids):
    cache, producer = SignalCache(tmp_path), Producer()
    for part in (IDS[10:20], IDS[:10], IDS[40:], IDS[20:40]):
        _table(cache, producer, part)
    assert _numbers(_table(cache, producer, ids)) == _expected(ids)
    assert producer.count == len(IDS)


def test_an_exact_hit_is_mapped_and_not_read(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    _table(cache, producer, IDS)
    rows = _table(cache, producer, IDS)[Probs()]
    assert isinstance(rows, np.memmap)
    assert not rows.flags.writeable
    assert not isinstance(_table(cache, producer, IDS[:10])[Probs()], np.memmap)


def test_changed_content_is_computed_anew(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    contents = SOURCE.content(IDS)
    _table(cache, producer, IDS, contents=contents)
    contents[7] = "f" * 32
    _table(cache, producer, IDS, contents=contents)
    assert producer.asked[1:] == [(IDS[7],)]


def test_copies_of_an_image_share_a_row(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    contents = [f"{number // 2:032x}" for number in range(10)]
    _table(cache, producer, IDS[:10:2], contents=contents[::2])
    table = _table(cache, producer, IDS[:10], contents=contents)
    assert producer.count == 5
    assert _numbers(table) == [number for number in _expected(IDS[:10:2]) for _ in range(2)]
    both = _table(SignalCache(tmp_path / "new"), producer, IDS[:10], contents=contents)
    assert both.ids == IDS[:10], "copies within one pass each have a row"


def test_weights_and_signals_do_not_collide(tmp_path):
    cache, one, two = SignalCache(tmp_path), Producer("one"), Producer("two")
    _table(cache, one, IDS[:10], Probs())
    _table(cache, two, IDS[:10], Probs())
    _table(cache, one, IDS[:10], Logits())
    assert one.count == 20
    assert two.count == 10


def test_signals_together_only_what_lacks(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    _table(cache, producer, IDS[:10], Probs())
    _table(cache, producer, IDS[:10], Probs(), PredictedClass())
    assert producer.signals == [{Probs()}, {PredictedClass()}]
    table = _table(cache, producer, IDS[:20], Probs(), PredictedClass())
    assert producer.asked[-1] == IDS[10:20]
    assert table[PredictedClass()].tolist() == _expected(IDS[:20])
    assert table[PredictedClass()].dtype == np.int64


@pytest.mark.parametrize("ids", [IDS, IDS[3:40:5], IDS[::-1]])
def test_ragged_rows_come_back(tmp_path, ids):
    cache, producer = SignalCache(tmp_path), Producer()
    for part in (IDS[10:20], IDS[:10], IDS[20:]):
        _table(cache, producer, part, RaggedCorners())
    values, offsets = _table(cache, producer, ids, RaggedCorners()).ragged(RaggedCorners())
    assert offsets.dtype == np.int64
    assert len(offsets) == len(ids) + 1
    rows = [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows == [[number] * (int(number) % 3) for number in _expected(ids)]
    assert producer.count == len(IDS)


def test_ragged_rows_that_are_all_empty(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    empty = [item for item in IDS if int(item[4:8]) % 3 == 0]
    for _ in range(2):
        values, offsets = _table(cache, producer, empty, RaggedCorners()).ragged(RaggedCorners())
        assert len(values) == 0
        assert offsets.tolist() == [0] * (len(empty) + 1)


def test_large_pools_are_kept_chunk_by_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(labelwise.signals.cache, "CHUNK", 16)
    cache, producer = SignalCache(tmp_path), Producer()
    done: list[tuple[int, int]] = []

    class Stops(Producer):
        def collect(self, view, signals, **options):
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().collect(view, signals, **options)

    stopping = Stops()
    with pytest.raises(KeyboardInterrupt):
        _table(cache, stopping, IDS)
    assert [len(ids) for ids in stopping.asked] == [16, 16]
    assert _numbers(_table(cache, producer, IDS)) == _expected(IDS)
    assert producer.count == len(IDS) - 32, "what was done before the interruption is kept"
    assert done == []


def test_images_that_cannot_be_read_have_no_row_and_are_tried_again(tmp_path):
    cache, producer = SignalCache(tmp_path), Producer()
    producer.failing = {IDS[3]: "truncated"}
    contents = SOURCE.content(IDS[:10])
    contents[3] = ""
    for _ in range(2):
        table = _table(cache, producer, IDS[:10], contents=contents)
        assert table.ids == IDS[:3] + IDS[4:10]
        assert dict(table.failed) == {IDS[3]: "truncated"}
    assert producer.asked[1:] == [(IDS[3],)]


@pytest.mark.parametrize("known", [False, True])
def test_nothing_that_can_be_read(tmp_path, known):
    cache, producer = SignalCache(tmp_path), Producer()
    if known:
        _table(cache, producer, IDS[20:30])
    producer.failing = dict.fromkeys(IDS[:10], "truncated")
    table = _table(cache, producer, IDS[:10], contents=[""] * 10)
    assert table.ids == ()
    assert set(table.failed) == set(IDS[:10])
    assert len(table[Probs()]) == 0


def test_rows_of_items_without_a_content_are_given_but_not_kept(tmp_path):
    """A source may not be able to say what an image's content is; its rows are computed each time."""
    cache, producer = SignalCache(tmp_path), Producer()
    contents = SOURCE.content(IDS[:10])
    contents[2] = contents[6] = ""
    for turn in range(3):
        table = _table(cache, producer, IDS[:10], contents=contents)
        assert table.ids == IDS[:10]
        assert _numbers(table) == _expected(IDS[:10])
        assert producer.count == 10 + 2 * turn
    table = _table(cache, producer, IDS[:10], contents=[""] * 10)
    assert _numbers(table) == _expected(IDS[:10])


def test_no_folder_keeps_nothing(tmp_path):
    producer = Producer()
    for _ in range(2):
        _table(SignalCache(None), producer, IDS[:10])
    assert producer.count == 20


def test_no_items(tmp_path):
    table = SignalCache(tmp_path).table(Producer(), Examples(SOURCE, ()), frozenset({Probs()}))
    assert table.ids == ()


def test_prune_deletes_all_but_what_is_named(tmp_path):
    cache, one, two = SignalCache(tmp_path), Producer("one"), Producer("two")
    for producer in (one, two):
        _table(cache, producer, IDS[:10])
    cache.prune({"one-probs"})
    assert [path.name for path in tmp_path.iterdir()] == ["one-probs"]
    for producer in (one, two):
        _table(cache, producer, IDS[:10])
    assert (one.count, two.count) == (10, 20)
    SignalCache(tmp_path / "nowhere").prune(set())
    SignalCache(None).prune(set())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot keep signal rows") as caught:
        _table(SignalCache(tmp_path / "file"), Producer(), IDS[:10])
    assert "\n" not in str(caught.value)


def test_a_shard_that_was_cut_short_is_computed_anew(tmp_path):
    """A power cut may leave a file without its end; rows of it must not be believed."""
    cache, producer = SignalCache(tmp_path), Producer()
    _table(cache, producer, IDS[:10])
    values = next(tmp_path.glob("*/*.values.npy"))
    values.write_bytes(values.read_bytes()[:-20])
    assert _numbers(_table(cache, producer, IDS[:10])) == _expected(IDS[:10])
    assert producer.count == 20


# ---- death ----------------------------------------------------------------------------------------------------------


def _die_after_files(folder: Path, count: int) -> int:
    """Fills a cache in a process of its own, which kills itself once so many files are in place; how it ended."""
    child = os.fork()
    if child == 0:
        replaced: list[Path] = []
        original = Path.replace

        def replace(self: Path, target: Path) -> Path:
            found = original(self, target)
            replaced.append(target)
            if len(replaced) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        Path.replace = replace  # type: ignore[method-assign]
        _table(SignalCache(folder), Producer(), IDS, Probs(), RaggedCorners())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.heavy
@pytest.mark.parametrize("files", [1, 2, 3, 4, 5])
def test_killed_between_two_files_of_a_shard(files, tmp_path):
    """Values, offsets, then keys: whichever of the five files was the last, the next pass finds whole rows or none."""
    assert _die_after_files(tmp_path, files) == -signal.SIGKILL
    table = _table(SignalCache(tmp_path), Producer(), IDS, Probs(), RaggedCorners())
    assert _numbers(table) == _expected(IDS)
    values, offsets = table.ragged(RaggedCorners())
    assert np.diff(offsets).tolist() == [int(number) % 3 for number in _expected(IDS)]
    assert values.tolist() == [number for number in _expected(IDS) for _ in range(int(number) % 3)]


# ---- with a real learner --------------------------------------------------------------------------------------------


def test_with_a_net(tmp_path):
    """The same rows as without a cache, to the bit; a new training shares none; changed preparation neither."""
    signals = frozenset({Probs(), Embedding(), Uncertainty("entropy")})
    view = tiny.view(SOURCE, labels=False)
    cache = SignalCache(tmp_path)
    keys = set()
    for seed, channels_std in ((0, 0.5), (1, 0.5), (0, 0.6)):
        task = tiny.Classification(tiny.CLASSES, tiny.InputSpec((16, 16), 1, std=(channels_std,)), "none")
        learner = tiny.torch_learner(task)
        learner.fit(tiny.learner_data(SOURCE, IDS[:20]), seed)
        direct = learner.collect(view, signals)
        for table in (cache.table(learner, view, signals), cache.table(learner, view, signals)):
            assert table.ids == direct.ids
            for one in signals:
                np.testing.assert_array_equal(table[one], direct[one])
        keys |= {learner.signal_key(one) for one in signals}
    assert len(keys) == 9
    assert {path.name for path in tmp_path.iterdir()} == keys


def test_a_file_of_other_data_laid_into_the_cache_is_an_error(tmp_path):
    """Rows of another width under this key: said, instead of failing in the arithmetic."""
    cache, producer = SignalCache(tmp_path), Producer()
    _table(cache, producer, IDS[:10])
    _table(cache, producer, IDS[10:20])
    values = next(iter(sorted(tmp_path.rglob("*.values.npy"))))
    np.save(values, np.zeros((10, 7), dtype=np.float32))
    with pytest.raises(StateError, match=r"different shapes .*Delete the folder"):
        _table(cache, producer, IDS[:20])
