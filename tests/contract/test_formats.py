"""Every registered format keeps its contract, and recognises its own files among those of all others."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from labelwise.exchange.sniffing import choose, sniffed
from labelwise.formats import FORMATS
from labelwise.testing.formats import SURE, check_format

TESTS = Path(__file__).parents[1] / "formats"
# sample modules may import each other
sys.path.append(str(TESTS))
#: as sure as a format may be of the file of another
CLAIM = 0.8
#: formats that read nothing
WRITTEN = {name for name in FORMATS.names() if not FORMATS.get(name).reads}


@cache
def module_of(name):
    """The test module of a format that has its samples: ``tests/formats/test_NAME.py``, or ``test_NAME_format.py``."""
    paths = [path for path in (TESTS / f"test_{name}.py", TESTS / f"test_{name}_format.py") if path.is_file()]
    path = next((path for path in paths if "def samples(" in path.read_text(encoding="utf-8")), None)
    assert path is not None, f"give tests/formats/test_{name}.py a function samples(folder)"
    spec = importlib.util.spec_from_file_location(f"samples_of_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def samples(name, folder):
    """Files as the tools write them: labels, and what models said where a module has those apart."""
    if name in WRITTEN:
        return []
    module = module_of(name)
    predicted = getattr(module, "predicted_samples", lambda folder: [])
    return [*module.samples(folder / "labels"), *predicted(folder / "predicted")]


@pytest.mark.parametrize("name", FORMATS.names())
def test_it_keeps_the_contract(name, tmp_path):
    # tests/fuzz has each reader meet hundreds of broken files
    check_format(FORMATS.create(name), samples(name, tmp_path / "good"), tmp_path / "work", mutations=25)


@pytest.mark.parametrize("name", sorted(set(FORMATS.names()) - WRITTEN))
def test_it_recognises_its_own_files_and_no_other_claims_them(name, tmp_path):
    form = FORMATS.create(name)
    for path in samples(name, tmp_path):
        for use in sorted(form.reads):
            if form.sniff(path, use).sure >= SURE:
                chosen = choose(path, use)
                assert chosen is not None
                assert chosen.format.name == name, f"{path.name} for {use}: {chosen}"
                for sniff, other in sniffed(path, use):
                    assert other.name == name or sniff.sure <= CLAIM, f"{path.name} for {use}: {other.name}, {sniff}"


def test_asking_for_formats_needs_no_torch():
    """Import and export of classes start at once."""
    code = "import sys; from labelwise.formats import FORMATS; FORMATS.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
