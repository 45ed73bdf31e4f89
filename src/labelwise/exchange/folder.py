"""A folder as an oracle: picks go out as files, answers come back as files, whoever writes them and whenever."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.oracle import Answer, Oracle, Round
from labelwise.contracts.record import Head, Record, Where
from labelwise.exchange.incoming import Incoming, Known
from labelwise.exchange.outgoing import format_for, marks
from labelwise.exchange.sniffing import named, required
from labelwise.kinds.classes import Classes

_CLASSES = Classes()
PICKS = "picks.json"
SCORES = "picks.csv"


class Folder(Oracle):
    r"""Writes each round's picks into a folder of its own and reads the answers that people or programs put there.

    Round 3 goes to ``003/picks.json`` and ``003/picks.csv``; every other ``.csv`` or ``.json`` file in ``003/`` is read
    as answers, in the order of the names, so that a later file corrects an earlier one. ``picks.json`` itself may be
    filled in and saved under another name.

    Args:
        folder: where the rounds lie; made when missing.
        wait: seconds to wait for answers to all picks; 0 returns what is there.
        poll: seconds between two looks.

    Raises:
        FormatError: from ``annotate``, for an answer file with a bad row; nothing of that file is taken.

    Example:
        >>> import tempfile
        >>> from labelwise.contracts.oracle import Pick
        >>> folder = Path(tempfile.mkdtemp())
        >>> asked = Round(0, (Pick("a.png", "a.png", 0),), "random", classes=("cat", "dog"))
        >>> list(Folder(folder).annotate(asked))
        []
        >>> _ = (folder / "000" / "answers.csv").write_text("id,label\na.png,cat\n")
        >>> [answer.target for answer in Folder(folder).annotate(asked)]
        ['cat']
    """

    def __init__(self, folder: str | Path, *, wait: float = 0.0, poll: float = 1.0) -> None:
        self.folder = Path(folder)
        self.wait = wait
        self.poll = poll

    def annotate(self, asked: Round) -> Iterable[Answer]:
        """Answers that are there for picks of this round; the last one for each."""
        place = self.folder / f"{asked.number or 0:03d}"
        place.mkdir(parents=True, exist_ok=True)
        if not (place / PICKS).exists():
            for name in (SCORES, PICKS):  # the second says that both are there
                form = format_for(name, "asked", _CLASSES)
                form.write(place / name, Head(asked.classes), _records(asked), Writing("asked", _CLASSES.name))
        until = time.monotonic() + self.wait
        while True:
            answers = self._read(place, asked)
            if len(answers) == len(asked.picks) or time.monotonic() >= until:
                return answers
            time.sleep(self.poll)

    def _read(self, place: Path, asked: Round) -> list[Answer]:
        # a file may also hold answers that were taken before: the round names only what is still open
        _, picks = named("json").read(place / PICKS, "answers", Hints(_CLASSES.name, asked.classes))
        known = Known(_CLASSES, frozenset(str(record.image) for record in picks), asked.classes)
        found: dict[str, Answer] = {}
        for path in sorted(place.iterdir()):
            if path.name in (PICKS, SCORES) or path.suffix.lower() not in (".csv", ".json"):
                continue
            incoming = Incoming(path, required(path, "answers", kind=_CLASSES.name).format, "answers", known)
            rows = list(incoming.rows())
            incoming.refuse_unknown()
            found |= {row.item: Answer(row.item, row.raw, row.cost, row.record.reason) for row in rows}
        wanted = {pick.id for pick in asked.picks}
        return [answer for item, answer in found.items() if item in wanted]


def _records(asked: Round) -> Iterator[Record]:
    for pick in asked.picks:
        yield Record(Where(pick.id), pick.id, state="untouched", extra=marks(pick, asked.strategy, asked.number))
