"""Labels, splits and groups out of a file, for images that are open already."""

from __future__ import annotations

import os
from pathlib import Path

from labelwise.contracts.source import Source
from labelwise.data.labelled import gathered, roles_of
from labelwise.data.views import View, with_labels
from labelwise.exchange.incoming import Incoming, Known
from labelwise.exchange.sniffing import required
from labelwise.kinds import KINDS


def apply_csv(source: Source, path: str | os.PathLike[str]) -> View:
    """A source with the labels, splits and groups of a table, as far as the table has such columns.

    Raises:
        FormatError: for a row that names an image the source does not have, or two labels for one image.
    """
    file, kind = Path(path), KINDS.create("classes")
    known = Known(kind, frozenset(source.ids), root=source.root, size_of=source.size)
    incoming = Incoming(file, required(file, "data", kind=kind.name).format, "data", known)
    found = gathered(incoming, kind)
    incoming.refuse_unknown()
    view = with_labels(source, found.truth) if found.truth else View(source)
    return View(view, roles=roles_of(found.splits) or source.roles, groups=found.groups or source.groups)
