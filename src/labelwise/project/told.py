"""What labels say of the task of a project, as names of key points: checked, and written into its file once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from labelwise import kinds
from labelwise.config import ProjectConfig
from labelwise.project.images import CONFIG_NAME
from labelwise.project.reading import put

if TYPE_CHECKING:
    from labelwise.project.opened import Opened

#: a task of which only the name is said, with what people wrote behind it
_TASK = re.compile(r"^task:[ \t]*[\w.]+(?P<comment>[ \t]*#.*)?$", re.MULTILINE)


def settled(config: ProjectConfig, raws: Iterable[Any]) -> tuple[ProjectConfig, list[str]]:
    """Settings with the options of the task that labels say and nobody gave, and notes.

    Raises:
        DataError: labels that contradict the settings, or each other.
    """
    task = config.task
    options, notes = kinds.settled(task.name, task.options, raws)
    if options == task.options:
        return config, notes
    return config.model_copy(update={"task": task.model_copy(update={"options": options})}), notes


def settle(project: Opened, raws: Iterable[Any]) -> list[str]:
    """Gives a project what labels say of its task, and writes it into its file, comments and all; returns notes.

    Raises:
        DataError: labels that contradict the settings, or each other.
        StateError: the file cannot be written.
    """
    found, notes = settled(project.config, raws)
    if found is project.config:
        return []  # told when it was written
    _write(found, project.folder / CONFIG_NAME)
    project.config = found
    return notes


def skeleton(config: ProjectConfig) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None:
    """Names of the key points of a project and pairs of their positions, where its task knows some."""
    options = config.task.options
    names = tuple(options.get("points", ()))
    limbs = [limb for limb in options.get("limbs", ()) if all(end in names for end in limb)]
    return (names, tuple((names.index(one), names.index(other)) for one, other in limbs)) if names else None


def _write(config: ProjectConfig, path: Path) -> None:
    said = yaml.safe_dump(config.task.model_dump(mode="json"), allow_unicode=True, sort_keys=False, width=100)
    block = "".join(f"\n  {line}" for line in said.splitlines())
    text = _TASK.sub(lambda match: f"task:{match['comment'] or ''}{block}", path.read_text(encoding="utf-8"), count=1)
    put(text, config, path)
