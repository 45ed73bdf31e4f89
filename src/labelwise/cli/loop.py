"""The loop with people: ``suggest``, ``export``, ``import``, ``cancel``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError

if TYPE_CHECKING:
    from labelwise.contracts.oracle import Round
    from labelwise.project.project import Imported, Kind, Project

#: picks shown in the terminal
SHOWN = 20
DEFAULT = 100


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(suggest)
    app.command()(export)
    app.command(name="import")(import_)
    app.command()(cancel)


def _amount(text: str | None) -> int | Literal["all"] | None:
    if text is None or text == "all":
        return "all" if text else None
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor 'all'", param_hint="-n") from None


def suggest(
    number: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--number",
            metavar="N|all",
            help="How many; all ranks every image and asks nobody. [dim]default: 100, or what is left[/]",
            show_default=False,
        ),
    ] = None,
    strategy: options.StrategyName = None,
    set_: options.Settings = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="What your own model says: .npz of probs and/or embeddings; for boxes COCO results, or a folder of "
            "YOLO .txt. Nothing is trained.",
            show_default=False,
        ),
    ] = None,
    no_fit: Annotated[
        bool, options.flag("--no-fit", help="Do not train, though labels are newer than the weights.")
    ] = False,
    more: Annotated[bool, options.flag("--more", help="Open another round although one is open.")] = False,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            "--export", "-o", metavar="FILE", help="Also write the picks; as export does.", show_default=False
        ),
    ] = None,
    project: options.ProjectFolder = None,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """What to label next. While a round is open: its unanswered picks once more."""
    amount, chosen = _amount(number), options.settings(set_)
    with Stages() as stages:
        opened = options.open_project(project, stages, seed=seed)
        _refuse(opened, export, amount)
        left = len(opened.pool.candidates)
        found = opened.suggest(
            min(DEFAULT, left) or DEFAULT if amount is None else amount,
            strategy=strategy,
            options=chosen,
            predictions=predictions,
            fit=not no_fit,
            more=more,
        )
        written = [opened.export(path, suggested=found, predictions=predictions) for path in export or ()]
    if json:
        console.print_json(_shown(found) | {"exported": written})
    else:
        _print(found, written, opened, project)


def _refuse(project: Project, export: Sequence[Path] | None, amount: int | Literal["all"] | None) -> None:
    """What would fail after a round was opened, or be passed over while one is open, fails now."""
    from labelwise.contracts.query import Budget
    from labelwise.project.project import kind_of

    for path in export or ():
        kind_of(path)
    if isinstance(amount, int):
        Budget(amount)


def _shown(found: Round) -> dict[str, Any]:
    picks = [asdict(pick) for pick in found]
    return {"picks": picks, "round": found.number, "strategy": found.strategy, "notes": found.notes, "open": found.open}


def _print(found: Round, written: Sequence[Path], project: Project, folder: Path | None) -> None:
    what = "ranking" if found.number is None else f"round {found.number}"
    kind = project.noun_of(found.picks)
    console.out(f"{what}: {console.counted(len(found), kind)} chosen by {found.strategy}")
    heads = ["rank", kind, "score", "predicted", "probability"]
    rows = [
        (str(p.rank + 1), p.id, console.number(p.score), p.predicted or "-", console.number(p.probability, 3))
        for p in found.picks[:SHOWN]
    ]
    told = [i for i in range(len(heads)) if i < 2 or any(row[i] != "-" for row in rows)]
    cells = [[row[i] for i in told] for row in rows]
    console.show(console.table([heads[i] for i in told], cells, right=("rank", "score", "probability")))
    if len(found) > SHOWN:
        console.out(f"... and {len(found) - SHOWN:,} more")
    console.notes(found.notes)
    for path in written:
        console.out(f"wrote {path}")
    if found.number is None:
        return
    steps = [] if written else [("labelwise export picks.html picks.json", "look at them; a file to fill in")]
    console.next_steps([*steps, ("labelwise import picks.json", "take the labels back")], folder)


def export(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Ending in .csv, .json or .html; several at once. A folder for voc, yolo and masks.",
            show_default=False,
        ),
    ],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|json|html|coco|voc|yolo|masks",
            help="Where the ending does not say.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="FILE", help="Your own model's boxes, as a start for people.", show_default=False
        ),
    ] = None,
    labelled: Annotated[
        bool, options.flag("--labelled", help="All labels so far instead, in the same formats.")
    ] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Write the open round's unanswered picks for people: scores as CSV, JSON to fill in, a gallery as HTML.

    Boxes: the JSON is a COCO file; --format voc or yolo writes a folder. Masks: the JSON is a COCO file; --format masks
    writes a folder of PNG files. Each starts from what the model would draw.
    """
    from labelwise.errors import unknown
    from labelwise.project.project import KINDS, kind_of

    kinds = {kind: kind for kind in KINDS}
    if format_ is not None and format_ not in kinds:
        raise unknown("format", format_, kinds)
    wanted = [(path, kinds[format_] if format_ else kind_of(path)) for path in files]
    if labelled and predictions is not None:
        raise ConfigError("--labelled writes what people have said, --predictions what a model says: leave one out")
    with Stages() as stages:
        opened = options.open_project(project, stages)
        if labelled:
            _export_labels(opened, wanted, json=json)
            return
        written = [opened.export(path, kind, predictions=predictions) for path, kind in wanted]
    if json:
        console.print_json({"exported": written, "picks": len(opened.pool.pending)})
        return
    for path in written:
        console.out(f"wrote {path} ({console.counted(len(opened.pool.pending), 'pick')})")
    fill = next((path for path, kind in wanted if kind not in ("csv", "html")), None)
    usual = "answers.json" if opened.formats else "answers.csv"
    told = {
        "boxes": "boxes as COCO JSON, or a folder of VOC or YOLO labels",
        "masks": "masks as a folder of PNG files, or as COCO JSON",
        "classes": "a CSV with the columns id and label, or the JSON that export writes, filled in",
    }
    kind = "boxes" if opened.boxes else "masks" if opened.masks else "classes"
    what = ("masks saved in its folder masks" if fill.suffix == "" else "the filled-in file") if fill else told[kind]
    console.next_steps([(f"labelwise import {fill or usual}", f"take the labels back: {what}")], project)


