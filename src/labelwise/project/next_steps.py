"""Commands that make sense now: each runs as it is printed, whatever the kind of label and whatever is asked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.exchange.outgoing import format_for

if TYPE_CHECKING:
    from labelwise.project.project import Project

#: a command, and what it does
Steps = list[tuple[str, str]]

#: from so many images that may be asked on a round has this many
ROUND = 100


def next_steps(project: Project, written: Sequence[Path] = (), name: str | None = None) -> Steps:
    """What to do next, the most useful first.

    Args:
        project: as it stands.
        written: files that the picks which wait were written to just now.
        name: of the format they were written in, where it was named.
    """
    pool = project.pool
    if len(pool.pending):
        return _taken_back(project, written, name) or _given_out(project)
    if left := len(pool.candidates):
        return [(f"labelwise suggest{f' -n {ROUND}' if left >= ROUND else ''}", "what to label next")]
    steps: Steps = []
    if len(pool.labelled):
        steps += [
            ("labelwise fit", "train on all labels"),
            (f"labelwise export labels{project.kind.kept} --labelled", "all labels, as a set that trains as it is"),
        ]
    if len(pool.skipped):
        steps.append(("labelwise restore --all", "ask about what was skipped after all"))
    return steps


def _given_out(project: Project) -> Steps:
    """The picks are to be written, or sent, first."""
    if project.config.tool is not None:
        return [
            ("labelwise push", f"send them to {project.config.tool.url}"),
            ("labelwise pull", "take the answers back"),
        ]
    pool = project.pool
    stem = "test" if all(pool.is_held_out(int(position)) for position in pool.pending) else "picks"
    ending, _, named = project.kind.filled.partition(" ")
    if named:
        steps = [(f"labelwise export {stem}{ending} {named}", "what to fill in")]
        steps.append((f"labelwise export {stem}.html", "to look at"))
    else:
        steps = [(f"labelwise export {stem}.html {stem}{ending}", "look at them; a file to fill in")]
    return [*steps, (f"labelwise import {stem}{ending}", "take the labels back")]


def _taken_back(project: Project, written: Sequence[Path], name: str | None) -> Steps:
    """The first written file that can come back; none where all are to look at, or for a tool that gives another."""
    # imported here: it needs the project's own classes, which need this
    from labelwise.project.giving import is_gallery

    for path in written:
        if is_gallery(path, name):
            continue
        form = format_for(str(path), "asked", project.kind, name)
        if "answers" in form.reads:
            how = "" if name is None else f" --format {form.name}"
            return [(f"labelwise import {shlex.quote(str(path))}{how}", "take the labels back, filled in")]
    return []
