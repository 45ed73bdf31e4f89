"""How Label Studio gets to show pictures: it reads them where they lie, or they are uploaded to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelwise.contracts.tool import Pictures, Place
from labelwise.errors import ToolError, cut
from labelwise.exchange.tools.server import Refused, Upload
from labelwise.formats.label_studio_write import LOCAL

#: pictures in one request, and their bytes
FILES, BYTES = 20, 1 << 25


class Gallery:
    """The pictures of one project there.

    Args:
        ask: the server, as ``Server.ask``.
        place: the project.
    """

    def __init__(self, ask: Callable[..., Any], place: Place) -> None:
        self._ask, self.place = ask, place

    def serve(self, pictures: Pictures) -> None:
        """Lets the server read pictures where they lie.

        Raises:
            ToolError: they are no files, or it may not.
        """
        if pictures.root is None:
            raise ToolError("these images are no files of their own, so that no server can read them: --files upload")
        root = pictures.root.resolve()
        known = self._ask("GET", "/api/storages/localfiles/", query=[("project", self.place.number)])
        if any(one["path"].rstrip("/") == str(root) for one in known):
            return
        wanted = {"project": self.place.number, "path": str(root), "use_blob_urls": True, "title": "labelwise"}
        try:
            self._ask("POST", "/api/storages/localfiles/", json=wanted)
        except Refused as error:
            raise ToolError(
                f"Label Studio may not read {cut(str(root), 60)}: start it with "
                f"LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT="
                f"{cut(str(root.parent), 60)}, or take --files upload ({cut(error.detail, 60)})"
            ) from None

    def addresses(self, names: Sequence[str], pictures: Pictures) -> dict[str, str]:
        """Where the server shows each picture; they are uploaded where it cannot read them.

        Raises:
            ToolError: it shows none, or the server fails.
        """
        return self._local(names, pictures) if self.place.files == "local" else self._upload(names, pictures)

    def _upload(self, names: Sequence[str], pictures: Pictures) -> dict[str, str]:
        """What is there already, by its content, is not sent again."""
        named: dict[str, tuple[str, bytes]] = {}
        for name in names:
            found = pictures.read(name)
            data, ending = (found.read_bytes(), found.suffix) if isinstance(found, Path) else found
            named[name] = (hashlib.blake2b(data, digest_size=16).hexdigest() + ending.lower(), data)
        uploaded = self._uploaded("all", "true")
        waiting = {file: data for file, data in named.values() if file not in uploaded}
        for some in _batches(waiting):
            sent = Upload([(f"f{n}", (file, waiting[file])) for n, file in enumerate(some)])
            answer = self._ask(
                "POST", f"/api/projects/{self.place.number}/import", query=[("commit_to_project", "false")], upload=sent
            )
            uploaded |= self._uploaded("ids", json.dumps(answer["file_upload_ids"]))
        return {name: f"/data/{quote(uploaded[file])}" for name, (file, _) in named.items()}

    def _uploaded(self, which: str, value: str) -> dict[str, str]:
        """Files of the project on the server, by the names that they were sent under."""
        listed = self._ask("GET", f"/api/projects/{self.place.number}/file-uploads", query=[(which, value)])
        return {_own_name(one["file"]): one["file"] for one in listed}

    def _local(self, names: Sequence[str], pictures: Pictures) -> dict[str, str]:
        """Addresses below the folder that the server reads from, which is found by asking for one picture."""
        files: dict[str, Path] = {}
        for name in names:
            found = pictures.read(name)
            if not isinstance(found, Path):
                raise ToolError(
                    f"{cut(name, 80)!r} is no file of its own, so that no server can read it: --files upload"
                )
            files[name] = found.resolve()
        first = next(iter(files.values()))
        for root in first.parents:
            if self._shows(first, root):
                return {
                    name: LOCAL + quote(file.relative_to(root).as_posix(), safe="/") for name, file in files.items()
                }
        raise ToolError(
            f"Label Studio does not show {cut(str(first), 100)}: it reads another folder, or lies on another machine. "
            "Run 'labelwise connect' again, with --files upload"
        )

    def _shows(self, file: Path, root: Path) -> bool:
        """Whether the server shows this file where its folder of pictures is that one."""
        try:
            shown = self._ask("GET", "/data/local-files/", query=[("d", file.relative_to(root).as_posix())])
        except Refused as error:
            if error.status in (400, 403, 404):
                return False
            raise
        return bool(shown == file.read_bytes())


def _batches(files: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Names of files that go into one request each."""
    some: list[str] = []
    size = 0
    for name, data in files.items():
        if some and (len(some) == FILES or size + len(data) > BYTES):
            yield some
            some, size = [], 0
        some.append(name)
        size += len(data)
    if some:
        yield some


def _own_name(stored: str) -> str:
    """What a file was called when it was uploaded: the server puts eight digits before it."""
    return stored.rpartition("/")[2].partition("-")[2]
