"""The classes of a project and their colours: named once, by its people or its first labels, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from labelwise.config import ProjectConfig, read_yaml, write_yaml
from labelwise.errors import ConfigError
from labelwise.formats.class_colours import Colour, colour_of, in_order
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


def colours(config: ProjectConfig, names: Sequence[str]) -> tuple[Colour, ...] | None:
    """The colour of each class, as the project's file has them; None where it does not have all."""
    return in_order({name: colour_of(text) for name, text in config.palette.items()}, names)


def with_colours(
    config: ProjectConfig, names: tuple[str, ...], palette: Sequence[Colour] | None
) -> dict[str, tuple[str, ...] | dict[str, str]]:
    """What settings are to say of the classes: their names, and the colours that their masks came in.

    Args:
        config: as it is; colours that are there stay.
        names: of the classes.
        palette: colour of each, where the data say so.
    """
    found: dict[str, tuple[str, ...] | dict[str, str]] = {"classes": names}
    if palette is not None and not config.palette:
        found["palette"] = {
            name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in zip(names, palette, strict=True)
        }
    return found


def write(project: Project, names: tuple[str, ...], palette: Sequence[Colour] | None = None) -> None:
    """Writes the classes behind what people wrote into the file, comments and all, with their colours."""
    path = project.folder / CONFIG_NAME
    said = with_colours(project.config, names, palette)
    config = project.config.model_copy(update=said)
    if said.keys() & read_yaml(path).keys():
        write_yaml(config, path)
    else:
        text = path.read_text(encoding="utf-8").rstrip("\n")
        plain = {key: list(value) if key == "classes" else value for key, value in said.items()}
        added = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False)
        draft = path.with_name(path.name + ".tmp")
        draft.write_text(f"{text}\n{added}", encoding="utf-8")
        draft.replace(path)
    project.config = config
