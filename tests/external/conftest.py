"""One Label Studio for all tests that want one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """The owner of the server, a second person, and the folder of its files."""
    import label_studio_session as session
    from label_studio_server import invited, server

    folder = tmp_path_factory.mktemp("label_studio")
    files = folder / "files"
    session.draw(files / "pool")
    (folder / "data").mkdir()
    with server(folder / "data", files) as owner:
        yield owner, invited(owner, "second@example.org"), files
