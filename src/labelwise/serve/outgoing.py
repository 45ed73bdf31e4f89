"""What leaves the page: the report, labels and picks in the formats of others, and advice in words."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.errors import DataError
from labelwise.formats import FORMATS
from labelwise.serve.shared import Shared

if TYPE_CHECKING:
    from labelwise.project.project import Project

Use = Literal["labelled", "asked"]
_NAMES: dict[Use, str] = {"labelled": "labels", "asked": "picks"}


class Outgoing:
    """Files that are written in the background and fetched afterwards, the last of each kind.

    Args:
        shared: the project.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    def state(self) -> dict[str, Any]:
        """Which formats labels and picks may be written in, and what has been written."""
        kind, exported = self.shared.project.kind.name, self._exported()
        formats = {
            use: [
                {"name": name, "about": cls.title}
                for name in FORMATS.names()
                if use in (cls := FORMATS.get(name)).writes and kind in cls.kinds
            ]
            for use in _NAMES
        }
        return {
            "formats": formats,
            "report": self._report.is_file(),
            "exported": None if exported is None else exported.name,
        }

    def advise(self) -> None:
        """Begins to reckon what more labels would bring."""

        def told(project: Project) -> Sequence[str]:
            found = project.advise()
            return [*found.lines, *found.notes]

        self.shared.start("advise", told)

    def write_report(self) -> None:
        """Begins to write the report."""

        def written(project: Project) -> Sequence[str]:
            self._report.parent.mkdir(parents=True, exist_ok=True)
            project.report(self._report)
            return ()

        self.shared.start("report", written)

    def export(self, use: Use, form: str) -> None:
        """Begins to write labels or picks.

        Raises:
            ConfigError: an unknown format.
        """
        cls = FORMATS.get(form)

        def written(project: Project) -> Sequence[str]:
            self._out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._out) as place:
                file = Path(place) / f"{_NAMES[use]}{cls.ending}"
                notes = project.export_labels(file, form) if use == "labelled" else project.export(file, form)
                if [one.name for one in Path(place).iterdir()] != [file.name] or file.is_dir():
                    file = Path(shutil.make_archive(str(self._out / "packed"), "zip", place))
                for old in self._out.glob("exported.*"):
                    old.unlink()
                file.rename(self._out / f"exported.{_NAMES[use]}-{form}{file.suffix}")
            return notes

        self.shared.start("export", written)

    def report(self) -> Path:
        """The report that was written last.

        Raises:
            DataError: none was written.
        """
        if not self._report.is_file():
            raise DataError("no report has been written here yet: write one first")
        return self._report

    def exported(self) -> tuple[Path, str]:
        """The file that was exported last, and under which name it is kept.

        Raises:
            DataError: none was.
        """
        if (file := self._exported()) is None:
            raise DataError("nothing has been exported here yet: export first")
        return file, f"{self.shared.project.folder.resolve().name}-{file.name.removeprefix('exported.')}"

    @property
    def _report(self) -> Path:
        return self.shared.project.state / "page" / "report.html"

    @property
    def _out(self) -> Path:
        return self.shared.project.state / "page" / "out"

    def _exported(self) -> Path | None:
        return next(iter(self._out.glob("exported.*")), None)
