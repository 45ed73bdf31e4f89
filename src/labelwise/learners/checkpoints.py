"""A training that is not finished yet, on disk: a killed one goes on from its last epoch to the same weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from labelwise.errors import StateError
from labelwise.processes import is_main

#: raised when other things are kept: what an older version left is not gone on with
FORM = 3


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept while it runs.

    Args:
        file: written whole or not at all; a missing folder is made.
        key: digest of what is trained; a checkpoint of another training is not gone on with.
        every: epochs between two of them.
    """

    file: Path
    key: str
    every: int = 1

    def of(self, member: int) -> Checkpoint:
        """That of one member of an ensemble."""
        return replace(self, file=self.file.with_name(f"{self.file.name}.{member}")) if member else self

    def write(self, state: dict[str, Any]) -> None:
        """Keeps the state of a training; only the main process does.

        Raises:
            StateError: the file cannot be written.
        """
        if not is_main():
            return
        draft = self.file.with_name(f"{self.file.name}.{os.getpid()}.tmp")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"key": self.key, "form": FORM, **state}, draft)
            draft.replace(self.file)
        except OSError as error:
            raise StateError(
                f"cannot keep the training in {self.file}: {error}. Check that the folder is writable and has room"
            ) from error

    def read(self) -> dict[str, Any] | None:
        """The state that was kept; None where there is none of this training, or only a damaged one."""
        if not self.file.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception:  # a power cut, or somebody else's file: the training starts over
            return None
        fits = isinstance(state, dict) and (state.get("key"), state.get("form")) == (self.key, FORM)
        return state if fits else None

    def clear(self) -> None:
        """Deletes the file: the training is finished."""
        if is_main():
            self.file.unlink(missing_ok=True)
