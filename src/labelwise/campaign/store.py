"""The project on disk: an append-only event table, a lock, and a cache of signal rows.

``state.db`` is SQLite in WAL mode; events are appended in transactions, so a command killed at any instant has either
written all of them or none. Everything else in the folder can be deleted and is made again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import filelock
import sqlalchemy as sa

from labelwise.campaign.events import EVENTS, Added, Event, HeldOut, Item, Labelled, Queried, Renamed
from labelwise.campaign.locking import alone
from labelwise.campaign.pool import Pool
from labelwise.errors import PoolError, StateError

#: raised whenever older code could misread what newer code writes
SCHEMA_VERSION = 1

_METADATA = sa.MetaData()
_META = sa.Table("meta", _METADATA, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text))
_EVENTS = sa.Table(
    "events",
    _METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
)
_ROUNDS = sa.Table(
    "rounds",
    _METADATA,
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("record", sa.Text, nullable=False),
)
_CONTENT = sa.Table(
    "content",
    _METADATA,
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("stat", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)


_INSERT = "INSERT INTO events (kind, item, payload, time) VALUES (?, ?, ?, ?)"
#: events that are written at once: all are one transaction, but a million rows need not be in memory together
_CHUNK = 10_000
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _payload(event: Event) -> tuple[str, dict[str, Any]]:
    # not asdict: it copies every label to its last number, which took a quarter of the making of a project
    if isinstance(event, Added):
        item = {} if event.item.path == event.item.id else {"path": event.item.path}
        item |= {key: value for key in ("region", "group") if (value := getattr(event.item, key)) is not None}
        return event.item.id, {"role": event.role, **item} if event.role != "pool" else item
    values = {one.name: getattr(event, one.name) for one in fields(event)}
    if isinstance(event, Labelled) and not event.annotator:
        del values["annotator"]
    if isinstance(event, HeldOut) and event.chance is None:
        del values["chance"], values["among"]
    return values.pop("id"), values


def _rows_of(events: Iterable[Event], now: float) -> Iterator[tuple[str, str, str, float]]:
    for event in events:
        item, payload = _payload(event)
        yield event.kind, item, _JSON.encode(payload), now


def _event(kind: str, item_id: str, payload: str) -> Event:
    if kind == Added.kind and payload == "{}":  # nearly all, in a large project
        return Added(Item(item_id, item_id))
    values = json.loads(payload)
    if kind == Added.kind:
        role = values.pop("role", "pool")
        return Added(Item(item_id, values.pop("path", item_id), **values), role)
    return EVENTS[kind](id=item_id, **values)  # type: ignore[call-arg]


class Store:
    """The state of one project.

    In a folder that cannot be written what is there can still be read: a copy is opened, and nothing is written.

    Args:
        folder: the ``.labelwise`` folder; made when missing.
        create: whether a missing database is made; otherwise it is an error.

    Raises:
        StateError: the folder cannot be written, the disk is full, or a newer labelwise wrote it.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        path = folder / "state.db"
        if not create and not path.exists():
            raise StateError(f"no project at {folder.parent}: {path} is missing. Run 'labelwise init IMAGES' first")
        self.read_only = path.is_file() and not all(os.access(place, os.W_OK) for place in (folder, path))
        if self.read_only:
            self._copy = tempfile.TemporaryDirectory(prefix="labelwise")
            path = _copied(path, Path(self._copy.name))
        self._engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": 60})
        sa.event.listen(self._engine, "connect", _read_only if self.read_only else _set_pragmas)
        with self._disk_errors():
            found = _version(path)
            if found is None and not create:
                raise self._damaged("it is empty, and labels and rounds were in it")
            if found is None:
                folder.mkdir(parents=True, exist_ok=True)
                found = self._make()
        if not found.isdecimal():
            raise self._damaged(f"its version is {found!r}")
        if int(found) > SCHEMA_VERSION:
            raise StateError(
                f"this project was written by a newer labelwise (state version {found}, this one reads up to "
                f"{SCHEMA_VERSION}): update labelwise (pip install -U labelwise)"
            )

    def close(self) -> None:
        """Lets go of the database file."""
        self._engine.dispose()
        if self.read_only:
            self._copy.cleanup()

    def _make(self) -> str:
        """Makes the tables, one process at a time; the version comes last and says that all are there."""
        with filelock.FileLock(self.folder / "create.lock", timeout=60), self._engine.begin() as connection:
            _METADATA.create_all(connection)
            version = {"key": "schema", "value": str(SCHEMA_VERSION)}
            connection.execute(_META.insert().prefix_with("OR IGNORE").values(version))
        return version["value"]

    def _damaged(self, why: object) -> StateError:
        return StateError(f"{self.folder / 'state.db'} is damaged: {why}. Restore it from a backup")

    @contextlib.contextmanager
    def _disk_errors(self, doing: str = "write") -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, sa.exc.DBAPIError, filelock.Timeout) as error:
            cause = getattr(error, "orig", None) or error
            if getattr(cause, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(cause) from error
            raise StateError(
                f"cannot {doing} the project state in {self.folder}: {cause}. Nothing was changed. Check that the "
                "folder is writable and the disk has room"
            ) from error

    @contextlib.contextmanager
    def lock(self, *, wait: float = 600.0, waiting: Callable[[str], None] = lambda message: None) -> Iterator[None]:
        """Holds the project for one command at a time; the lock of a killed process is gone with it.

        Args:
            wait: seconds to wait for another command to finish.
            waiting: told once, in words, when there is something to wait for.

        Raises:
            StateError: another command still holds the project after ``wait`` seconds.
        """
        with contextlib.ExitStack() as held:
            with self._disk_errors():
                held.enter_context(alone(self.folder, "this project", wait=wait, waiting=waiting))
            yield

    def append(self, events: Iterable[Event], *, record: Mapping[str, Any] | None = None) -> None:
        """Writes events, and the record of the round they belong to, all or none.

        Args:
            events: in order.
            record: JSON values with the key ``round``; replaces an earlier record of that round.

        Raises:
            StateError: the disk refused; nothing was written.
        """
        rows = _rows_of(events, time.time())
        chunk = list(itertools.islice(rows, _CHUNK))
        if not chunk and record is None:
            return
        with self._disk_errors(), self._engine.begin() as connection:
            while chunk:
                connection.exec_driver_sql(_INSERT, chunk)
                chunk = list(itertools.islice(rows, _CHUNK))
            if record is not None:
                values = {"round": record["round"], "record": json.dumps(record, allow_nan=False)}
                connection.execute(_ROUNDS.insert().prefix_with("OR REPLACE"), values)

    def rounds(self) -> list[dict[str, Any]]:
        """The records of all rounds, in order."""
        with self._disk_errors("read"), self._engine.connect() as connection:
            found = connection.execute(sa.select(_ROUNDS.c.record).order_by(_ROUNDS.c.round)).scalars().all()
        try:
            return [json.loads(record) for record in found]
        except json.JSONDecodeError as error:
            raise self._damaged(error) from error

    def events(self, after: int = 0) -> Iterator[Event]:
        """All events after the one of this number, in the order they were written."""
        for kind, item_id, payload, _ in self._rows(after):
            yield _event(kind, item_id, payload)

    def history(self, item_id: str) -> list[Event]:
        """All events of one item, in order, also those that were written under an earlier name of it.

        Cost: two looks at all rows.
        """
        column = _EVENTS.c.item
        with self._disk_errors("read"), self._engine.connect() as connection:
            renamed = sa.select(column, _EVENTS.c.payload).where(_EVENTS.c.kind == Renamed.kind)
            names = {item_id}
            for old, payload in reversed(connection.execute(renamed.order_by(_EVENTS.c.seq)).all()):
                if json.loads(payload)["to"] in names:
                    names.add(old)
            wanted = sa.select(_EVENTS.c.kind, column, _EVENTS.c.payload).where(column.in_(sorted(names)))
            return [_event(*row) for row in connection.execute(wanted.order_by(_EVENTS.c.seq))]

    def _rows(self, after: int = 0) -> Iterator[Any]:
        columns = (_EVENTS.c.kind, _EVENTS.c.item, _EVENTS.c.payload, _EVENTS.c.time)
        wanted = sa.select(*columns).where(_EVENTS.c.seq > after).order_by(_EVENTS.c.seq)
        with self._disk_errors("read"), self._engine.connect() as connection:
            yield from connection.execute(wanted)

    def newest(self) -> int:
        """Number of the newest event, which grows with each; 0 before there is one."""
        with self._disk_errors("read"), self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.max(_EVENTS.c.seq))).scalar() or 0)

    def pool(self, *, before: int | None = None) -> Pool:
        """The pool after all events.

        Args:
            before: only up to the moment at which this round was asked: what its model was trained on; None: all.

        Cost: about 5 microseconds an event.
        """
        events = self.events()
        if before is not None:
            events = itertools.takewhile(lambda e: not (isinstance(e, Queried) and e.round >= before), events)
        try:
            return Pool.replay(events)
        except (PoolError, TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise self._damaged(error) from error

    def remembered(self, item_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Item -> (stat, digest) of its image when it was read last, for those that were read."""
        wanted = set(item_ids)
        with self._disk_errors("read"), self._engine.connect() as connection:
            rows = connection.execute(sa.select(_CONTENT)) if wanted else ()
            return {row.item: (row.stat, row.digest) for row in rows if row.item in wanted and row.digest}

    def content(
        self, item_ids: Sequence[str], stats: Sequence[str], digests: Callable[[list[str]], list[str]]
    ) -> list[str]:
        """Content digests, each image read once: known ones are remembered as long as size and time of the file agree.

        Args:
            item_ids: the items.
            stats: size and modification time of each, as text.
            digests: reads the images that are not known yet.
        """
        with self._disk_errors("read"), self._engine.connect() as connection:
            known = {row.item: (row.stat, row.digest) for row in connection.execute(sa.select(_CONTENT))}
        pairs = zip(item_ids, stats, strict=True)
        new = [i for i, (item, stat) in enumerate(pairs) if item not in known or known[item][0] != stat]
        found = digests([item_ids[i] for i in new])
        rows = [{"item": item_ids[i], "stat": stats[i], "digest": value} for i, value in zip(new, found, strict=True)]
        if rows and not self.read_only:
            with self._disk_errors(), self._engine.begin() as connection:
                connection.execute(_CONTENT.insert().prefix_with("OR REPLACE"), rows)
        known.update({row["item"]: (row["stat"], row["digest"]) for row in rows})
        return [known[item][1] for item in item_ids]


def _version(path: Path) -> str | None:
    """The version of the database at ``path``; None where there is none yet, or one whose making was cut short."""
    if not path.is_file():
        return None
    # not read-only: who was killed in the middle of the making left a journal that the next one has to roll back
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as database:
        try:
            row = database.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):  # a folder in which nothing can be opened
                raise
            return None
    return None if row is None else str(row[0])


def _copied(path: Path, folder: Path) -> Path:
    """A copy of a database with what is not merged into it yet: beside a file that cannot be written none is opened."""
    for file in (path, path.with_name(f"{path.name}-wal")):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    return folder / path.name


def _read_only(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _set_pragmas(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
