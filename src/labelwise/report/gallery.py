"""The picks of one round as one HTML page: pictures with score and prediction, to search, filter and sort.

Works without JavaScript as a plain list in the order of the picks, and without a network.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.contracts.oracle import Pick
from labelwise.report import wording
from labelwise.report.page import render, write_page
from labelwise.report.thumbs import ImageOf, Thumbnails

MANY = 300  # from here on smaller thumbnails: 1,000 picks stay a file that can be mailed


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
    """Write the picks of one round as one self-contained HTML file.

    Args:
        path: the file; its folder is made.
        picks: in any order; shown by rank.
        image_of: the image of an id; None, or an exception, shows a placeholder.
        title: heading of the page.
        subtitle: a line below it.
        classes: names of the classes, for the order of the filter; predictions not among them follow.
        side: longest side of a picture in pixels, where there is something to see in it; the cards are then wide.

    Returns:
        The path written.

    Raises:
        StateError: the file cannot be written.

    Cost: one decoded image at a time; about 3 kB of page per pick, 8 kB below 300 picks.
    """
    many = len(picks) >= MANY
    thumbnails = Thumbnails(image_of, size=side or (112 if many else 160), quality=70 if many else 80)
    ordered = sorted(picks, key=lambda p: p.rank)
    cards = [_card(pick, thumbnails) for pick in ordered]
    guessed = Counter(p.predicted for p in ordered if p.predicted is not None)
    names = [*(c for c in classes if c in guessed), *sorted(c for c in guessed if c not in classes)]
    context = {
        "title": title,
        "kicker": "labelwise picks",
        "meta": subtitle,
        "cards": cards,
        "wide": side is not None,
        "guesses": [{"name": name, "count": guessed[name]} for name in names],
        "scored": any(p.score is not None for p in picks),
        "footer": _footer(len(picks), thumbnails),
    }
    return write_page(path, render("gallery.html.j2", **context))


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


def _footer(picks: int, thumbnails: Thumbnails) -> str:
    text = f"{wording.count(picks, 'pick')}, {thumbnails.total / 2**20:.1f} MiB of pictures inside this file"
    if thumbnails.failed:
        text += f", {len(thumbnails.failed)} could not be decoded"
    return f"{text}. Written by labelwise; needs no network."
