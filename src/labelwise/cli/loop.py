"""The loop with people: ``suggest``, ``export``, ``import``, ``cancel``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labelwise.cli import console, options
from labelwise.cli.progress import Stages
from labelwise.errors import ConfigError, LabelwiseError

if TYPE_CHECKING:
    from labelwise.contracts.oracle import Round
    from labelwise.project.answers import Imported
    from labelwise.project.project import Project

#: picks shown in the terminal
SHOWN = 20


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


Number = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--number",
        metavar="N|all",
        help="How many; all ranks every image and asks nobody. [dim]default: 100, or what is left[/]",
        show_default=False,
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="What your own model says: .npz of probs and/or embeddings, COCO results, YOLO .txt, and what else "
        "[bold]labelwise list formats[/] shows. Nothing is trained.",
        show_default=False,
    ),
]
NoFit = Annotated[bool, options.flag("--no-fit", help="Do not train, though labels are newer than the weights.")]
More = Annotated[bool, options.flag("--more", help="Open another round although one is open.")]
DespiteMissing = Annotated[
    bool, options.flag("--despite-missing", help="Choose though most image files are not there.")
]
Distinct = Annotated[
    bool,
    options.flag("--distinct", help="Ask about one image of each group of near-duplicates, and none already asked."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="T",
        help="With --distinct: smallest cosine of two near-duplicates. [dim]default: 0.95[/]",
        show_default=False,
    ),
]
Relabel = Annotated[
    float | None,
    typer.Option(
        "--relabel",
        metavar="SHARE",
        help="Of the picks at most this share are labelled images again, whose label looks wrong; see relabel.",
        show_default=False,
    ),
]
Tagged = Annotated[
    list[str] | None,
    typer.Option(
        "--tagged", metavar="TAG", help="Choose among images with this tag; may be repeated.", show_default=False
    ),
]
Exported = Annotated[
    list[Path] | None,
    typer.Option("--export", "-o", metavar="FILE", help="Also write the picks; as export does.", show_default=False),
]


def suggest(
    number: Number = None,
    strategy: options.StrategyName = None,
    set_: options.Settings = None,
    predictions: Predictions = None,
    no_fit: NoFit = False,
    more: More = False,
    despite_missing: DespiteMissing = False,
    distinct: Distinct = False,
    threshold: Threshold = None,
    relabel: Relabel = None,
    tagged: Tagged = None,
    export: Exported = None,
    format_: options.FormatName = None,
    names: options.NameList = None,
    images: options.ImageList = None,
    ignore_unknown: options.IgnoreUnknown = False,
    min_score: options.MinScore = None,
    project: options.ProjectFolder = None,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """What to label next. While a round is open: its unanswered picks once more."""
    amount, (of_task, chosen) = _amount(number), options.of_task(options.settings(set_))
    for key, value in of_task.items():
        raise ConfigError(
            f"--set task.{key} is no option of one round: write it into labelwise.yaml, task: {{name: ..., {key}: "
            f"{value!s:.40}}}; the model is then trained anew"
        )
    wishes = options.wishes(format_, names, images, None, ignore_unknown=ignore_unknown, min_score=min_score)
    options.refuse_without("--predictions", predictions, {"--min-score": min_score})
    apart = _distinct(distinct, threshold)
    with Stages() as stages:
        opened = options.open_project(project, stages, seed=seed)
        _refuse(opened, export, amount)
        found = opened.suggest(
            amount,
            strategy=strategy,
            options=chosen,
            predictions=predictions,
            wishes=wishes,
            fit=not no_fit,
            more=more,
            despite_missing=despite_missing,
            distinct=apart,
            relabel=relabel,
            among=_among(opened, tagged),
        )
        written = list(export or ())
        left_out = [opened.export(path, asked=found, predictions=predictions, wishes=wishes) for path in written]
        found = replace(found, notes=tuple(dict.fromkeys([*found.notes, *chain.from_iterable(left_out)])))
    if json:
        console.print_json(_shown(found) | {"exported": written})
    else:
        _print(found, written, opened, project)


def _among(project: Project, tags: Sequence[str] | None) -> list[str] | None:
    """The images with any of these tags; None where none is named."""
    from labelwise.project.tagging import tagged

    return tagged(project, tags) if tags else None


def _distinct(wanted: bool, threshold: float | None) -> float | bool:
    """The threshold of near-duplicates that are left out, or whether they are.

    Raises:
        ConfigError: a threshold of nothing.
    """
    if threshold is not None and not wanted:
        raise ConfigError(
            "--threshold says what near-duplicates --distinct leaves out: give --distinct too, or neither"
        )
    return wanted if threshold is None else threshold


def _refuse(project: Project, export: Sequence[Path] | None, amount: int | Literal["all"] | None) -> None:
    """What would fail after a round was opened, or be passed over while one is open, fails now."""
    from labelwise.contracts.query import Budget
    from labelwise.project.giving import check_target

    for path in export or ():
        check_target(project, path, None, "asked")
    if isinstance(amount, int):
        Budget(amount)


def _shown(found: Round) -> dict[str, Any]:
    picks = [asdict(pick) for pick in found]
    return {"picks": picks, "round": found.number, "strategy": found.strategy, "notes": found.notes, "open": found.open}


def _print(found: Round, written: Sequence[Path], project: Project, folder: Path | None) -> None:
    from labelwise.project.asking import noun_of

    for part in found.parts():
        _print_round(part, noun_of(project, part.picks))
    console.notes(found.notes)
    for path in written:
        console.out(f"wrote {path}")
    if found.number is not None:
        console.next_steps(project.next_steps(written), folder)


def _print_round(found: Round, kind: str) -> None:
    what = "ranking" if found.number is None else f"round {found.number}"
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


def export(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="The ending says the format: .csv, .json, .html (a gallery); several at once. For a folder --format.",
            show_default=False,
        ),
    ],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME|html",
            help="Where the ending does not say; see [bold]labelwise list formats[/].",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="FILE", help="Your own model's labels, as a start for people.", show_default=False
        ),
    ] = None,
    labelled: Annotated[
        bool, options.flag("--labelled", help="All labels so far instead, as a set that trains as it is.")
    ] = False,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="link|copy|list",
            help="With --labelled: images beside the labels as links or copies, or only named. [dim]default: list[/]",
            show_default=False,
        ),
    ] = None,
    names: options.NameList = None,
    min_score: options.MinScore = None,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Write the open round's unanswered picks for people: a table, a file for a tool, a gallery to look at.

    Each starts from what the model would say. With --labelled: everything that has a label, with its split.
    """
    if labelled and predictions is not None:
        raise ConfigError("--labelled writes what people have said, --predictions what a model says: leave one out")
    if images is not None and (not labelled or images not in ("link", "copy", "list")):
        raise ConfigError("--images goes with --labelled, and is link, copy or list")
    options.refuse_without("--predictions", predictions, {"--min-score": min_score, "--names": names})
    wishes = options.wishes(None, names, None, None, ignore_unknown=False, min_score=min_score)
    with Stages() as stages:
        opened = options.open_project(project, stages)
        if labelled:
            _export_labels(opened, files, format_, images or "list", json=json)
            return
        left = {path: opened.export(path, format_, predictions=predictions, wishes=wishes) for path in files}
        count = len(opened.open_round())
    if json:
        lines = [line for lines in left.values() for line in lines]
        console.print_json({"exported": files, "picks": count, "left_out": lines})
        return
    for path, lines in left.items():
        console.out(f"wrote {path} ({console.counted(count, 'pick')})")
        console.notes(lines)
    console.next_steps(opened.next_steps(files, format_), project)


