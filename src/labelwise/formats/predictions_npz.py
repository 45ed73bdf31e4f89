"""Somebody else's predictions as .npz: ids with class probabilities and/or embeddings.

Keys: ``ids`` (N names), ``probs`` (N, C), ``embeddings`` (N, D), and optionally ``classes`` (C names). Nothing is
unpickled.

Shape letters: N images, C classes, D features.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from labelwise.errors import FormatError, brief, cut
from labelwise.formats.files import write_whole
from labelwise.formats.nearest import nearest_ids
from labelwise.formats.npz import load_npz, names_of

#: how far a row of probabilities may be from summing to one
TOLERANCE = 1e-3
#: rows that are looked at together
_BLOCK = 256


@dataclass(frozen=True)
class Predictions:
    """What a model elsewhere said about images.

    Args:
        ids: ascending, unique.
        probs_NC: float32, rows in the order of ``ids``; None where the file has none.
        embeddings_ND: float32, likewise.
        classes: names of the columns of ``probs_NC``, where the file gives them or the caller did.
    """

    ids: tuple[str, ...]
    probs_NC: np.ndarray | None = None
    embeddings_ND: np.ndarray | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Expected:
    """What a file of predictions has to fit.

    Args:
        ids: the images that need a row; None takes the file's.
        classes: the project's classes; a file that names the same ones in another order is put into this order.
        width: features per embedding (that of cached ones); None takes the file's.
        exclusive: whether exactly one class applies, so that probabilities sum to one (softmax, not sigmoid).
        subset: whether images without a row are fine.
    """

    ids: Collection[str] | None = None
    classes: Sequence[str] | None = None
    width: int | None = None
    exclusive: bool = True
    subset: bool = False


def write_predictions(path: str | os.PathLike[str], predictions: Predictions) -> None:
    """Write predictions, as ``read_predictions`` reads them.

    Raises:
        StateError: when the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {"ids": np.array(predictions.ids, dtype=np.str_)}
    if predictions.probs_NC is not None:
        arrays["probs"] = predictions.probs_NC
    if predictions.embeddings_ND is not None:
        arrays["embeddings"] = predictions.embeddings_ND
    if predictions.classes is not None:
        arrays["classes"] = np.array(predictions.classes, dtype=np.str_)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes the arrays for the allow_pickle flag
    write_whole(path, buffer.getvalue())


def read_predictions(path: str | os.PathLike[str], expected: Expected | None = None) -> Predictions:
    """Read and check predictions.

    Returns:
        Rows in ascending order of the ids.

    Memory: that of :func:`labelwise.formats.npz.load_npz`, and a copy; keys that mean nothing here are not read.

    Raises:
        FormatError: in one line, for missing or unknown keys and types; another number of rows than ids, of columns
            than classes, of features than expected; values that are negative, NaN or infinite; rows that do not sum to
            one within 0.001, where classes exclude each other; ids that come twice, are unknown, or are missing.
    """
    expected = expected or Expected()
    shown = repr(os.fspath(path))
    arrays = load_npz(path)
    if "ids" not in arrays or not {"probs", "embeddings"} & arrays.keys():
        raise FormatError(f"{shown} holds {arrays.listed()}: needed are ids and probs or embeddings (or both)")
    ids = names_of(arrays["ids"], f"{shown}: ids")
    order = _check_ids(ids, expected, shown)
    own = names_of(arrays["classes"], f"{shown}: classes") if "classes" in arrays else None
    probs_NC = embeddings_ND = None
    if "probs" in arrays:
        probs_NC = _numbers(arrays["probs"], ids, f"{shown}: probs")
        columns = _columns(own, expected.classes, probs_NC.shape[1], shown)
        _check_probs(probs_NC, ids, expected.exclusive, shown)
        probs_NC = _arranged(probs_NC, order)
        probs_NC = probs_NC if columns is None or columns == sorted(columns) else probs_NC[:, columns]
    if "embeddings" in arrays:
        embeddings_ND = _numbers(arrays["embeddings"], ids, f"{shown}: embeddings")
        if expected.width is not None and embeddings_ND.shape[1] != expected.width:
            raise FormatError(
                f"{shown}: embeddings have {embeddings_ND.shape[1]} features, the cached ones have {expected.width}: "
                "use one model for all"
            )
        embeddings_ND = _arranged(embeddings_ND, order)
        if not np.isfinite(embeddings_ND).all():
            raise FormatError(f"{shown}: embeddings hold values too large for float32; scale them down")
    classes = expected.classes if expected.classes is not None else own
    return Predictions(
        tuple(ids[n] for n in order), probs_NC, embeddings_ND, None if classes is None else tuple(classes)
    )