def _export_labels(opened: Project, wanted: list[tuple[Path, Kind]], *, json: bool) -> None:
    left = {path: opened.export_labels(path, kind) for path, kind in wanted}
    count = len(opened.pool.labelled)
    if json:
        console.print_json(
            {"exported": list(left), "labels": count, "left_out": [line for lines in left.values() for line in lines]}
        )
        return
    for path, lines in left.items():
        console.out(f"wrote {path} ({console.counted(count, 'label')})")
        for line in lines:
            console.out(line)


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with columns id and label, or the JSON of export. Boxes: COCO JSON, or a folder of VOC or YOLO. "
            "Masks: a folder of PNG files, or COCO JSON.",
            show_default=False,
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", metavar="A,B,C", help="All classes, where the project has none yet.", show_default=False
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="coco|voc|yolo|masks",
            help="Of boxes or masks, where it cannot be seen.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, options.flag("--yes", "-y", help="Take the classes found in the file without asking.")
    ] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Take labels back: all of the file or nothing. Rows may be empty, skipped, or correct earlier labels."""
    from labelwise.errors import unknown
    from labelwise.project.project import BOXES, MASKS

    kinds = {kind: kind for kind in (*BOXES, *MASKS)}
    if format_ is not None and format_ not in kinds:
        raise unknown("format", format_, kinds)
    with Stages() as stages:
        opened = options.open_project(project, stages)
        done = opened.import_labels(
            file,
            kind=kinds[format_] if format_ else None,
            classes=options.names(classes),
            confirm=lambda found: yes or _confirm(found, file),
        )
        counts = opened.progress_counts()
    if json:
        console.print_json({**asdict(done), **{key: counts[key] for key in ("unlabelled",)}, "total": counts})
    else:
        _print_import(done, counts, project)


def _confirm(classes: tuple[str, ...], file: Path) -> bool:
    """Asks whether these are all classes.

    Raises:
        ConfigError: nobody is there to be asked.
    """
    shown = ", ".join(repr(name) for name in classes[:30]) + (f", ... ({len(classes)})" if len(classes) > 30 else "")
    if not console.interactive():
        raise ConfigError(
            f"the project has no classes yet, and {str(file)!r} names {shown}: confirm them with --yes, or name all "
            "with --classes a,b,c. Nothing was imported"
        )
    console.err(f"the project has no classes yet; {file} names {len(classes)}: {shown}")
    return typer.confirm("Are these all the classes there are?", err=True)


def _print_import(done: Imported, counts: dict[str, int], project: Path | None) -> None:
    said = [f"{done.labelled:,} labelled"]
    said += [f"{n:,} {word}" for n, word in ((done.corrected, "corrected"), (done.skipped, "skipped")) if n]
    if done.empty:
        said.append(f"{done.empty:,} of the labelled without any object")
    if done.unanswered:
        said.append(f"{console.counted(done.unanswered, 'row')} without an answer")
    console.out(f"imported: {', '.join(said)}")
    if done.classes:
        console.out(f"classes: {', '.join(done.classes)}")
    console.out(
        f"now {counts['labelled']:,} labelled, {counts['unlabelled']:,} unlabelled, {counts['pending']:,} pending"
    )
    steps = [("labelwise export picks.json", "what is still unanswered")] if done.pending else []
    if counts["unlabelled"] and not done.pending:
        steps.append(("labelwise suggest", "train on the labels and choose the next images"))
    console.next_steps([*steps, ("labelwise report", "how far it is")], project)


def cancel(project: options.ProjectFolder = None, json: options.Json = False) -> None:
    """Drop the open round's unanswered picks; labels and skips stay."""
    with Stages() as stages:
        dropped = options.open_project(project, stages).cancel()
    if json:
        console.print_json({"dropped": dropped})
    else:
        console.out(f"dropped {console.counted(dropped, 'pick')}" if dropped else "no round is open, nothing to drop")