def _export_labels(opened: Project, files: list[Path], format_: str | None, images: Any, *, json: bool) -> None:
    left = {path: opened.export_labels(path, format_, images=images) for path in files}
    count = len(opened.labels(("pool", "validation", "test")))
    if json:
        lines = [line for lines in left.values() for line in lines]
        console.print_json({"exported": list(left), "labels": count, "left_out": lines})
        return
    for path, lines in left.items():
        console.out(f"wrote {path} ({console.counted(count, 'label')})")
        console.notes(lines)


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What people or a tool gave back: a CSV with columns id and label, the JSON of export filled in, "
            "COCO, VOC, YOLO, Label Studio, CVAT, labelme, masks: see [bold]labelwise list formats[/].",
            show_default=False,
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", metavar="A,B,C", help="All classes, where the project has none yet.", show_default=False
        ),
    ] = None,
    format_: options.FormatName = None,
    names: options.NameList = None,
    images: options.ImageList = None,
    untouched: options.Untouched = None,
    ignore_unknown: options.IgnoreUnknown = False,
    add_classes: Annotated[
        bool, options.flag("--add-classes", help="Classes that the project does not have join it, at the end.")
    ] = False,
    yes: Annotated[
        bool, options.flag("--yes", "-y", help="Take the classes found in the file without asking.")
    ] = False,
    project: options.ProjectFolder = None,
    json: options.Json = False,
) -> None:
    """Take labels back: all of the file or nothing. Rows may be empty, skipped, or correct earlier labels."""
    wishes = options.wishes(format_, names, images, untouched, ignore_unknown=ignore_unknown)
    wishes = replace(wishes, add_classes=add_classes)
    with Stages() as stages:
        opened = options.open_project(project, stages)
        done = opened.import_labels(
            file,
            wishes=wishes,
            classes=options.names(classes),
            confirm=lambda found: yes or _confirm(found, file),
        )
    if json:
        counts = opened.progress_counts()
        console.print_json({**asdict(done), "unlabelled": counts["unlabelled"], "total": counts})
    else:
        print_import(done, opened, project)


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


