"""Rounds that are labelled on a server of others: what goes there, what comes back, and what is kept of it here."""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from labelwise.config import ToolConfig, read_yaml, write_yaml
from labelwise.contracts.picture import as_image
from labelwise.contracts.tool import Asked, Pictures, Place, Sent, Tool
from labelwise.errors import ConfigError, StateError, ToolError, cut
from labelwise.exchange.incoming import Wishes
from labelwise.exchange.tools import TOOLS
from labelwise.formats.files import there_is, write_whole
from labelwise.project.answers import Imported
from labelwise.project.giving import asked_records, going_head
from labelwise.project.images import CONFIG_NAME
from labelwise.project.reading import put

if TYPE_CHECKING:
    from labelwise.contracts.source import Source
    from labelwise.project.project import Project

#: endings of pictures that every browser shows
_SHOWN = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"})
#: what is kept beside the events of a project: how far its answers were read, and the file that they came in
_KEPT, _PULLED = "tool.json", "pulled"


@dataclass(frozen=True)
class Step:
    """What one look of :meth:`Labelling.sync` brought.

    Args:
        imported: what came back; None: nothing new.
        open: picks that still wait.
        sent: what went out, where a round was begun.
        failed: why this look brought nothing, where the server does not answer.
    """

    imported: Imported | None
    open: int
    sent: Sent | None = None
    failed: str = ""


@dataclass(frozen=True)
class Labelling:
    """A project and the server on which its rounds are labelled. Each verb can be run again, done or killed.

    Args:
        project: whose rounds they are.
        token: of the user there; never written down.
    """

    project: Project
    token: str

    def connect(self, name: str, place: Place) -> list[str]:
        """Makes or takes a project there, and writes its address into the file of this one.

        Args:
            name: of the tool.
            place: where; a project that was connected before keeps its key.

        Returns:
            What people should know.

        Raises:
            ConfigError: no such tool, the project asks for regions, or has no classes yet.
            ToolError: see :meth:`Tool.prepare`.
        """
        project = self.project
        with project.changing():
            cls = TOOLS.get(name.replace("-", "_"))
            _check(project, cls)
            tool = project.config.tool
            key = secrets.token_hex(8) if tool is None else tool.key
            place = replace(place, key=key, title=place.title or project.folder.resolve().name)
            with closing(cls(place, self.token)) as there:
                found, notes = there.prepare(_asked(project, place))
            said = {key: dict(value) if isinstance(value, Mapping) else value for key, value in asdict(found).items()}
            _write(project, ToolConfig(name=cls.name, **said))
        return list(notes)

    def push(self, predictions: str | Path | None = None, wishes: Wishes | None = None) -> Sent:
        """Makes what people are asked there what is asked here.

        Args:
            predictions: somebody's file, in place of what the model trained last would draw.
            wishes: how to read it.

        Raises:
            StateError: no round is open, or the project is connected to no server.
            ToolError: see :meth:`Tool.push`.
        """
        file = None if predictions is None else Path(predictions)
        with self._opened() as tool:
            head, records, notes = asked_records(self.project, self.project.open_round(), (file, wishes))
            done = tool.push(replace(_asked(self.project, tool.place), head=head, records=tuple(records)))
        return replace(done, notes=(*done.notes, *notes))

    def pull(self, *, add_classes: bool = False) -> Imported | None:
        """Takes the answers that are new there, as ``import`` takes a file; None where nothing has changed.

        How far was read is noted after the answers were written down: killed between the two, the same ones are read
        once more, and change nothing.

        Args:
            add_classes: classes that the project does not have join it; else they are refused.

        Raises:
            FormatError: an answer that cannot be taken, such as an unknown class; nothing is.
            StateError: the project is connected to no server.
            ToolError: see :meth:`Tool.pull`.
        """
        project = self.project
        with self._opened() as tool:
            place = tool.place
            images = {item.path for item in project.pool.items}
            fetched = tool.pull(_since(project, place), project.state / _PULLED, images)
        done = None
        if fetched.file is not None:
            wishes = Wishes(
                format=fetched.format, untouched=fetched.untouched, ignore_unknown=True, add_classes=add_classes
            )
            done = project.import_labels(fetched.file, wishes=wishes)
            done = replace(done, notes=(*fetched.notes, *done.notes))
        kept = {"key": place.key, "number": place.number, "until": fetched.until}
        write_whole(project.state / _KEPT, json.dumps(kept).encode())
        return done

    def withdraw(self) -> tuple[int, int]:
        """Takes the open picks away from the people there; gives how many, and how many were answered or begun.

        Raises:
            ToolError: see :meth:`Tool.withdraw`.
        """
        pool = self.project.pool
        with self._opened() as tool:
            return tool.withdraw({pool.items[position].path for position in pool.pending})

    def sync(self, *, every: float = 60.0, when: float = 0.9) -> Iterator[Step]:
        """Pulls again and again; when enough of a round is answered trains, chooses the next and sends it. Never ends.

        Args:
            every: seconds between two looks.
            when: share of the round that has to be answered before the next one is begun.

        Raises:
            ConfigError: numbers out of their range.
        """
        if not (every > 0 and 0 < when <= 1):
            raise ConfigError(
                f"--every is {every:g} and --when {when:g}: give seconds above 0, and a share above 0 up to 1"
            )
        while True:
            try:
                yield self._look(when)
            except ToolError as error:  # it may come back
                yield Step(None, len(self.project.pool.pending), failed=str(error))
            time.sleep(every)

    def _look(self, when: float) -> Step:
        project, done = self.project, self.pull()
        project.forget()
        waiting = len(project.pool.pending)
        if waiting > (1 - when) * _size_of_round(project):
            return Step(done, waiting)
        if len(project.pool.candidates):
            project.suggest(more=True)
            project.forget()
        waiting = len(project.pool.pending)
        return Step(done, waiting, self.push() if waiting else None)

    def _opened(self) -> closing[Tool]:
        """The tool that the project is connected to, for as long as it is needed."""
        config = _connected(self.project)
        place = {key: value for key, value in config.model_dump().items() if key != "name"}
        return closing(TOOLS.get(config.name)(Place(**place), self.token))


