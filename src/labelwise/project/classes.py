"""The classes of a project: named once, by its people or its first labels, and written into its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from labelwise.config import read_yaml, write_yaml
from labelwise.errors import ConfigError
from labelwise.project.images import CONFIG_NAME

if TYPE_CHECKING:
    from labelwise.contracts.kind import Kind
    from labelwise.project.project import Project


def named(project: Project, given: Sequence[str]) -> tuple[str, ...]:
    """The project's classes; the given ones while it has none.

    Raises:
        ConfigError: others are given than it has.
    """
    own = project.config.classes
    if own and given and set(given) != set(own):
        raise ConfigError(
            f"the project's classes are {', '.join(own)} already: leave --classes out, or change them in {CONFIG_NAME}"
        )
    return own or tuple(given)


def give(project: Project, given: Sequence[str]) -> None:
    """Gives a project that has none yet its classes.

    Raises:
        ConfigError: it has others already, or these are none.
    """
    names = named(project, given)
    if names and not project.config.classes:
        check(project.kind, names)
        write(project, names)


def check(kind: Kind, names: Sequence[str]) -> None:
    """Refuses names that are no classes.

    Raises:
        ConfigError: too few, an empty one, or one twice.
    """
    if len(names) < kind.fewest:
        least = {1: "one class", 2: "two classes"}.get(kind.fewest, f"{kind.fewest} classes")
        raise ConfigError(f"a project of {kind.name} needs at least {least}, and {len(names)} is given: name them all")
    if not all(name.strip() for name in names):
        raise ConfigError("a class has no name: give every class one")
    if twice := next((name for name in names if list(names).count(name) > 1), None):
        raise ConfigError(f"class {twice!r} is listed twice: give every class a name of its own")


def write(project: Project, names: tuple[str, ...]) -> None:
    """Writes the classes behind what people wrote into the file, comments and all."""
    path = project.folder / CONFIG_NAME
    config = project.config.model_copy(update={"classes": names})
    if "classes" in read_yaml(path):
        write_yaml(config, path)
    else:
        text = path.read_text(encoding="utf-8").rstrip("\n")
        added = yaml.safe_dump({"classes": list(names)}, allow_unicode=True)
        draft = path.with_name(path.name + ".tmp")
        draft.write_text(f"{text}\n{added}", encoding="utf-8")
        draft.replace(path)
    project.config = config