def _check_ids(ids: Sequence[str], expected: Expected, shown: str) -> list[int]:
    """The order that makes ids ascend."""
    if not ids:
        raise FormatError(f"{shown}: ids are empty; give one row per image")
    row = {item_id: n for n, item_id in enumerate(ids)}
    if len(row) < len(ids):
        twice = next(item_id for n, item_id in enumerate(ids) if row[item_id] != n)
        raise FormatError(f"{shown}: id {brief(twice)} is given twice; keep one row per image")
    if expected.ids is not None:
        known = expected.ids if isinstance(expected.ids, (set, frozenset, dict)) else set(expected.ids)
        if strange := [item_id for item_id in ids if item_id not in known]:
            near = nearest_ids(strange[0], known)
            hint = f" (nearest: {near[0]!r})" if near else ""
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise FormatError(f"{shown}: unknown id {brief(strange[0])}{hint}{more}; ids are paths below the data root")
        if not expected.subset and len(ids) < len(known):
            missing = min(item_id for item_id in known if item_id not in row)
            raise FormatError(
                f"{shown}: {len(ids)} ids for {len(known)} images, {missing!r} is the first without a row; add the "
                "missing rows"
            )
    return sorted(range(len(ids)), key=ids.__getitem__)


def _numbers(array: np.ndarray, ids: Sequence[str], what: str) -> np.ndarray:
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] == 0:
        raise FormatError(
            f"{what} are {cut(str(array.dtype))} of shape {array.shape}: give numbers of shape (images, columns)"
        )
    if len(array) != len(ids):
        raise FormatError(f"{what} have {len(array)} rows for {len(ids)} ids: give one row per id")
    if array.dtype.kind == "f" and not (finite_N := _by_row(array, lambda rows: np.isfinite(rows).all(axis=1))).all():
        n = int(np.argmin(finite_N))
        value = array[n][~np.isfinite(array[n])][0]
        raise FormatError(f"{what} of {ids[n]!r} (row {n}) hold {value}: only finite numbers are allowed")
    return array


def _by_row(array: np.ndarray, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(N,) of an array of N rows, some rows at a time: what is computed of them stays in the processor's cache."""
    return np.concatenate([reduce(array[start : start + _BLOCK]) for start in range(0, len(array), _BLOCK)])


def _arranged(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Rows in this order as float32; files are large, so nothing is copied that need not be."""
    if list(order) != list(range(len(array))):
        array = array[order]
    with np.errstate(over="ignore"):  # found and named by the caller
        return array.astype(np.float32, copy=False)


def _columns(own: Sequence[str] | None, wanted: Sequence[str] | None, width: int, shown: str) -> list[int] | None:
    """Which column of the file stands where in the result; None where they stay."""
    for names, whose in ((own, "the file names"), (wanted, "the project has")):
        if names is not None and len(names) != width:
            raise FormatError(
                f"{shown}: probs have {width} columns, {whose} {len(names)} classes: give one column each"
            )
    if own is None or wanted is None:
        return None
    if sorted(own) != sorted(wanted) or len(set(own)) < width:
        strange = next((name for name in own if name not in wanted), own[0])
        raise FormatError(
            f"{shown}: class {brief(strange)} does not fit; the project's classes are "
            f"{cut(', '.join(wanted[:20]), 120)}"
        )
    return [list(own).index(name) for name in wanted]


def _check_probs(probs_NC: np.ndarray, ids: Sequence[str], exclusive: bool, shown: str) -> None:
    low_N, high_N = (_by_row(probs_NC, lambda rows: rows.min(axis=1)), _by_row(probs_NC, lambda rows: rows.max(axis=1)))
    if (low_N < 0).any() or (high_N > 1 + TOLERANCE).any():
        n = int(np.argmax((low_N < 0) | (high_N > 1 + TOLERANCE)))
        value = low_N[n] if low_N[n] < 0 else high_N[n]
        raise FormatError(
            f"{shown}: probs of {ids[n]!r} (row {n}) hold {value:.6g}; give probabilities from 0 to 1, not logits"
        )
    if not exclusive:
        return
    sum_N = _by_row(probs_NC, lambda rows: rows.sum(axis=1, dtype=np.float64))
    wrong_N = np.abs(sum_N - 1) > TOLERANCE
    if wrong_N.any():
        n = int(np.argmax(wrong_N))
        more = f" ({int(wrong_N.sum()) - 1} more rows likewise)" if wrong_N.sum() > 1 else ""
        raise FormatError(
            f"{shown}: probs of {ids[n]!r} (row {n}) sum to {sum_N[n]:.6g}{more}; classes exclude each other, so give "
            "the softmax, which sums to 1"
        )
