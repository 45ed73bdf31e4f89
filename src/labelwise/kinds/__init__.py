"""Kinds of label: classes of pictures, boxes, masks, key points. A file put here is a kind, known by its ``name``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labelwise.contracts.kind import Kind
from labelwise.contracts.source import Source
from labelwise.errors import ConfigError
from labelwise.registry import Registry, import_object

#: all kinds by name
KINDS: Registry[Kind] = Registry("kind of label", "labelwise.kinds", Kind)  # type: ignore[type-abstract]


def kind_of(task: str) -> Kind | None:
    """The kind of label that a task trains on; of ``package.module:name`` what that task says.

    None for a name of no task: whoever uses it says so.
    """
    if ":" in task:
        found = getattr(import_object(task), "kind", None)
        return found if isinstance(found, Kind) else None
    kinds = (KINDS.create(name) for name in KINDS.names())
    return next((kind for kind in kinds if kind.task == task), None)


def kind_of_labels(truth: Mapping[str, Any]) -> Kind | None:
    """The kind whose form the first label has; None where there is no label, or none of a kind that is known."""
    label = next(iter(truth.values()), None)
    kinds = (KINDS.create(name) for name in KINDS.names())
    return None if label is None else next((kind for kind in kinds if kind.owns(label)), None)


def check_labels(source: Source, task: str, wanted: Kind) -> None:
    """Refuses a source whose labels are of another kind than a task's.

    Args:
        source: the images, with their labels where they have any.
        task: its name, for the message.
        wanted: its kind.

    Raises:
        ConfigError: says what the labels are, and what to do.
    """
    found = kind_of_labels(source.truth) if source.kind is None else KINDS.create(source.kind)
    if found is None or not source.truth or found.name == wanted.name:
        return
    raise ConfigError(
        f"the labels that lie with the images are {found.name}, and the task is {task}: say --task {found.task} (task: "
        f"{found.task} in a file), or --labels none where a project should leave them out"
    )


def settled(task: str, options: Mapping[str, Any], raws: Iterable[Any]) -> tuple[dict[str, Any], list[str]]:
    """Options of a task with what labels say of those that nobody gave, and notes; see ``Kind.settled``.

    A task of somebody's own knows its options itself.

    Raises:
        DataError: labels that contradict the options, or each other.
    """
    kind = kind_of(task)
    return (dict(options), []) if kind is None or kind.task != task else kind.settled(options, raws)
