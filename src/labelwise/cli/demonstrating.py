"""``demo``: the whole way on handwritten digits, in about a minute."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelwise.cli import comparing, console, options, studies
from labelwise.cli.progress import Stages

if TYPE_CHECKING:
    from labelwise.project.project import Project

#: what the closing lines are about
JUDGED = ("margin", "kmeans")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where everything is written.")] = Path(
        "labelwise-demo"
    ),
    json: options.Json = False,
) -> None:
    """Walk the whole way on 1,797 handwritten digits: cold start, comparison, import, next batch, report.

    Needs no data and no network. Running it again skips what is done.
    """
    import torch

    from labelwise.demo import ASKED, Demo, closing
    from labelwise.recipes import Plan

    began = time.monotonic()
    # 64 numbers an image: threads would only wait for each other (147 s instead of 16 s on two busy cores)
    torch.set_num_threads(1)
    demo = Demo(out)
    say = console.err if json else console.out
    with Stages() as stages:
        count = demo.write(stages)
        say(f"1. images without labels: {count:,} handwritten digits in {demo.images}")
        project, first = demo.start(stages)
        if first is not None:
            say(f"2. cold start: {first.strategy} chose {len(first)} images to label first, without any label")
        else:
            say("2. cold start: done before")
    recipe = demo.recipe()
    names = ", ".join(strategy.label for strategy in recipe.strategies)
    say(
        f"3. which strategy saves labels? {recipe.rounds} rounds of {recipe.batch} labels by {names}, "
        f"{len(recipe.seeds)} times each, answered from held-back labels"
    )
    source = Plan(recipe, demo.study).open()
    written = studies.write(comparing.run(recipe, source, demo.study), demo.study, source)
    with Stages() as stages:
        project.progress = stages
        labels = demo.answer(project)
        say(f"4. people answer: {console.counted(labels, 'label')} imported from {out / 'labels-so-far.csv'}")
        found = project.suggest(ASKED)
        say(f"5. the next batch: {found.strategy} chose {len(found)} images, with a model of {labels} labels")
        gallery = out / "picks.html"
        project.export(gallery, asked=found)
    assert written.summary is not None
    verdicts = [closing(written.summary, name) for name in JUDGED]
    seconds = time.monotonic() - began
    if json:
        values = studies.as_json(written.summary, written)
        console.print_json({**values, "verdicts": verdicts, "gallery": gallery.resolve(), "seconds": round(seconds, 1)})
        return
    console.out()
    comparing.show(written)
    _close(verdicts, project, gallery, written.report, seconds)


def _close(verdicts: list[str], project: Project, gallery: Path, report: Path, seconds: float) -> None:
    console.out()
    for line in verdicts:
        console.out(line)
    where = shlex.quote(str(project.folder))
    console.next_steps(
        [
            ("labelwise init PHOTOS", "the same with a folder of your own images"),
            ("labelwise suggest -n 100 --export picks.html", "what to label first, to look at"),
            ("labelwise import answers.csv", "labels back (columns id,label); then suggest again"),
        ]
    )
    console.out()
    console.out(f"project of this demo: {where} (labelwise suggest --project {where})")
    console.out(f"gallery of the next batch: {gallery.resolve()}")
    console.out(f"done in {seconds:.0f} s; the report:")
    console.out(str(report.resolve()))
