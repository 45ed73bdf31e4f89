"""Files of a project that a power cut, a full disk or a tool that copies folders has left empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.errors import StateError
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


@pytest.mark.parametrize("content", ["", "{", "[]", '{"embedding_width": null}', "\0"])
def test_a_note_that_a_kill_cut_off_is_none(project, tmp_path, content):
    file = tmp_path / "p.npz"
    rows = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    np.savez(file, ids=np.array([f"{number}.png" for number in range(6)]), embeddings=rows)
    (project.state / "imported.json").write_text(content)
    assert len(project.suggest(2, strategy="kmeans", predictions=file)) == 2
