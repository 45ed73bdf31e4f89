"""What a page says of the mistakes of the last models: confusion matrices side by side, and maps of the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelwise.campaign.records import Mistakes
from labelwise.report import wording
from labelwise.report.confusion import Confusion, confusion_of, confusion_picture
from labelwise.report.feature_map import MOST_COLOURS, map_picture
from labelwise.report.renderings import picture

#: models of which a matrix and a map is drawn
MOST_MATRICES, MOST_MAPS = 6, 4


def shown_mistakes(found: Mapping[str, Sequence[Mistakes]], names: Sequence[str]) -> dict[str, Any] | None:
    """Both pictures with their captions, for a template; None where nothing is known.

    Args:
        found: name of the model -> what its last training of each seed gets wrong, in the order to draw them; the last
            one, where there are too many, is kept: it is the baseline.
        names: of the classes, by index.
    """
    seeds = [mistakes for several in found.values() for mistakes in several]
    if not seeds:
        return None
    needed = 1 + max(max(row[0], row[1]) for mistakes in seeds for row in mistakes.confusion)
    names = names if len(names) >= needed else [str(number) for number in range(needed)]
    chosen = _few(list(found), MOST_MATRICES)
    confusion = confusion_of({name: [row for m in found[name] for row in m.confusion] for name in chosen}, names)
    mapped = {name: m.points for name, several in found.items() for m in several[:1] if m.points}
    maps = {name: mapped[name] for name in _few(list(mapped), MOST_MAPS)}
    drawn = f"Confusion matrices of {', '.join(chosen)}"
    return {
        "confusion": picture(lambda look: confusion_picture(confusion, look=look), drawn),
        "confusion_caption": _confusion_caption(confusion, found, chosen),
        "map": picture(lambda look: map_picture(maps, names, look=look), f"Maps of {', '.join(maps)}")
        if maps
        else None,
        "map_caption": _map_caption({name: found[name] for name in maps}, len(mapped), len(names)) if maps else "",
    }


def _few(names: list[str], most: int) -> list[str]:
    """The first ones and the last."""
    return names if len(names) <= most else [*names[: most - 1], names[-1]]


def _confusion_caption(confusion: Confusion, found: Mapping[str, Sequence[Mistakes]], chosen: Sequence[str]) -> str:
    seeds = max(len(several) for several in found.values())
    tested = max(m.tested for several in found.values() for m in several)
    text = f"What the last model takes the {wording.count(tested, 'test image')} of each class for, in per cent of the "
    text += "class: the diagonal is right, an empty cell is less than a half. Colours deepen with the square root."
    if seeds > 1:
        text += f" Images of {wording.count(seeds, 'seed')} counted together."
    if confusion.left_out:
        text += f" Shown: the {len(confusion.rows)} of {confusion.classes} classes that are found least often."
    if len(chosen) < len(found):
        text += f" Shown: {len(chosen)} of {len(found)} strategies, those furthest ahead and the last."
    return text


def _map_caption(found: Mapping[str, Sequence[Mistakes]], mapped: int, classes: int) -> str:
    first = [several[0] for several in found.values()]
    tests = max(sum(not point[4] for point in m.points) for m in first)
    picks = max(sum(point[4] == 1 for point in m.points) for m in first)
    tested, picked = max(m.tested for m in first), max(m.picked for m in first)
    how = "UMAP" if first[0].method == "umap" else "t-SNE"
    seed = " of the first seed" if max(map(len, found.values())) > 1 else ""
    text = f"Test images as the last model{seed} sees them ({how} of its features): neighbours look alike to it, "
    text += f"distances between groups mean nothing. Drawn: {_of(tests, tested)} test images"
    text += f" and {_of(picks, picked)} picks" if picks else ""
    text += ", at random where not all. Ellipses: the commonest kinds of error (true class → taken "
    text += "for), where the nearer half of them lies."
    if classes > MOST_COLOURS:
        text += f" {classes} classes are too many for colours."
    if len(found) < mapped:
        text += f" Shown: {len(found)} of {mapped} strategies."
    return text


def _of(shown: int, there: int) -> str:
    return f"{shown:,} of {there:,}" if shown < there else f"all {there:,}"