def variable(project: Project, name: str | None = None) -> str:
    """The variable of the environment that holds the token: of a tool, or of the one that the project is connected to.

    Raises:
        ConfigError: no such tool.
        StateError: no tool is named, and the project is connected to none.
    """
    return TOOLS.get((name or _connected(project).name).replace("-", "_")).variable


def _connected(project: Project) -> ToolConfig:
    if (config := project.config.tool) is None:
        raise StateError(
            "this project is connected to no server: run 'labelwise connect label-studio --url URL', or export files"
        )
    return config


def _check(project: Project, cls: type[Tool]) -> None:
    """Refuses what cannot be labelled there.

    Raises:
        ConfigError: another kind of label, regions, or no classes yet.
    """
    if project.kind.name not in cls.kinds:
        raise ConfigError(f"{cls.title} has no place for {project.kind.name}: it takes {', '.join(sorted(cls.kinds))}")
    if project.config.regions is not None:
        raise ConfigError(f"regions are not sent to {cls.title}: export files for them, or ask for whole images")
    if not project.config.classes:
        raise ConfigError(f"nobody can label before there are classes: name them in {CONFIG_NAME}, classes: [a, b]")


def _size_of_round(project: Project) -> int:
    """How many were asked in the newest round."""
    asked = project.pool.queries()
    newest = max((event.round for event in asked), default=0)
    return sum(event.round == newest for event in asked)


def _asked(project: Project, place: Place) -> Asked:
    return Asked(project.kind.name, going_head(project), (), _pictures(project.source, place), project.progress)


def _pictures(source: Source, place: Place) -> Pictures:
    """The pictures of a project; never a file that lies outside its folder."""
    root = None if source.root is None else source.root.resolve()

    def read(image: str) -> Path | tuple[bytes, str]:
        found = source.encoded(image)
        if isinstance(found, str) and root is not None:
            path = Path(found)
            if not path.resolve().is_relative_to(root):
                raise ToolError(
                    f"{cut(image, 80)!r} leads to a file outside {cut(str(root), 80)}: only what lies there is shown "
                    "to others. Copy it there"
                )
            if place.files == "local" or path.suffix.lower() in _SHOWN:
                return path
        return _as_png(source, image), ".png"

    return Pictures(root, read)


def _as_png(source: Source, image: str) -> bytes:
    memory = io.BytesIO()
    as_image(source.thumbnail(image, max(source.size(image)))).save(memory, "PNG")
    return memory.getvalue()


def _since(project: Project, place: Place) -> str:
    """Up to when answers were read of the same project there; "" for none."""
    path = project.state / _KEPT
    if not there_is(path):
        return ""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return str(kept["until"]) if (kept["key"], kept["number"]) == (place.key, place.number) else ""
    except (ValueError, KeyError, TypeError):
        return ""  # then all are read


def _write(project: Project, tool: ToolConfig) -> None:
    """Puts where people label behind what stands in the file of the project, comments and all."""
    path = project.folder / CONFIG_NAME
    config = project.config.model_copy(update={"tool": tool})
    if "tool" in read_yaml(path):
        write_yaml(config, path)
    else:
        said = {"tool": tool.model_dump(mode="json", exclude_defaults=True)}
        text = path.read_text(encoding="utf-8").rstrip("\n")
        put(f"{text}\n{yaml.safe_dump(said, allow_unicode=True, sort_keys=False)}", config, path)
    project.config = config
