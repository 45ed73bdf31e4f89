"""One project behind many requests: what a job, a command and the page write at once is all seen, in its order."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from commands import run
from labelwise.campaign.events import Labelled, Queried
from labelwise.contracts.oracle import Answer
from labelwise.errors import PoolError, StateError
from labelwise.project.setup import open_project
from labelwise.serve.shared import Shared


@pytest.fixture
def shared(tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(8):
        Image.fromarray(np.full((8, 8, 3), 20 * n, np.uint8)).save(tmp_path / "images" / f"{n}.png")
    run("init", tmp_path / "images", "-p", tmp_path, "--classes", "a,b", "--labels", "none", "--backbone", "pixels")
    return Shared(tmp_path)


def test_what_another_command_writes_is_seen(shared):
    other = open_project(shared.folder)
    other.answer([Answer("1.png", "a")])
    assert shared.pool.target(1) == "a"
    run("init", shared.folder / "images", "-p", shared.folder)  # nothing new
    Image.new("RGB", (8, 8)).save(shared.folder / "images" / "new.png")
    open_project(shared.folder).add_new_images()
    assert len(shared.pool) == 9


def test_what_a_job_writes_while_an_answer_comes_in_is_not_lost(shared):
    with shared._changed() as project:
        shared.project.store.append([Queried("3.png", 0), Queried("4.png", 0, 1)])  # the round that a job chose
        project.write([Labelled("0.png", "b")])
    pool = shared.pool
    assert [pool.ids[p] for p in pool.pending] == ["3.png", "4.png"]
    assert pool.target(0) == "b"
    assert open_project(shared.folder).pool.pending.tolist() == [3, 4]


def test_one_that_is_refused_leaves_everything_as_it_was(shared):
    with pytest.raises(PoolError):
        shared.answer([Answer("0.png", "a"), Answer("nine.png", "a")])
    assert shared.project.labels() == {}
    shared.answer([Answer("0.png", "a")])
    assert shared.project.labels() == {"0.png": "a"}


def test_what_might_be_chosen_waits_while_a_round_is_chosen(shared):
    shared.project.store.append([Queried("2.png", 0)])
    refused = []

    def choosing(project):
        shared.answer([Answer("2.png", "a")])
        with pytest.raises(StateError, match="a round is being chosen"):
            shared.answer([Answer("5.png", "a")])
        refused.append(True)
        return []

    shared.start("suggest", choosing)
    shared.jobs.wait(60)
    assert shared.jobs.job.error == ""
    assert refused == [True]
    assert shared.project.labels() == {"2.png": "a"}
    shared.answer([Answer("5.png", "a")])


def test_one_job_at_a_time_and_a_stop_that_ends_it(shared):
    def endless(project):
        while True:
            project.progress("waiting", 1, 2)

    shared.start("fit", endless)
    with pytest.raises(StateError, match="busy with fit"):
        shared.start("map", endless)
    assert shared.jobs.stop()
    shared.jobs.wait(60)
    assert not shared.jobs.running
    assert "stopped" in shared.jobs.job.notes[0]
    assert not shared.jobs.stop()
    shared.answer([Answer("5.png", "a")])  # the project is free again


def test_an_error_of_ours_is_a_line_for_the_page_and_whole_for_the_log(shared):
    logged = []
    shared.jobs.log = logged.append

    def broken(project):
        raise ZeroDivisionError("by hand")

    shared.start("fit", broken)
    shared.jobs.wait(60)
    assert shared.jobs.job.error.startswith("ZeroDivisionError: by hand")
    assert "Traceback" in logged[0]
