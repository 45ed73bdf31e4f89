"""``compare``: simulated campaigns on labelled data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelwise.cli import console, options, studies
from labelwise.cli.progress import SizesProgress, StudyProgress

if TYPE_CHECKING:
    from labelwise.campaign.records import Study
    from labelwise.config import RecipeConfig, SizesConfig
    from labelwise.contracts.source import Source


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(compare)


def _option(*flags: str, metavar: str, about: str) -> Any:
    return typer.Option(*flags, metavar=metavar, help=about, show_default=False)


Target = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|FOLDER",
        help="A recipe file, a shipped recipe ([bold]labelwise list recipes[/]), a labelled folder or other data.",
        show_default=False,
    ),
]
Strategies = Annotated[
    list[str] | None,
    _option("--strategy", "-s", metavar="NAME", about="May be repeated. [dim]default: random, margin[/]"),
]
StrategySettings = Annotated[
    list[str] | None,
    _option("--set", metavar="[NAME.]KEY=VALUE", about="An option of a strategy, or task.KEY of the task; repeatable."),
]
Seeds = Annotated[int | None, _option("--seeds", metavar="N", about="Runs of each strategy. [dim]default: 5[/]")]
Initial = Annotated[int | None, _option("--initial", metavar="N", about="Labels to start from.")]
Batch = Annotated[int | None, _option("--batch", metavar="N", about="Labels a round.")]
Rounds = Annotated[int | None, _option("--rounds", metavar="N", about="Rounds. [dim]default: 5[/]")]
TaskName = Annotated[
    str | None,
    _option("--task", metavar="NAME", about="Of data without a recipe. [dim]default: as the labels are[/]"),
]
TestShare = Annotated[
    float | None, _option("--test-share", metavar="SHARE", about="Held out where the data have no split.")
]
Download = Annotated[bool, options.flag("--download", help="Fetch a torchvision data set that is not there.")]
NoFull = Annotated[bool, options.flag("--no-full", help="Do not train on all labels for the line of what is possible.")]
Again = Annotated[
    int | None,
    _option(
        "--again", metavar="N", about="Trainings on the same labels that measure the noise; 0: none. [dim]default: 1[/]"
    ),
]
Workers = Annotated[
    int,
    typer.Option("--workers", metavar="N", min=1, help="Seeds that run at once, each in a process of its own."),
]
Out = Annotated[
    Path | None, _option("--out", "-o", metavar="DIR", about="Folder of the study. [dim]default: runs/NAME[/]")
]


def compare(
    target: Target,
    strategy: Strategies = None,
    set_: StrategySettings = None,
    seeds: Seeds = None,
    initial: Initial = None,
    batch: Batch = None,
    rounds: Rounds = None,
    task: TaskName = None,
    multi_label: options.MultiLabel = False,
    test_share: TestShare = None,
    learner: options.LearnerKind = None,
    model: options.ModelName = None,
    backbone: options.BackboneName = None,
    size: options.ImageSize = None,
    data_root: options.DataRoot = None,
    names: options.NameList = None,
    untouched: options.Untouched = None,
    drop_twins: options.DropTwins = False,
    video: options.Video = None,
    every: options.Every = None,
    subjects: options.SubjectBoxes = None,
    download: Download = False,
    no_full: NoFull = False,
    again: Again = None,
    workers: Workers = 1,
    out: Out = None,
    json: options.Json = False,
) -> None:
    """Find out what each strategy would have saved, on data whose labels are known.

    Seed by seed all start from the same labels and weights. Finished runs are skipped, a broken one goes on.
    """
    from labelwise.config import SizesConfig
    from labelwise.recipes import find, sized
    from labelwise.studies.data import with_regions
    from labelwise.studies.processes import alone_in

    flags = _given(seeds=seeds, initial=initial, batch=batch, rounds=rounds, again=again)
    flags |= _given(full=False if no_full else None, subjects=None if subjects is None else str(subjects.resolve()))
    of_task, of_strategies = options.of_task(options.settings(set_))
    flags |= options.task_given(task, of_task, multi_label=multi_label)
    if strategy or of_strategies:
        flags["strategies"] = studies.strategies(strategy or (), of_strategies)
    flags["data"] = _given(
        test_share=test_share,
        root=None if data_root is None else str(data_root.resolve()),
        names=None if names is None else str(names.resolve()),
        untouched=untouched,
        drop_twins=drop_twins or None,
        video=video,
        every=every,
        download=download or None,
    )
    flags |= options.with_learner({}, learner=learner, model=model, backbone=backbone, size=size)
    plan = find(target, flags)
    source = plan.open()
    folder = out or plan.folder
    if isinstance(plan.recipe, SizesConfig):
        _compare_sizes(plan.recipe, source, folder, json=json)
        return
    recipe = sized(plan.recipe, source) if plan.sizes else plan.recipe
    study = run(recipe, source, folder, workers=workers, chosen=plan.sizes)
    with alone_in(folder):
        written = studies.write(study, folder, with_regions(recipe, source, folder))
    if json:
        assert written.summary is not None
        console.print_json(studies.as_json(written.summary, written))
    else:
        _print(written, folder)


def _given(**settings: Any) -> dict[str, Any]:
    """Those that the user gave: only these win over a recipe."""
    return {key: value for key, value in settings.items() if value is not None}


def _announce(recipe: RecipeConfig, source: Source, *, chosen: bool) -> None:
    """What is going to happen, before it takes long; ``source`` holds the data of the first seed."""
    from labelwise.studies.data import settled
    from labelwise.studies.settings import learners_apart

    pool = sum(source.roles.get(item, "pool") == "pool" for item in source.ids)
    tests = sum(source.roles.get(item) == "test" for item in source.ids)
    names = ", ".join(strategy.label for strategy in recipe.strategies)
    console.err(
        f"{recipe.name}: {names}; {console.counted(len(recipe.seeds), 'seed')}, {recipe.initial} + {recipe.rounds} x "
        f"{recipe.batch} labels of {pool:,}, measured on {tests:,} test images"
    )
    _say_how_read(source)
    for note in (*settled(recipe, source)[1], *learners_apart(recipe)):
        console.err(f"note: {note}")
    if chosen:
        console.err("sizes were chosen by the data: --initial, --batch and --rounds change them")


def _say_how_read(source: Source) -> None:
    """What was left out or guessed when the data were opened, and from which values deep pictures are read."""
    from labelwise.data.brightness import look
    from labelwise.data.twins import said, twins

    for note in (*source.notes(), *look(source, source.value_range).notes(), *said(source, twins(source))):
        console.err(f"note: {note}")


def run(recipe: RecipeConfig, source: Source, folder: Path, *, workers: int = 1, chosen: bool = False) -> Study:
    """Runs a study, showing how far it is.

    Args:
        recipe: what to run.
        source: the labelled data.
        folder: where it runs.
        workers: seeds that run at once.
        chosen: whether the data chose the sizes; it is said.
    """
    from labelwise.studies.comparison import Comparison

    with StudyProgress(len(recipe.strategies) * len(recipe.seeds), recipe.rounds) as progress:
        comparison = Comparison(
            recipe, source, folder, None, progress, progress.on_round, progress.on_run, workers, console.err
        )
        comparison.check()
        progress.primary = comparison.primary
        _announce(recipe, comparison.data.of(recipe.seeds[0]), chosen=chosen)
        return comparison.run()


def _compare_sizes(recipe: SizesConfig, source: Source, folder: Path, *, json: bool) -> None:
    """A study by size: a table for each evaluator, and its report."""
    from labelwise.campaign.records import write_whole
    from labelwise.few_labels.study import SizesStudy
    from labelwise.report.by_size import markdown, size_tables
    from labelwise.report.summary import headline, unlearnt
    from labelwise.studies.processes import alone_in

    with SizesProgress(len(recipe.strategies) * len(recipe.seeds) * len(recipe.sizes)) as progress:
        study = SizesStudy(recipe, source, folder, progress, progress.on_chosen, console.err)
        study.check()
        names = ", ".join(strategy.label for strategy in recipe.strategies)
        sizes, seeds = ", ".join(map(str, recipe.sizes)), console.counted(len(recipe.seeds), "seed")
        console.err(f"{recipe.name}: {names}; {seeds}, sizes {sizes}; {', '.join(recipe.evaluators)}")
        _say_how_read(source)
        studies_ = study.run()
    tables = size_tables(studies_)
    with alone_in(folder):
        written = {name: studies.write(found, folder / name, source) for name, found in studies_.items()}
        write_whole(folder / "table.md", markdown(tables).encode())
    if json:
        found = {name: studies.as_json(one.summary, one) for name, one in written.items() if one.summary is not None}
        console.print_json({"studies": found, "tables": {table.title: table.values for table in tables}})
        return
    for name, one in written.items():
        if one.summary is not None and (first := unlearnt(one.summary)):
            console.out(f"{name}: {first}\n")
    for table in tables:
        console.out(table.title)
        console.show(console.table(table.heads, table.rows, right=table.heads[1:]))
        console.out()
    for name, one in written.items():
        assert one.summary is not None
        if not unlearnt(one.summary):
            console.out(f"{name}: {headline(one.summary)}")
        console.notes(one.summary.notes)
        console.out(f"report   {one.report}")
    console.out(f"tables   {folder / 'table.md'}")


def show(written: studies.Written) -> None:
    """The table, what it says, and what to know before believing it."""
    from labelwise.report.judged import judged, said
    from labelwise.report.summary import headline, unlearnt
    from labelwise.report.table import study_table

    assert written.summary is not None
    terminal, first = console.stdout(), unlearnt(written.summary)
    if first:  # before a table that invites to compare
        console.out(first)
        console.out()
    terminal.print(study_table(written.summary, width=terminal.width))
    if not first:
        console.out()
        console.out(headline(written.summary))
    if (by_judge := judged(written.summary)) is not None:
        console.out()
        console.out(f"The same picks, judged by {by_judge.judge} (each row above as it was trained)")
        console.out()
        terminal.print(study_table(by_judge.summary, width=terminal.width))
        console.out()
        console.out(f"By {by_judge.judge}: {headline(by_judge.summary)} {said(by_judge)}")
    console.notes(written.summary.notes)


def _print(written: studies.Written, folder: Path) -> None:
    show(written)
    console.out()
    console.out(f"records  {written.study}")
    for path in written.curves:
        console.out(f"picture  {path}")
    console.out(f"report   {written.report}")
    console.next_steps([(f"labelwise report {shlex.quote(str(folder))}", "write the report again")])
