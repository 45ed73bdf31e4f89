"""One range of values for the deep pictures of a project, found when they join it and written into its file."""

from __future__ import annotations

import re
from pathlib import Path

from labelwise.config import ProjectConfig, parse, read_yaml, with_range, write_yaml
from labelwise.contracts.source import Source
from labelwise.data.brightness import look
from labelwise.errors import ConfigError, StateError

#: the key of the settings that the range belongs to, and how far those below it are indented
_INPUT = re.compile(r"^(?P<head>input:[ \t]*(#.*)?\n)(?P<indent>[ \t]+)", re.MULTILINE)


def in_one_range(config: ProjectConfig, source: Source) -> tuple[ProjectConfig, Source]:
    """The settings and images of a project whose pictures of more than 8 bits are all read from one range.

    Args:
        config: as people gave it; a range that is there stays.
        source: the images; some are looked at where no range is given.
    """
    if config.input.range is None:
        config = with_range(config, look(source).value_range)
    return config, source.in_range(config.input.range)


def keep_range(config: ProjectConfig, source: Source, path: Path) -> ProjectConfig:
    """As :func:`in_one_range` for a project that is there: what was found goes into its file, comments and all.

    Args:
        config: of the file.
        source: the images, those that have just joined among them.
        path: the file.

    Raises:
        StateError: it cannot be written.
    """
    found, _ = in_one_range(config, source)
    if found.input.range == config.input.range:
        return config
    text = path.read_text(encoding="utf-8")
    line = f"range: {found.model_dump(mode='json')['input']['range']}"
    if "input" not in read_yaml(path):
        text = f"{text.rstrip()}\ninput:\n  {line}\n"
    else:
        text = _INPUT.sub(lambda match: f"{match['head']}{match['indent']}{line}\n{match['indent']}", text, count=1)
    put(text, found, path)
    return found


def put(text: str, config: ProjectConfig, path: Path) -> None:
    """Writes a file's own text, with what was put into it; the settings alone where that does not say them.

    Args:
        text: the file, comments and all.
        config: what it is to say.
        path: the file.

    Raises:
        StateError: it cannot be written.
    """
    draft = path.with_name(path.name + ".tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        if says(draft, config):
            draft.replace(path)
        else:  # written in a way that no line can be put into
            draft.unlink()
            write_yaml(config, path)
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror}. Is it read-only?") from error


def says(path: Path, config: ProjectConfig) -> bool:
    """Whether a file holds exactly these settings."""
    try:
        return parse(ProjectConfig, read_yaml(path), where=path.name) == config
    except ConfigError:
        return False
