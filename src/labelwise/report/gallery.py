"""Picks, or other images that were found, as one HTML page: pictures to search, filter and sort.

Works without JavaScript as a plain list in the order of the picks, and without a network.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.contracts.oracle import Pick
from labelwise.report import wording
from labelwise.report.page import render, write_page
from labelwise.report.thumbs import ImageOf, Thumbnails

#: picks from which on pictures have this longest side (in pixels), with labels in them that, and this JPEG quality: the
#: page of many stays one that can be mailed
SIZES = ((300, 112, 400, 70), (100, 240, 528, 75), (0, 400, 804, 80))


@dataclass(frozen=True)
class Section:
    """Pictures that stand together on a page.

    Args:
        name: heading, shown where there are several sections.
        about: a line beside it.
        picks: in the order shown.
    """

    name: str
    about: str
    picks: Sequence[Pick]


@dataclass(frozen=True)
class Wording:
    """What a page says of the images on it.

    Args:
        title: heading of the page.
        subtitle: a line below it.
        kicker: a line above it.
        noun: what one of the images is.
        first: what the order is in which they stand.
        guesses: what the filter shows all of; what each is filtered by is its ``predicted``.
        score: what their number is.
    """

    title: str
    subtitle: str = ""
    kicker: str = "labelwise picks"
    noun: str = "pick"
    first: str = "Most wanted first"
    guesses: str = "All predictions"
    score: str = "score"


def write_gallery(
    path: str | os.PathLike[str],
    picks: Sequence[Pick],
    *,
    image_of: ImageOf,
    title: str,
    subtitle: str = "",
    classes: Sequence[str] = (),
    side: int | None = None,
) -> Path:
    """Write picks as one self-contained HTML file; those of several rounds under a heading each.

    Args:
        path: the file; its folder is made.
        picks: in any order; shown by round and rank.
        image_of: the image of an id; None, or an exception, shows a placeholder.
        title: heading of the page.
        subtitle: a line below it.
        classes: names of the classes, for the order of the filter; predictions not among them follow.
        side: longest side of a picture in pixels, where there is something to see in it; the cards are then wide.

    Returns:
        The path written.

    Raises:
        StateError: the file cannot be written.

    Cost: one decoded image at a time; about 3 kB of page per pick, 12 kB below 300 picks, 30 kB below 100.
    """
    ordered = sorted(picks, key=lambda p: (-1 if p.round is None else p.round, p.rank))
    rounds = [_round(list(asked)) for _, asked in itertools.groupby(ordered, key=lambda p: p.round)]
    words = Wording(title, subtitle)
    return write_sections(path, rounds, image_of=image_of, words=words, classes=classes, side=side)


def write_sections(
    path: str | os.PathLike[str],
    sections: Sequence[Section],
    *,
    image_of: ImageOf,
    words: Wording,
    classes: Sequence[str] = (),
    side: int | None = None,
) -> Path:
    """Write images as one self-contained HTML file, section by section; as :func:`write_gallery` does.

    Args:
        path: the file; its folder is made.
        sections: what to show.
        image_of: the image of an id; None, or an exception, shows a placeholder.
        words: what the page says of them.
        classes: names of the classes, for the order of the filter.
        side: longest side of a picture in pixels, where there is something to see in it; the cards are then wide.

    Raises:
        StateError: the file cannot be written.
    """
    picks = [pick for section in sections for pick in section.picks]
    plain, wide, quality = next(sizes for many, *sizes in SIZES if len(picks) >= many)
    thumbnails = Thumbnails(image_of, size=plain if side is None else min(side, wide), quality=quality)
    parts = [
        {"name": one.name, "about": one.about, "cards": [_card(pick, thumbnails) for pick in one.picks]}
        for one in sections
    ]
    guessed = Counter(p.predicted for p in picks if p.predicted is not None)
    names = [*(c for c in classes if c in guessed), *sorted(c for c in guessed if c not in classes)]
    context = {
        "words": words,
        "title": words.title,
        "kicker": words.kicker,
        "meta": words.subtitle,
        "rounds": parts,
        "wide": side is not None,
        "guesses": [{"name": name, "count": guessed[name]} for name in names],
        "scored": any(p.score is not None for p in picks),
        "footer": _footer(wording.count(len(picks), words.noun), thumbnails),
    }
    return write_page(path, render("gallery.html.j2", **context))


def _round(picks: Sequence[Pick]) -> Section:
    number, strategy = picks[0].round, picks[0].strategy
    about = wording.count(len(picks), "pick") + (f" chosen by {strategy}" if strategy else "")
    return Section(f"Round {number}", about, picks)


def _card(pick: Pick, thumbnails: Thumbnails) -> dict[str, Any]:
    where = PurePosixPath(pick.id)
    score = pick.score if pick.score is not None and math.isfinite(pick.score) else None
    sure = pick.probability if pick.probability is not None and math.isfinite(pick.probability) else None
    folder = str(where.parent)
    return {
        "uri": thumbnails.uri(pick.id),
        "id": pick.id,
        "rank": pick.rank,
        "score": "" if score is None else f"{score:.9g}",
        "score_text": "" if score is None else wording.value(score),
        "sure": "" if sure is None else f"{sure:.9g}",
        "sure_text": "" if sure is None else wording.percent(sure),
        "guess": pick.predicted or "",
        "name": where.name or pick.id,
        "folder": "" if folder == "." else folder,
    }


def _footer(counted: str, thumbnails: Thumbnails) -> str:
    text = f"{counted}, {thumbnails.total / 2**20:.1f} MiB of pictures inside this file"
    if thumbnails.failed:
        text += f", {len(thumbnails.failed)} could not be decoded"
    return f"{text}. Written by labelwise; needs no network."
