"""The event table: whole transactions or nothing, whoever writes and whenever a writer dies."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from labelwise.campaign.events import Added, Cleared, Item, Labelled, Queried, Renamed, Skipped, Tagged
from labelwise.campaign.store import SCHEMA_VERSION, Store
from labelwise.errors import StateError

EVENTS = [
    Added(Item("a.png", "a.png")),
    Added(Item('b, c\n"é".png', 'b, c\n"é".png', group="p1"), "pool"),
    Added(Item("a.png#box:0,0,4,4", "a.png", region="box:0,0,4,4"), "pool"),
    Added(Item("t.png", "t.png"), "test"),
    Queried("a.png", 0, 2, 0.5, "margin", "cat", 0.25),
    Labelled("a.png", {"boxes": [[0, 1.5]], "name": "é"}, {"boxes": 2.0, "seconds": 1.5}),
    Skipped('b, c\n"é".png', "blurred"),
    Cleared('b, c\n"é".png'),
    Tagged("t.png", "nächtlich", True),
]


def _python(code: str, *arguments: object, **options) -> subprocess.Popen:
    """A process of its own that runs ``code``; it imports no torch, so it starts fast."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def _finish(process: subprocess.Popen, timeout: float = 60) -> str:
    out, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return out


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


@contextlib.contextmanager
def _opened(folder: Path, *, create: bool = False):
    store = Store(folder, create=create)
    try:
        yield store
    finally:
        store.close()


# ---- what is written is read ----------------------------------------------------------------------------------------


def test_every_kind_of_event_comes_back(tmp_path):
    with _opened(tmp_path, create=True) as store:
        store.append(EVENTS[:3])
        store.append(EVENTS[3:])
    with _opened(tmp_path) as store:
        assert list(store.events()) == EVENTS
        assert store.pool().round == 1


def test_records_are_replaced_by_round(tmp_path):
    with _opened(tmp_path, create=True) as store:
        store.append([], record={"round": 1, "x": 1})
        store.append([EVENTS[0]], record={"round": 0, "x": 2})
        store.append([], record={"round": 1, "x": 3})
        assert store.rounds() == [{"round": 0, "x": 2}, {"round": 1, "x": 3}]
        store.append([])
        assert len(list(store.events())) == 1


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(StateError, match="Run 'labelwise init IMAGES' first") as caught:
        Store(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "nowhere").exists(), "asking makes nothing"


def test_a_value_that_json_does_not_know_leaves_nothing_behind(tmp_path):
    with _opened(tmp_path, create=True) as store:
        with pytest.raises((TypeError, ValueError)):
            store.append([EVENTS[0], Queried("a.png", 0, 0, float("nan"))])
        assert list(store.events()) == []


def test_odd_folder_names(tmp_path):
    folder = tmp_path / "what? 100% #1 'é\""
    with _opened(folder, create=True) as store:
        store.append(EVENTS[:1])
    with _opened(folder) as store:
        assert list(store.events()) == EVENTS[:1]
    assert (folder / "state.db").is_file()


def test_the_content_of_a_file_that_is_gone(tmp_path):
    with _opened(tmp_path, create=True) as store:
        for _ in range(2):
            assert store.content(["gone"], [""], lambda items: [""] * len(items)) == [""]


def test_content_is_read_once_until_a_file_changes(tmp_path):
    asked: list[list[str]] = []

    def digests(items):
        asked.append(list(items))
        return [f"digest of {item}" for item in items]

    for _ in range(2):
        with _opened(tmp_path, create=True) as store:
            assert store.content(["a", "b"], ["1", "1"], digests) == ["digest of a", "digest of b"]
    assert asked == [["a", "b"], []]
    with _opened(tmp_path) as store:
        store.content(["b", "c", "a"], ["2", "1", "1"], digests)
    assert asked[-1] == ["b", "c"]


# ---- versions and damage --------------------------------------------------------------------------------------------


