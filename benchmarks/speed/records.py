"""Reading tables into records against ``csv.reader`` alone, in one run: rows a second, ratio, memory above the start.

Run: ``python benchmarks/speed/records.py [--rows N]``. Each reading is a process of its own; of three the
fastest counts.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = tuple(f"class{n:02d}" for n in range(100))


def write(folder: Path, rows: int) -> dict[str, tuple[Path, str]]:
    """Tables as people have them: file and format of each."""
    plain = [f"{CLASSES[n % 100]}/image_{n:07d}.jpg,{CLASSES[n % 100]}" for n in range(rows)]
    sets = [f"{row},{'test' if n % 5 else 'train'},p{n % 997}" for n, row in enumerate(plain)]
    told = [f"{row},ann,{n % 90}.5" for n, row in enumerate(plain)]
    marks = [",".join(str(int(c == n)) for c in range(10)) for n in range(10)]
    hot = [f"{row.partition(',')[0]},{marks[n % 10]}" for n, row in enumerate(plain)]
    tables = {
        "id,label": ("csv", plain),
        "id,label,split,group": ("csv", sets),
        "id,label,annotator,seconds": ("csv", told),
        f"id,{','.join(CLASSES[:10])}": ("one_hot_csv", hot),
    }
    found = {}
    for number, (name, (form, lines)) in enumerate(tables.items()):
        path = folder / f"{number}.csv"
        path.write_text("\n".join([name, *lines, ""]))
        found[name] = (path, form)
    return found


def measure(path: Path, form: str) -> None:
    """In a process of its own: rows, seconds of the processor, megabytes above the start."""
    from labelwise.contracts.format import Hints
    from labelwise.formats import FORMATS

    reader = None if form == "csv.reader" else FORMATS.create(form)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if reader is None:
        with path.open(newline="", encoding="utf-8") as file:
            rows = sum(1 for _ in csv.reader(file)) - 1
    else:
        _, records = reader.read(path, "data", Hints(kind="classes"))
        rows = sum(1 for _ in records)
    print(rows, time.process_time() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--one", nargs=2, metavar=("FILE", "FORMAT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(Path(given.one[0]), given.one[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, form) in write(Path(folder), given.rows).items():
            fastest = {}
            for reader in ("csv.reader", form) * 3:
                command = [sys.executable, __file__, "--one", str(path), reader]
                rows, seconds, memory = map(
                    float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                )
                fastest[reader] = min(fastest.get(reader, (1e9, 0.0)), (seconds / rows, memory))
            (bare, _), (ours, memory) = fastest["csv.reader"], fastest[form]
            print(f"{name}: {1 / ours:,.0f} rows/s, csv.reader {1 / bare:,.0f}, {ours / bare:.1f} x; {memory:.0f} MB")


if __name__ == "__main__":
    main()
