"""Tasks of Label Studio as records: which picture, who, when, what state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from labelwise.contracts.record import Origin, Record, State, Where
from labelwise.errors import FormatError
from labelwise.formats.label_studio_results import Said, said
from labelwise.formats.numbers import number
from labelwise.formats.picture_address import is_picture, path_of

#: what a task's data keep for labelwise
OWN = "labelwise_"
#: names that the picture of a task usually has, in order of preference
_PICTURES = ("image", "img", "picture", "photo", "image_url", "url")
_EPOCH = datetime.min.replace(tzinfo=UTC)


@dataclass
class Tasks:
    """Reads the tasks of one file.

    Args:
        shown: the file, for messages.
        unit: ``task`` or ``row``.
        counts: what is left out or changed, by a line that ``{n}`` stands in.
    """

    shown: str
    unit: str = "task"
    counts: Counter[str] = field(default_factory=Counter)

    def where(self, row: int) -> Where:
        """Place of a task, for messages."""
        return Where(self.shown, self.unit, row)

    # ---- answers ----------------------------------------------------------------------------------------------------

    def answers(self, row: int, task: Mapping[str, Any]) -> Iterator[tuple[Record, Said | None]]:
        """A record for each annotation of a task, the oldest first; one for a task without any."""
        where = self.where(row)
        annotations = _listed(task, ("annotations", "completions"), where)
        base = self._picture(task, where, annotations)
        if not annotations:
            if task.get("drafts"):
                self.counts["{n} task(s) with a draft that nobody submitted: taken as not answered"] += 1
            yield base, None
            return
        for annotation in sorted(annotations, key=_time):
            yield self._annotation(base, annotation, where)

    def _annotation(self, base: Record, annotation: Mapping[str, Any], where: Where) -> tuple[Record, Said]:
        found = said(annotation.get("result") or [], str(where), self.counts)
        skipped = any(annotation.get(key) not in (None, False, 0) for key in ("was_cancelled", "skipped"))
        known = bool(found.objects or found.choices or found.extra)
        unread = not skipped and not known and bool(annotation.get("result"))
        self.counts["{n} annotation(s) hold nothing but results that are left out: taken as not answered"] += unread
        state: State = "skipped" if skipped else "answered" if known else "untouched" if unread else "empty"
        seconds = annotation.get("lead_time")
        if seconds is not None and number(seconds, str(where), "lead_time") < 0:
            raise FormatError(f"{where}: lead_time is {seconds!r:.40}; give seconds, 0 or more")
        return _with(
            base,
            found,
            state=state,
            annotator=_person(annotation),
            seconds=seconds,
            origin=_origin(found, annotation),
            reason=str(annotation.get(f"{OWN}reason") or ""),
        ), found

    # ---- predictions ------------------------------------------------------------------------------------------------

    def predictions(self, row: int, task: Mapping[str, Any]) -> tuple[Record, Said | None]:
        """What a model said of a task: the newest prediction."""
        where = self.where(row)
        given = _listed(task, ("predictions",), where, numbers=True)
        base = self._picture(task, where, [one for one in given if isinstance(one, dict)])
        if not given:
            return base, None
        if not all(isinstance(one, dict) for one in given):
            raise FormatError(
                f"{where}: predictions are numbers only ({given!r:.40}), as exports have them: ask the server for "
                "the tasks themselves (/api/tasks?fields=all), or give the file that the predictions came from"
            )
        if len(given) > 1:
            self.counts["{n} task(s) with several predictions: the newest is taken"] += 1
        newest = sorted(given, key=_time)[-1]
        found = said(newest.get("result") or [], str(where), self.counts)
        return _with(base, found, state="answered" if found.objects or found.choices else "empty"), found

    # ---- pictures ---------------------------------------------------------------------------------------------------

    def _picture(self, task: Mapping[str, Any], where: Where, annotations: Sequence[Any]) -> Record:
        """What a task says of its picture, before anybody has answered."""
        data = task.get("data")
        if not isinstance(data, dict):
            raise FormatError(f"{where}: 'data' is {data!r:.60}; give an object that names the picture")
        own = data.get(f"{OWN}id")
        if own is not None and (not isinstance(own, str) or not own):
            raise FormatError(f"{where}: {OWN}id is {own!r:.60}; give text")
        name = own if own is not None else path_of(self._address(task, data, where, annotations))
        extra = data.get(f"{OWN}extra")
        return Record(
            where=where,
            image=name,
            state="untouched",
            split=_text(data, f"{OWN}split", where),
            group=_text(data, f"{OWN}group", where),
            extra=dict(extra) if isinstance(extra, dict) else {},
        )

    def _address(
        self, task: Mapping[str, Any], data: Mapping[str, Any], where: Where, annotations: Sequence[Any]
    ) -> str:
        pages = [
            key for key, value in data.items() if isinstance(value, list) and value and all(map(is_picture, value))
        ]
        found = {key: value for key, value in data.items() if not str(key).startswith(OWN) and is_picture(value)}
        found |= {key: data[key][0] for key in pages if len(data[key]) == 1}
        if not found and pages:
            raise FormatError(
                f"{where}: {pages[0]!r:.40} lists {len(data[pages[0]])} pictures in one task: make a task of each"
            )
        if len(found) > 1:
            # the tag that results speak of usually bears the name of its value
            spoken = {result.get("to_name") for one in annotations for result in _results(one)}
            chosen = [key for key in found if key in spoken] or [key for key in _PICTURES if key in found]
            if not chosen:
                raise FormatError(
                    f"{where}: pictures in {', '.join(map(repr, list(found)[:5]))}, and nothing says which was "
                    "labelled: call it 'image'"
                )
            found = {chosen[0]: found[chosen[0]]}
        if found:
            return str(next(iter(found.values())))
        upload = task.get("file_upload")
        if isinstance(upload, str) and is_picture(upload):
            return upload
        listed = ", ".join(f"{key!r:.30}" for key in list(data)[:6]) or "nothing"
        raise FormatError(f"{where}: none of its data ({listed}) is the address of a picture: call it 'image'")


def _with(base: Record, found: Said, **more: Any) -> Record:
    return Record(
        where=base.where,
        image=base.image,
        size=found.size,
        fractions=found.size is None and bool(found.objects),
        objects=found.objects,
        split=base.split,
        group=base.group,
        extra=base.extra,
        **more,
    )


def _results(annotation: Any) -> Iterable[Mapping[str, Any]]:
    listed = annotation.get("result") if isinstance(annotation, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _listed(task: Mapping[str, Any], keys: Sequence[str], where: Where, *, numbers: bool = False) -> list[Any]:
    for key in keys:
        value = task.get(key)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(one, dict | int if numbers else dict) for one in value):
            raise FormatError(f"{where}: {key!r} is {value!r:.60}; give a list of objects")
        return value
    return []


def _text(data: Mapping[str, Any], key: str, where: Where) -> str | None:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value or None
    raise FormatError(f"{where}: {key} is {value!r:.60}; give text")


def _time(annotation: Mapping[str, Any]) -> datetime:
    """When it was last changed; the beginning of time where it does not say, so that the file's order holds."""
    for key in ("updated_at", "created_at"):
        try:
            found = datetime.fromisoformat(str(annotation.get(key)))
        except ValueError:
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return _EPOCH


def _person(annotation: Mapping[str, Any]) -> str | None:
    """The e-mail address where the export has it, else the number."""
    who = annotation.get(f"{OWN}annotator") or annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return None if who in (None, "") or isinstance(who, list | dict) else str(who)


def _origin(found: Said, annotation: Mapping[str, Any]) -> Origin | None:
    """Accepted where nothing was drawn, changed or taken away; corrected where something was."""
    known = [origin for origin in found.origins if origin is not None]
    guess = annotation.get("prediction")
    offered = len(list(_results(guess))) if isinstance(guess, dict) else 0
    if not known:
        return None
    if set(known) == {"accepted"}:
        return "accepted" if len(known) >= offered else "corrected"
    return "drawn" if set(known) == {"drawn"} else "corrected"