def test_a_newer_project_is_refused(tmp_path):
    with _opened(tmp_path, create=True) as store:
        store.append(EVENTS[:1])
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA_VERSION + 1),))
    with pytest.raises(StateError, match=r"written by a newer labelwise .*update labelwise") as caught:
        Store(tmp_path)
    assert "\n" not in str(caught.value)


def _filled(folder: Path) -> Path:
    with _opened(folder, create=True) as store:
        store.append([Added(Item(f"{n:05d}.png", f"{n:05d}.png")) for n in range(3000)])
    with contextlib.closing(sqlite3.connect(folder / "state.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "state.db"


def _noise(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[4096 * 3 : -4096] = random.Random(0).randbytes(len(raw) - 4096 * 4)
    file.write_bytes(raw)


DAMAGE = {
    "no database": lambda file: file.write_bytes(b"these are not the bytes of a database" * 200),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:20_000]),
    "noise inside": _noise,
    "an event of a kind nobody knows": lambda file: _sql(file, "UPDATE events SET kind = 'exploded' WHERE seq = 7"),
    "an event that is not JSON": lambda file: _sql(file, "UPDATE events SET payload = '{' WHERE seq = 7"),
    "an event with strange keys": lambda file: _sql(file, "UPDATE events SET payload = '{\"x\": 1}' WHERE seq = 7"),
    "an event that is no mapping": lambda file: _sql(file, "UPDATE events SET payload = '[]' WHERE seq = 7"),
    "an event twice": lambda file: _sql(file, "UPDATE events SET item = '00000.png' WHERE seq = 7"),
    "a label without its item": lambda file: _sql(file, "UPDATE events SET kind = 'cleared' WHERE seq = 7"),
    "a version that is no number": lambda file: _sql(file, "UPDATE meta SET value = 'new' WHERE key = 'schema'"),
}


def _sql(file: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute(statement)


@pytest.mark.heavy
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_is_one_line_and_stays_as_it_is(damage, tmp_path):
    file = _filled(tmp_path)
    DAMAGE[damage](file)
    before = file.read_bytes()
    with pytest.raises(StateError) as caught, _opened(tmp_path) as store:
        store.pool()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert file.read_bytes() == before


def test_a_damaged_record_is_one_line(tmp_path):
    with _opened(tmp_path, create=True) as store:
        store.append([], record={"round": 0})
    _sql(tmp_path / "state.db", "UPDATE rounds SET record = '{'")
    with _opened(tmp_path) as store, pytest.raises(StateError, match="damaged"):
        store.rounds()


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="writable") as caught:
        Store(tmp_path / "file", create=True)
    assert "\n" not in str(caught.value)


READ_ONLY = """
import os, sys
from pathlib import Path
from labelwise.errors import StateError
from labelwise.campaign.events import Added, Item
from labelwise.campaign.store import Store
if os.geteuid() == 0:
    os.setuid(65534)  # root may write everywhere, so become somebody else
try:
    store = Store(Path(sys.argv[1]), create=True)
    print(len(store.pool()))
    with store.lock(wait=0.1):
        store.append([Added(Item("new.png", "new.png"))])
except StateError as error:
    print("refused:", error)
"""


@pytest.mark.heavy
def test_a_read_only_project_is_one_line():
    folder = Path(tempfile.mkdtemp(prefix="labelwise"))  # pytest's own folders are closed to other users
    try:
        _filled(folder)
        folder.chmod(0o555)
        for entry in folder.iterdir():
            entry.chmod(0o444)
        out = _finish(_python(READ_ONLY, folder))
        assert "refused: " in out
        assert "writable" in out
        assert out.count("\n") <= 2
    finally:
        folder.chmod(0o755)
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from labelwise.errors import StateError
from labelwise.campaign.events import Added, Item
from labelwise.campaign.store import Store
store = Store(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # no file may grow beyond: as on a full disk
try:
    store.append([Added(Item(f"new{n}.png", f"new{n}.png")) for n in range(50_000)])
except StateError as error:
    print(error)
"""


@pytest.mark.heavy
def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path):
    _filled(tmp_path)
    out = _finish(_python(FULL_DISK, tmp_path))
    assert "Nothing was changed" in out
    assert out.count("\n") == 1
    with _opened(tmp_path) as store:
        assert len(store.pool()) == 3000
        store.append([Added(Item("new.png", "new.png"))])
        assert len(store.pool()) == 3001


# ---- several processes ----------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from labelwise.campaign.events import Added, Item
from labelwise.campaign.store import Store
folder, name, size, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = Store(Path(folder), create=True)
print("ready", flush=True)
for number in range(count):
    items = [Item(f"{name}-{number:04d}-{n:05d}", "x", group=f"{name}-{number}") for n in range(size)]
    store.append([Added(item) for item in items], record={"round": number, "writer": name})
    print(number, flush=True)
"""


@pytest.mark.heavy
@pytest.mark.parametrize("lives", [1, pytest.param(5, marks=pytest.mark.kills)])
def test_killed_in_the_middle_of_appends_only_whole_transactions_remain(lives, tmp_path):
    size, draw, partial = 1500, random.Random(1), 0
    for life in range(lives):
        process = _python(WRITER, tmp_path, f"life{life}", size, 1000)
        assert process.stdout.readline() == "ready\n"
        said = [process.stdout.readline()]  # it writes
        time.sleep(draw.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        said += process.communicate()[0].split()
        with _opened(tmp_path) as store:
            groups: dict[str, int] = {}
            for event in store.events():
                groups[event.item.group] = groups.get(event.item.group, 0) + 1
            assert set(groups.values()) <= {size}
            mine = [group for group in groups if group.startswith(f"life{life}-")]
            assert len(said) <= len(mine) <= len(said) + 1, "what was acknowledged is there, and at most one more"
            partial += len(mine)
            records = {record["round"]: record["writer"] for record in store.rounds()}
            assert all(records[number] == f"life{life}" for number in range(len(mine)))
    assert partial >= lives, "the test kills writers that write"


DIED_MAKING = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("CREATE TABLE other (value TEXT)")
database.execute("PRAGMA cache_size = 1")  # pages go to the file before the end of the transaction
database.execute("BEGIN")
for number in range(2000):
    database.execute("INSERT INTO other VALUES (?)", (str(number),))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_in_the_middle_of_the_making_the_next_one_rolls_back_and_goes_on(tmp_path):
    """The change to write-ahead logging is itself written with a journal, which only a writer may roll back."""
    _python(DIED_MAKING, tmp_path / "state.db").communicate()
    assert (tmp_path / "state.db-journal").stat().st_size > 0
    with contextlib.closing(Store(tmp_path, create=True)) as store:
        store.append(EVENTS[:1])
        assert len(store.pool()) == 1


@pytest.mark.heavy
def test_two_processes_append_at_once_and_nothing_is_lost(tmp_path):
    Store(tmp_path, create=True).close()
    writers = [_python(WRITER, tmp_path, name, 40, 40) for name in ("one", "two", "three")]
    for writer in writers:
        _finish(writer)
    with _opened(tmp_path) as store:
        events = list(store.events())
    assert len(events) == len({event.item.id for event in events}) == 3 * 40 * 40
    for name in ("one", "two", "three"):
        own = [event.item.id for event in events if event.item.id.startswith(name)]
        assert own == sorted(own), "each writer's events keep their order"
    runs = [event.item.group for event in events]
    assert sum(a != b for a, b in itertools.pairwise(runs)) == 3 * 40 - 1, "transactions are not mixed"


OPENER = """
import sys, time
from pathlib import Path
from labelwise.campaign.store import Store
time.sleep(max(0, float(sys.argv[2]) - time.time()))
store = Store(Path(sys.argv[1]), create=True)
print(len(store.pool()))
"""


@pytest.mark.heavy
def test_many_processes_may_create_the_same_project_at_once(tmp_path):
    start = time.time() + 2.0
    openers = [_python(OPENER, tmp_path / "new", start) for _ in range(5)]
    assert [_finish(opener) for opener in openers] == ["0\n"] * 5


HOLDER = """
import sys, time
from pathlib import Path
from labelwise.campaign.store import Store
store = Store(Path(sys.argv[1]))
with store.lock():
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""


def _holder(folder: Path) -> subprocess.Popen:
    process = _python(HOLDER, folder, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.heavy
def test_the_second_command_waits_and_says_so(tmp_path):
    with _opened(tmp_path, create=True) as store:
        holder = _holder(tmp_path)
        said: list[str] = []
        timer = threading.Timer(0.4, lambda: (holder.stdin.write("\n"), holder.stdin.flush()))
        timer.start()
        started = time.perf_counter()
        with store.lock(waiting=said.append):
            assert time.perf_counter() - started > 0.2
        timer.join()
        assert len(said) == 1
        assert f"process {holder.pid}" in said[0]
        holder.communicate()


@pytest.mark.heavy
def test_who_waits_too_long_is_told_who_holds_it(tmp_path):
    with _opened(tmp_path, create=True) as store:
        holder = _holder(tmp_path)
        said = f"process {holder.pid}.* still works on this project"
        with pytest.raises(StateError, match=said) as caught, store.lock(wait=0.2):
            raise AssertionError("two hold it")
        assert "\n" not in str(caught.value)
        _kill(holder)


@pytest.mark.heavy
def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    with _opened(tmp_path, create=True) as store:
        holder = _holder(tmp_path)
        _kill(holder)
        said: list[str] = []
        with store.lock(wait=1.0, waiting=said.append):
            pass
        assert said == []


def test_the_lock_is_released_when_a_command_fails(tmp_path):
    with _opened(tmp_path, create=True) as store:
        with pytest.raises(ZeroDivisionError), store.lock():
            raise ZeroDivisionError
        with store.lock(wait=0.0):
            pass


# ---- size -----------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_two_hundred_thousand_images(tmp_path, record_property, capsys):
    """Registered in one transaction and replayed; the design promises under a minute."""
    events = [
        Added(Item(f"folder/{n // 1000:03d}/image {n:06d}.jpg", f"folder/{n // 1000:03d}/image {n:06d}.jpg"))
        for n in range(200_000)
    ]
    with _opened(tmp_path, create=True) as store:
        started = time.perf_counter()
        store.append(events)
        written = time.perf_counter() - started
        pool = store.pool()
        total = time.perf_counter() - started
    with capsys.disabled():
        print(f"\n200,000 images: registered in {written:.1f} s, replayed in {total - written:.1f} s")
    assert len(pool.unlabelled) == 200_000
    assert total < 60


def test_the_history_of_an_item_goes_back_through_its_names(tmp_path):
    events = [
        Added(Item("a.png", "a.png")), Added(Item("b.png", "b.png")), Added(Item("c.png", "c.png")),
        Labelled("a.png", "cat"), Renamed("b.png", "other.png", "other.png"), Renamed("a.png", "b.png", "b.png"),
        Labelled("other.png", "cow"), Tagged("b.png", "night"), Renamed("b.png", "z.png", "z.png"),
        Labelled("z.png", "dog"),
    ]  # fmt: skip
    with _opened(tmp_path / "state", create=True) as store:
        store.append(events)
        assert [one.target for one in store.history("z.png") if isinstance(one, Labelled)] == ["cat", "dog"]
        assert [one.target for one in store.history("other.png") if isinstance(one, Labelled)] == ["cow"]
        assert store.history("c.png") == [events[2]]
        assert store.history("nothing.png") == []