def print_import(done: Imported, opened: Project, project: Path | None) -> None:
    """What an import or a pull did, and what to do next."""
    said = [f"{done.labelled:,} labelled"]
    counted = [(done.corrected, "corrected"), (done.further, "by a further annotator")]
    counted += [(done.unchanged, "as before"), (done.skipped, "skipped")]
    said += [f"{n:,} {word}" for n, word in counted if n]
    if done.empty:
        said.append(f"{done.empty:,} of the labelled {opened.kind.bare}")
    if done.unanswered:
        said.append(f"{done.unanswered:,} without an answer")
    console.out(f"imported as {done.format}: {', '.join(said)}")
    console.notes(done.notes)
    if done.classes:
        console.out(f"classes now: {', '.join(done.classes)}")
    console.out(f"now {console.standing(opened, ('labelled', 'unlabelled', 'pending'))}")
    console.next_steps([*opened.next_steps(), ("labelwise report", "how far it is")], project)


def cancel(project: options.ProjectFolder = None, json: options.Json = False) -> None:
    """Drop the open round's unanswered picks; labels and skips stay. Where people label on a server, there too."""
    with Stages() as stages:
        opened = options.open_project(project, stages)
        notes = _withdrawn(opened)
        dropped = opened.cancel()
    if json:
        console.print_json({"dropped": dropped, "notes": notes})
        return
    console.out(f"dropped {console.counted(dropped, 'pick')}" if dropped else "no round is open, nothing to drop")
    console.notes(notes)


def _withdrawn(opened: Project) -> list[str]:
    """Takes unanswered picks away from the people on the server, where there is one; what to know of it."""
    from labelwise.project.labelling import variable

    if opened.config.tool is None or not len(opened.pool.pending):
        return []
    try:
        gone, kept = opened.server(options.token(variable(opened))).withdraw()
    except LabelwiseError as error:
        return [f"they stay on the server until the next push: {error}"]
    said = [f"{gone:,} task(s) withdrawn from {opened.config.tool.url}"]
    return [*said, f"{kept:,} stay there: they were answered or begun, and come with the next pull"] if kept else said
