"""What the page found among the images: labels that look wrong, near-duplicates, and images like some others."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from labelwise.errors import ConfigError, DataError
from labelwise.formats.files import write_whole
from labelwise.rng import digest
from labelwise.serve.mapped import Map
from labelwise.serve.shared import Shared

if TYPE_CHECKING:
    from pathlib import Path

    from labelwise.campaign.pool import Pool
    from labelwise.project.project import Project

What = Literal["errors", "duplicates"]
#: images most like another that are shown, and searches that are remembered
LIKE, _KEPT = 200, 8


class Findings:
    """What was looked for, kept on disk: it is shown again without another look.

    Args:
        shared: the project.
        map: says whether features were read, without which nothing can be compared.
    """

    def __init__(self, shared: Shared, map: Map) -> None:
        self.shared, self.map = shared, map
        self._read: dict[Path, tuple[float, dict[str, Any]]] = {}
        self._like: OrderedDict[tuple[int | str, ...], list[tuple[str, float]]] = OrderedDict()

    def state(self) -> dict[str, Any]:
        """What was found so far, in numbers; null for what was not looked for."""
        pool, found = self.shared.pool, dict[str, Any]()
        errors, duplicates = self._kept("errors"), self._kept("duplicates")
        found["errors"] = None if errors is None else {
            "judged": errors["judged"], "left": len(self.errors(pool)), "labels": len(pool.labelled),
        }  # fmt: skip
        found["duplicates"] = None if duplicates is None else {
            "groups": len(duplicates["groups"]), "images": sum(map(len, duplicates["groups"])),
            "threshold": duplicates["threshold"],
        }  # fmt: skip
        return found | {"tags": pool.tags.counts(), "features": self.map.state()["method"] is not None}

    def look(self, what: What) -> None:
        """Begins to look, in the background.

        Raises:
            StateError: something else is going on.
        """
        self.shared.start(what, self._errors if what == "errors" else self._duplicates)

    def errors(self, pool: Pool) -> dict[int, tuple[float, str]]:
        """Position -> (doubt, what speaks against it) of each label that looks wrong and has not changed since."""
        kept = self._kept("errors")
        found = {}
        for item, score, why, said in () if kept is None else kept["labels"]:
            if item in pool and said == _said(pool, position := pool.position(item)):
                found[position] = (float(score), str(why))
        return found

    def groups(self, pool: Pool) -> dict[int, int]:
        """Position -> number of its group of near-duplicates, from 1, the largest group first."""
        kept = self._kept("duplicates")
        groups = [] if kept is None else kept["groups"]
        return {pool.position(item): n for n, group in enumerate(groups, 1) for item in group if item in pool}

    def like(self, items: Sequence[str]) -> list[tuple[str, float]]:
        """The images most like any of these, with the cosine, the most alike first; at most 200.

        Raises:
            DataError: no features were read yet: a map does that.
            PoolError: an unknown id.
        """
        from labelwise.project.looking import look, similar

        if self.map.state()["method"] is None:
            raise DataError("the images were not looked at yet: make the map first, it reads all of them once")
        project = self.shared.project
        examples = sorted({project.pool.ids[project.pool.position(item)] for item in items})
        if not examples:
            raise ConfigError("like which images? name one at least")
        key: tuple[int | str, ...] = (len(project.pool), *examples)
        if (known := self._like.get(key)) is None:
            known = [(one.id, one.score or 0.0) for one in similar(look(project), examples, LIKE)]
            self._like[key] = known
            while len(self._like) > _KEPT:
                self._like.popitem(last=False)
        return known

    def again(self, items: Sequence[str]) -> int:
        """Asks about labels that look wrong again; returns about how many.

        Raises:
            StateError: a round is being chosen.
        """
        from labelwise.project.relabelling import ask_again

        def asked(project: Project) -> int:
            doubts = self.errors(project.pool)
            known = {project.pool.ids[position]: score for position, (score, _) in doubts.items()}
            return ask_again(project, [(item, known.get(item, 0.0)) for item in items])

        return self.shared.change(asked)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def _errors(self, project: Project) -> Sequence[str]:
        from labelwise.project.relabelling import relabel

        pool = project.pool
        found = relabel(project, max(1, len(pool.labelled)))
        labels = [
            (one.id, round(one.score, 6), one.why, _said(pool, pool.position(one.id)))
            for one in found.labels
            if one.suspect
        ]
        self._keep("errors", {"judged": found.judged, "labels": labels})
        return found.notes

    def _duplicates(self, project: Project) -> Sequence[str]:
        from labelwise.project.looking import THRESHOLD, duplicates

        found = duplicates(project, THRESHOLD)
        groups = [[pick.id for pick in part.picks] for part in found.parts]
        self._keep("duplicates", {"groups": groups, "threshold": THRESHOLD})
        return found.notes

    # ---- kept -------------------------------------------------------------------------------------------------------

    def _file(self, what: What) -> Path:
        return self.shared.project.state / "page" / f"{what}.json"

    def _keep(self, what: What, found: dict[str, Any]) -> None:
        file = self._file(what)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(found).encode("ascii"))

    def _kept(self, what: What) -> dict[str, Any] | None:
        """What was found last; read again where it was written anew."""
        file = self._file(what)
        try:
            stamp = file.stat().st_mtime
        except OSError:
            return None
        if file not in self._read or self._read[file][0] != stamp:
            try:
                self._read[file] = (stamp, json.loads(file.read_text(encoding="ascii")))
            except ValueError:  # damaged by hand: it is looked for again
                return None
        return self._read[file][1]


def _said(pool: Pool, position: int) -> str:
    """Tells one state of an item's labels from another."""
    return digest([(one.annotator, one.target) for one in pool.labels.of(position)])[:16]
