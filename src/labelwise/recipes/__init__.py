"""Studies by name: a recipe file, a recipe that comes with the package, or simply labelled data; flags over all of it.

``labelwise list recipes`` lists what is shipped, ``labelwise compare NAME`` runs it.
"""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from labelwise.config import RecipeConfig, SizesConfig
    from labelwise.contracts.source import Source

RECIPE, STUDY = "recipe.yaml", "study.json"
SIZES = ("initial", "batch", "rounds")


def shipped() -> dict[str, Traversable]:
    """The recipes that come with the package, by name."""
    files = importlib.resources.files("labelwise.recipes").iterdir()
    return dict(sorted((file.name.removesuffix(".yaml"), file) for file in files if _is_yaml(file.name)))


def _is_yaml(name: str) -> bool:
    return name.lower().endswith((".yaml", ".yml"))


@dataclass(frozen=True)
class Plan:
    """A study that can be run.

    Args:
        recipe: resolved, flags included; paths are absolute.
        folder: where it runs by default.
        sizes: whether the sizes are to be chosen by the data, because nobody gave any.
    """

    recipe: RecipeConfig | SizesConfig
    folder: Path
    sizes: bool = False

    def open(self) -> Source:
        """The labelled data."""
        from labelwise.studies.data import open_labelled

        return open_labelled(self.recipe, base=Path())


def find(target: str, flags: Mapping[str, Any] | None = None) -> Plan:
    """The study that ``target`` names.

    Args:
        target: a recipe file, the name of a shipped recipe, a study's folder, a labelled folder, or other data.
        flags: keys of a recipe, over what it says; a mapping is merged key by key.

    Raises:
        ConfigError: nothing of that name, unknown keys or names.
    """
    from labelwise.config import options_apart

    given = flags or {}
    values, base, folder = _read(target, named="name" in options_apart(given.get("task", {})))
    return _resolved(values, base, folder, given, where=target if _is_yaml(target) else "the study")


def shipped_plan(name: str, flags: Mapping[str, Any] | None = None) -> Plan:
    """The study of a shipped recipe, whatever lies in the folder one stands in.

    Args:
        name: of the recipe.
        flags: as for ``find``.
    """
    return _resolved(_shipped_values(name), Path.cwd(), None, flags or {}, where=f"recipe {name}")


def _shipped_values(name: str) -> dict[str, Any]:
    from labelwise.formats.yaml_text import parse_settings

    return {"name": name, **parse_settings(shipped()[name].read_text(encoding="utf-8"), f"recipe {name}")}


def _resolved(values: dict[str, Any], base: Path, folder: Path | None, flags: Mapping[str, Any], *, where: str) -> Plan:
    from labelwise.config import RecipeConfig, SizesConfig, older_forms, parse, task_over

    if "task" in flags:
        values = older_forms(values)
        # in the place of what the recipe says, whose options may stand beside the name
        values = {**values, "task": task_over(values.get("task", {}), flags["task"])}
        flags = {key: value for key, value in flags.items() if key != "task"}
    merged = _merge(values, flags)
    merged["data"] = _absolute(merged.get("data", {}), base)
    kind: type[RecipeConfig | SizesConfig] = SizesConfig if "sizes" in merged else RecipeConfig
    recipe = parse(kind, merged, where=where)
    _check_names(recipe)
    plain = not values.keys() - {"name", "data", "task"}
    return Plan(recipe, folder or Path("runs") / recipe.name, sizes=plain and not set(SIZES) & set(flags))


def _read(target: str, *, named: bool) -> tuple[dict[str, Any], Path, Path | None]:
    """Values of the recipe, what its paths are relative to, and the folder that it ran in.

    Args:
        target: as for ``find``.
        named: whether the task is given apart from the target.
    """
    from labelwise.config import read_yaml

    path = Path(target)
    if path.is_file() and _is_yaml(target):
        values = read_yaml(path)
        if not isinstance(values, dict):
            raise ConfigError(f"{target} holds {type(values).__name__} where a mapping of keys is needed")
        ran = path.name == RECIPE and (path.parent / "runs").is_dir()
        return {"name": path.stem, **values}, path.parent.resolve(), path.parent if ran else None
    if (path / RECIPE).is_file() and ((path / "runs").is_dir() or (path / STUDY).is_file()):
        return _read(str(path / RECIPE), named=named)  # the study goes on; its pictures are no labels
    known = shipped()
    name = target.removesuffix(".yaml")
    if name in known and not path.exists():
        return _shipped_values(name), Path.cwd(), None
    if path.exists() or (":" in target and not _is_yaml(target)):
        last = target.rpartition(":")[2] if ":" in target else path.resolve().name
        short = re.sub(r"[^\w.-]+", "-", last).strip("-.") or "study"
        values = {"name": short.removesuffix(".csv").removesuffix(".npz"), "data": {"source": target}}
        return values | ({} if named else _task_of(target)), Path.cwd(), None
    if os.sep in target or _is_yaml(target):
        raise ConfigError(
            f"{target!r} does not exist: give a recipe file, a labelled folder, or one of {', '.join(known)}"
        )
    raise unknown("recipe, file or folder", target, known)


def _task_of(data: str) -> dict[str, Any]:
    """The task that the data speak of, where that is not the usual one."""
    from labelwise.data.open import task_of

    task = task_of(data)
    return {} if task is None else {"task": task}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = {**inner, **value} if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _absolute(data: Any, base: Path) -> Any:
    """Paths that hold wherever the study is run from; ``$NAME`` stands for a variable of the environment."""
    if not isinstance(data, Mapping):
        return data
    found = dict(data)
    root = found.get("root")
    if isinstance(root, str):
        root = os.path.expandvars(root)
        found["root"] = None if "$" in root else str((base / Path(root).expanduser()).resolve())
    source = found.get("source")
    if isinstance(source, str):
        path = Path(os.path.expandvars(source))
        found["source"] = str((base / path).resolve()) if (base / path).exists() else source
    return found


def _check_names(recipe: RecipeConfig | SizesConfig) -> None:
    from labelwise.assemble import check_names, make_strategy

    for strategy in recipe.strategies:
        make_strategy(strategy)
    check_names(recipe)


def sized(recipe: RecipeConfig, source: Source) -> RecipeConfig:
    """The recipe with sizes that suit its data: about half of the labelled pool, at most 100 labels a round.

    Raises:
        DataError: too few labelled images for any study.
    """
    from labelwise.config import with_flags

    pool = [item for item in source.ids if source.roles.get(item, "pool") == "pool" and item in source.truth]
    size = min(100, len(pool) // (2 * (recipe.rounds + 1)))
    if size < 1:
        raise DataError(
            f"{len(pool)} labelled images are too few for {recipe.rounds} rounds: label more, or give --initial, "
            "--batch and --rounds"
        )
    return with_flags(recipe, initial=size, batch=size)
