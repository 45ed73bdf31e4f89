"""The way out: picks that wait for an answer, and labels that are there, as records for any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labelwise.contracts.format import Format, Writes
from labelwise.contracts.kind import Kind
from labelwise.contracts.oracle import Pick
from labelwise.contracts.record import IGNORE, Head, Mask, Record, Where
from labelwise.contracts.source import Role, Source, is_region, is_subject
from labelwise.errors import ConfigError, DataError, unknown
from labelwise.exchange.sniffing import named
from labelwise.formats import FORMATS
from labelwise.formats.pose_rows import SUBJECT
from labelwise.formats.splits import WORD_OF
from labelwise.kinds.subjects import Subject

if TYPE_CHECKING:
    import numpy as np


def writing(use: Writes, kind: str) -> list[Format]:
    """All formats that write for this use and kind of label."""
    found = [FORMATS.create(name) for name in FORMATS.names()]
    return [one for one in found if use in one.writes and kind in one.kinds]


def format_for(path: str, use: Writes, kind: Kind, name: str | None = None) -> Format:
    """The format to write: the one named, or what the ending of the path means for this kind of label.

    Raises:
        ConfigError: an unknown name or ending, or a format that does not write this.
    """
    allowed = {one.name: one for one in writing(use, kind.name)}
    if name is not None:
        chosen = named(name)
        if use not in chosen.writes or chosen.name not in allowed:
            raise unknown(f"format for {use} {kind.name}", chosen.name, allowed)
        return chosen
    ending = path[path.rfind(".") :].lower() if "." in path.rpartition("/")[2] else ""
    usual = [allowed[one] for one in kind.written if one in allowed]
    fits = [one for one in (*usual, *allowed.values()) if one.ending == ending and ending]
    if fits:
        return fits[0]
    endings = sorted({one.ending for one in allowed.values() if one.ending})
    folders = sorted(one.name for one in allowed.values() if not one.ending)
    listed = f"{', '.join(endings)} or " if endings else ""
    raise ConfigError(
        f"cannot tell the format of {path!r:.100} by its ending: use {listed}.html"
        + (f", or say --format {' or '.join(folders)} for a folder" if folders else "")
    )


@dataclass(frozen=True)
class Going:
    """What records are made of.

    Args:
        kind: of label.
        source: tells paths, sizes and regions.
        classes: of the project, in index order.
        palette: colour of each class, where the data say so.
        skeleton: names of key points and pairs of their positions, where the project knows them.
    """

    kind: Kind
    source: Source
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] | None = None
    skeleton: tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None = None

    @property
    def head(self) -> Head:
        """What files say once."""
        return Head(classes=self.classes, palette=self.palette, says_empty=True, skeleton=self.skeleton)

    def asked(
        self, picks: Iterable[Pick], guesses: Mapping[str, Any], strategy: str, round_: int | None
    ) -> Iterator[Record]:
        """A record for each pick, marked as not answered, with what the model would draw.

        Subjects of one image are asked in one record, in place of the first of them: people open an image once.

        Args:
            picks: in the order chosen.
            guesses: image or subject -> raw label with scores; {} without a model. Of a region its pixels are taken.
            strategy: what chose them.
            round_: number of the round.
        """
        asked = list(picks)
        together: dict[str, list[str]] = {}
        for pick in asked:
            together.setdefault(self.source.within(pick.id)[0], []).append(pick.id)
        for pick in asked:
            image, place = self.source.within(pick.id)
            region, whole = place if is_region(place) else None, {}
            if is_subject(place):
                whole = {"path": self.source.path(image)}
                if (subjects := together.pop(image, None)) is None:
                    continue
                raw = self._subjects(image, subjects, guesses)
            else:
                raw = guesses.get(image)
            guessed = None if raw is None else self.kind.to_record(image, raw, self.classes)
            record = guessed or Record(Where(image))
            outline = None if region is None else self._outline(pick.id)
            yield replace(
                record,
                image=image,
                pixels=record.pixels if outline is None else _inside(record.pixels, outline),
                region=region and region_number(pick.id),
                outline=outline,
                size=self._size(image),
                state="untouched",
                extra={**record.extra, **marks(pick, strategy, round_)} | whole,
            )

    def _subjects(self, image: str, items: Sequence[str], guesses: Mapping[str, Any]) -> dict[str, Any] | None:
        """The asked subjects of an image as one label: the box of each with its number, and the points of a model."""
        if (size := self._size(image)) is None:
            return None
        things: list[dict[str, Any]] = []
        limbs: dict[str, Any] = {}
        for item in items:
            subject = Subject.at(*self.source.within(item))  # type: ignore[arg-type]
            raw = guesses.get(item)
            guess: dict[str, Any] = {"class": next(iter(self.classes), SUBJECT), "points": []}
            if raw is not None:
                guess, limbs = dict(raw["objects"][0]), {k: raw[k] for k in ("skeleton",) if raw.get(k)}
            things.append({**guess, "box": list(subject.box), "extra": {"subject": int(region_number(item))}})
        if not all("score" in thing for thing in things):  # all have one, or none
            things = [{key: value for key, value in thing.items() if key != "score"} for thing in things]
        return {"size": list(size), "objects": things, **limbs}

    def labelled(self, labels: Mapping[str, Any], roles: Mapping[str, Role]) -> Iterator[Record]:
        """A record for each picture with a label; what was said of the regions of a picture becomes one label."""
        parts: dict[str, dict[str, Any]] = {}
        for item, raw in labels.items():
            parts.setdefault(self.source.within(item)[0], {})[item] = raw
        for image, said in parts.items():
            raws, first = list(said.values()), next(iter(said))
            raw = raws[0] if len(raws) == 1 else self.kind.merge(raws)
            record = self.kind.to_record(image, raw, self.classes)
            # subjects are held out with their images, and an image is no group of its own
            item = first if is_subject(self.source.within(first)[1]) else image
            split, group = WORD_OF[roles.get(item, "pool")], self.source.groups.get(item)
            group = None if group == image else group
            yield replace(record, image=image, size=record.size or self._size(image), split=split, group=group)

    def _size(self, image: str) -> tuple[int, int] | None:
        try:
            return self.source.size(image)
        except DataError:
            return None

    def _outline(self, item: str) -> Mask:
        inside, at = self.source.outline(item)
        return Mask((inside.shape[1], inside.shape[0]), lambda: inside, at)


def _inside(pixels: Mask | None, outline: Mask) -> Mask | None:
    """The part of a mask of a whole picture that lies in a region, so that nothing else comes back."""
    if pixels is None:
        return None

    def read() -> np.ndarray:
        import numpy as np

        (x, y), inside = outline.at, outline.read()
        window = pixels.read()[y : y + inside.shape[0], x : x + inside.shape[1]]
        return np.where(inside, window, IGNORE).astype(np.uint8)

    return Mask(outline.size, read, outline.at)


def region_number(item: str) -> str:
    """The part of a region's id that names it in its picture."""
    return item.rpartition("#")[2]


def marks(pick: Pick, strategy: str, round_: int | None) -> dict[str, Any]:
    """What is known of a pick, under the names that formats write."""
    known: dict[str, Any] = {
        "answered": False,
        "path": pick.path,
        "rank": pick.rank,
        "strategy_score": None if pick.score is None else float(pick.score),
        "strategy": pick.strategy or strategy,
        "predicted": pick.predicted,
        "probability": None if pick.probability is None else float(pick.probability),
        "round": round_ if pick.round is None else pick.round,
    }
    return {key: value for key, value in known.items() if value is not None}
