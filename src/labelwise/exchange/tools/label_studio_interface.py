"""The labelling interface of a project in Label Studio: which of its controls means what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelwise.contracts.tool import Asked
from labelwise.errors import ConfigError, ToolError, few
from labelwise.exchange.tools.there import only_there

#: tag of a control -> what ``labelwise.formats.label_studio_write`` calls it
_OURS = {
    "Choices": "choice",
    "RectangleLabels": "box",
    "PolygonLabels": "outline",
    "BrushLabels": "brush",
    "KeyPointLabels": "point",
}
#: kind of label -> controls of which one has to be there
_NEEDED = {
    "classes": ("Choices",),
    "tags": ("Choices",),
    "boxes": ("RectangleLabels",),
    "masks": ("BrushLabels", "PolygonLabels"),
    "points": ("KeyPointLabels",),
}
#: kind of label -> what else belongs to it
_FURTHER = {"points": ("RectangleLabels",)}


class Interface:
    """The controls of one project, as the server has read them out of its XML.

    Args:
        project: as the server gives it.
        chosen: our name of a control -> the one that the user meant, where there are several.
    """

    def __init__(self, project: Mapping[str, Any], chosen: Mapping[str, str] | None = None) -> None:
        self.controls: Mapping[str, Mapping[str, Any]] = project.get("parsed_label_config") or {}
        self.shown_as = f"project {project.get('id')} ({project.get('title')!r:.40})"
        self.chosen = dict(chosen or {})

    @classmethod
    def fitting(
        cls, project: Mapping[str, Any], asked: Asked, chosen: Mapping[str, str]
    ) -> tuple[Interface, list[str]]:
        """The interface, if this kind of label can be given in it, and what people should know of its classes.

        Raises:
            ToolError: it has no control for them.
            ConfigError: it has several, and nothing says which.
        """
        found = cls(project, chosen)
        needed = _NEEDED[asked.kind]
        for tag in (*needed, *_FURTHER.get(asked.kind, ())):
            found._choose(tag)
        if not any(_OURS[tag] in found.chosen for tag in needed):
            raise ToolError(
                f"the interface of {found.shown_as} has no {' or '.join(needed)}, so that nobody can give {asked.kind} "
                "there: add one under its settings, or let labelwise make a project of its own (leave --number out)"
            )
        classes = asked.head.classes
        offered = {name for tag in needed for name in found.offered(_OURS[tag])}
        if asked.kind == "points" and asked.head.skeleton:
            classes = asked.head.skeleton[0]
        notes = []
        if missing := [name for name in classes if name not in offered]:
            notes.append(
                f"{len(missing):,} class(es) or point(s) that {found.shown_as} does not offer, nobody can give them: "
                f"{few(missing)}"
            )
        if classes:
            notes += only_there(classes, offered, found.shown_as)
        return found, notes

    def _choose(self, tag: str) -> None:
        named = [name for name, control in self.controls.items() if control["type"] == tag]
        ours = _OURS[tag]
        if (wish := self.chosen.get(ours)) is not None:
            if wish not in named:
                raise ConfigError(f"{self.shown_as} has no {tag} called {wish!r:.40}: it has {few(named) or 'none'}")
        elif len(named) == 1:
            self.chosen[ours] = named[0]
        elif named:
            raise ConfigError(
                f"{self.shown_as} has {len(named)} {tag} ({few(named)}), and nothing says which is meant: --control "
                f"{ours}=NAME"
            )

    def offered(self, ours: str) -> list[str]:
        """What can be chosen in a control, under our name of it."""
        return list(self.controls.get(self.chosen.get(ours, ""), {}).get("labels", ()))

    def control_of_classes(self, chosen: Mapping[str, str]) -> str | None:
        """The control whose choices are the class of a picture, where the user had to say or it is the only one."""
        named = [name for name, control in self.controls.items() if control["type"] == "Choices"]
        return chosen.get("choice") or (named[0] if len(named) == 1 else None)

    def renamed(self, tasks: Sequence[dict[str, Any]]) -> list[str]:
        """Makes what a model would draw speak of the controls that are there; what they do not offer is left out."""
        left = 0
        for task in tasks:
            (prediction,) = task["predictions"]
            fits = [result for result in prediction["result"] if self._has(result)]
            owners = {result.get("id") for result in fits}
            fits = [result for result in fits if result.get("parentID", result.get("id")) in owners]
            left += len(prediction["result"]) - len(fits)
            prediction["result"] = [self._in_place(result) for result in fits]
        if not left:
            return []
        return [f"{left:,} predicted label(s) left out: {self.shown_as} has no control or no class for them"]

    def _has(self, result: Mapping[str, Any]) -> bool:
        names = result["value"].get(result["type"], [])
        return result["from_name"] in self.chosen and set(names) <= set(self.offered(result["from_name"]))

    def _in_place(self, result: dict[str, Any]) -> dict[str, Any]:
        name = self.chosen[result["from_name"]]
        return {**result, "from_name": name, "to_name": self.controls[name]["to_name"][0]}

    def shown(self, task: dict[str, Any], address: str) -> dict[str, Any]:
        """A task with the address of its picture under the name by which the interface looks for it."""
        data = {key: value for key, value in task["data"].items() if key != "image"}
        used = [self.controls[name] for name in self.chosen.values()]
        keys = {one["value"].lstrip("$") for control in used for one in control["inputs"] if one["type"] == "Image"}
        return {**task, "data": {**dict.fromkeys(sorted(keys) or ["image"], address), **data}}
