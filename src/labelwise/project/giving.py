"""What a project gives to people and to other trainings: open picks, pictures of them, and all labels so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.contracts.format import Format, Writing
from labelwise.contracts.picture import picture_of
from labelwise.contracts.record import Head, Record
from labelwise.contracts.source import read_for
from labelwise.errors import ConfigError, StateError
from labelwise.exchange.incoming import Wishes
from labelwise.exchange.outgoing import Going, format_for
from labelwise.project.asking import noun_of
from labelwise.project.told import skeleton

if TYPE_CHECKING:
    from PIL.Image import Image

    from labelwise.contracts.oracle import Round
    from labelwise.project.project import Project

#: a file of predictions, and how to read it
Predictions = tuple[Path | None, Wishes | None]

#: endings of a gallery
PICTURES = (".html", ".htm")
#: longest side of a picture in a page, and of one that shows several panels, in pixels
SIDE, WIDE = 400, 804


def is_gallery(path: Path, name: str | None) -> bool:
    """Whether picks are wanted as a page to look at."""
    return name == "html" or (name is None and path.suffix.lower() in PICTURES)


def check_target(project: Project, path: Path, name: str | None, use: Literal["asked", "labelled"]) -> Format | None:
    """The format that a path will be written in; None for a gallery.

    Raises:
        ConfigError: an unknown ending or format, or one that cannot hold what is to be written.
    """
    if is_gallery(path, name):
        if use == "labelled":
            raise ConfigError(f"labels are not written as a gallery: {path} needs another ending, or say --format")
        return None
    return format_for(str(path), use, project.kind, name)


def give_picks(project: Project, path: Path, name: str | None, asked: Round, predictions: Predictions) -> list[str]:
    """Writes the unanswered picks of a round, with what the model would draw.

    Args:
        project: whose picks they are.
        path: file or folder.
        name: of the format; None: by the ending of the path.
        asked: the picks.
        predictions: somebody's file, in place of the model trained last, and how to read it.

    Returns:
        What the format has no place for, one line each.

    Raises:
        ConfigError: an unknown ending, or a format that cannot hold this.
        StateError: the file cannot be written.
    """
    form = check_target(project, path, name, "asked")
    with _writing(path):
        if form is None:
            return _gallery(project, path, asked, predictions)
        head, asking, notes = asked_records(project, asked, predictions)
        how = Writing("asked", project.kind.name, path_of=project.source.path, progress=project.progress)
        return [*form.write(path, head, asking, how), *notes]


def asked_records(
    project: Project, asked: Round, predictions: Predictions = (None, None)
) -> tuple[Head, Iterator[Record], list[str]]:
    """The picks of a round as they go out, with what a model would draw; what all have in common, and notes."""
    images = list(dict.fromkeys(read_for(project.source, pick.id) for pick in asked.picks))
    hinted = _hinted(project, images)
    guesses, notes = project.said(hinted, *predictions) if hinted else ({}, [])
    going = _going(project)
    return going.head, going.asked(asked.picks, guesses, asked.strategy, asked.number), notes


def give_labels(project: Project, path: Path, name: str | None, images: Literal["link", "copy", "list"]) -> list[str]:
    """Writes every label so far, of the pool, of validation and test images, as a set that trains as it is.

    Args:
        project: whose labels they are.
        path: file or folder.
        name: of the format; None: by the ending of the path.
        images: whether pictures lie in the set as links, as copies, or are named in lists.

    Returns:
        What the format has no place for, one line each.

    Raises:
        ConfigError: an unknown ending, or a format that cannot hold this.
        StateError: nothing has a label, or the file cannot be written.
    """
    form = check_target(project, path, name, "labelled")
    assert form is not None, "a gallery was refused"
    labels = project.labels(("pool", "validation", "test"))
    if not labels:
        raise StateError("no image has a label yet: run 'labelwise suggest', and import the answers")
    roles = project.roles()
    how = Writing("labelled", project.kind.name, project.source.path, images, project.progress)
    going = _going(project)
    with _writing(path):
        return form.write(path, going.head, going.labelled(labels, roles), how)


def _hinted(project: Project, items: Sequence[str]) -> list[str]:
    """Those that are not held out: a test set that is labelled with hints agrees with the model more than it should."""
    return [item for item in items if not project.pool.is_held_out(project.pool.position(item))]


def going_head(project: Project) -> Head:
    """What files of a project say once."""
    return _going(project).head


def _going(project: Project) -> Going:
    return Going(project.kind, project.source, project.config.classes, project.palette(), skeleton(project.config))


class _writing:
    """Makes the folder above a path, and turns what the system refuses into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._refuse(error)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        raise StateError(f"cannot write {self.path}: {error.strerror or error}. Choose another path") from error


def pictures(
    project: Project, ids: Sequence[str], predictions: Predictions = (None, None)
) -> tuple[Callable[[str], Image | None], list[str]]:
    """What gives the picture of an item, with what was predicted and what people said, and what to know of a file."""
    # imported here: a model may have to be loaded
    from labelwise.exchange.pictures import drawn
    from labelwise.project.learning import Learning

    learning, kind = Learning(project), project.kind
    hinted = _hinted(project, ids)
    learner, notes = learning.predictor(*predictions) if kind.drawn and hinted else (None, [])
    picture = drawn(
        learning.task(),
        project.source,
        partial(picture_of, project.source, side=SIDE),
        hinted,
        learner=learner,
        labelled=project.labels() if kind.drawn else {},
        palette=project.palette(),
    )
    return picture, notes


def _gallery(project: Project, path: Path, asked: Round, predictions: Predictions) -> list[str]:
    """Writes the page; what is said of a file of predictions stands on it too."""
    # imported here: drawing would cost every other command a second
    from labelwise.report.gallery import write_gallery

    numbers = sorted({pick.round for pick in asked.picks if pick.round is not None})
    rounds = f"round{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
    noun = noun_of(project, asked.picks)
    picture, notes = pictures(project, [pick.id for pick in asked.picks], predictions)
    write_gallery(
        path,
        asked.picks,
        image_of=picture,
        side=WIDE if project.kind.drawn else None,
        title=f"{project.folder.resolve().name}: {rounds if numbers else 'ranking'}",
        subtitle=". ".join([f"{len(asked.picks)} {noun}s chosen by {asked.strategy}", *notes]),
        classes=project.config.classes,
    )
    return notes
