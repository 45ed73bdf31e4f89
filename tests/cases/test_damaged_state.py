"""Files of a project that a power cut, a full disk or a tool that copies folders has left empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.errors import FormatError, StateError
from labelwise.project.learning import Learning
from labelwise.project.project import Project
from labelwise.project.setup import init


@pytest.fixture
def project(tmp_path: Path) -> Project:
    rng = np.random.default_rng(0)
    folder = tmp_path / "img"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return init(folder, project=tmp_path, labels="none", classes=("a", "b"))


def test_an_empty_state_is_damage_and_no_new_project(project, tmp_path):
    project.store.close()
    for file in project.state.glob("state.db-*"):
        file.unlink()
    (project.state / "state.db").write_bytes(b"")
    for opened in (lambda: Project(tmp_path), lambda: init(tmp_path / "img", project=tmp_path)):
        with pytest.raises(StateError, match=r"state\.db is damaged: it is empty.*Restore it from a backup"):
            opened()
    assert (project.state / "state.db").read_bytes() == b"", "nothing was made over it"


class Imported:
    """A learner of predictions with embeddings, as far as their width matters."""

    def __init__(self, width: int) -> None:
        self.embedding_width = width


@pytest.mark.parametrize("content", ["", "{", "[]", '{"embedding_width": null}', "\0"])
def test_a_note_that_a_kill_cut_off_is_none_and_is_written_anew(project, tmp_path, content):
    (project.state / "imported.json").write_text(content)
    learning = Learning(project)
    learning.same_width(Imported(3), tmp_path / "p.npz")
    learning.same_width(Imported(3), tmp_path / "p.npz")
    with pytest.raises(FormatError, match=r"embeddings have 4 features, the cached ones have 3"):
        learning.same_width(Imported(4), tmp_path / "q.npz")
