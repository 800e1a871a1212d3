"""Request records in SQLite: written in batches by a thread, so that neither a slow nor a full disk holds a request.

::

    run      started_unix_s: zero of the clock of its requests
    request  one row per request, fields of `dougong.metrics.RequestRecord`, and key, model, path, attempts
    usage    a view: requests and tokens by day, key and model
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from dougong import __version__
from dougong.errors import EnvironmentLacking, InputError
from dougong.gateway.background import Background
from dougong.metrics import RequestRecord
from dougong.metrics.records import Status

SCHEMA = 1
_STATUSES: dict[str, Status] = {word: word for word in get_args(Status)}
_PAGE_BYTES = 4096
_COLUMNS = (
    "id", "arrival_s", "sent_s", "first_token_s", "last_token_s", "end_s", "prompt_tokens", "output_tokens",
    "cached_prompt_tokens", "status", "error", "replica", "run", "key", "model", "path", "stream", "http_status",
    "attempts",
)  # fmt: skip
_TABLES = """
CREATE TABLE IF NOT EXISTS run (run INTEGER PRIMARY KEY, started_unix_s REAL NOT NULL, version TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS request (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, arrival_s REAL NOT NULL, sent_s REAL, first_token_s REAL,
    last_token_s REAL, end_s REAL NOT NULL, prompt_tokens INTEGER, output_tokens INTEGER,
    cached_prompt_tokens INTEGER, status TEXT NOT NULL, error TEXT NOT NULL, replica TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES run, key TEXT NOT NULL, model TEXT NOT NULL, path TEXT NOT NULL,
    stream INTEGER NOT NULL, http_status INTEGER NOT NULL, attempts INTEGER NOT NULL
);
CREATE VIEW IF NOT EXISTS usage AS
    SELECT date(started_unix_s + arrival_s, 'unixepoch') AS day, key, model, count(*) AS requests,
        sum(status = 'ok') AS ok, total(prompt_tokens) AS prompt_tokens, total(output_tokens) AS output_tokens
    FROM request JOIN run USING (run) GROUP BY day, key, model;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, and what only a gateway knows of it."""

    record: RequestRecord
    key: str
    model: str
    path: str
    stream: bool
    http_status: int
    attempts: int


class Records:
    """The file of a running gateway.

    Parameters
    ----------
    path
        Made where it is not there.
    max_bytes
        Longest it may grow [byte].
    on_fault
        Told, from the writing thread, why records were lost.

    Raises
    ------
    EnvironmentLacking
        The file cannot be made.
    InputError
        It is something else.
    """

    def __init__(self, path: Path, max_bytes: int, on_fault: Callable[[str], None]) -> None:
        self.on_fault = on_fault
        self.started_unix_s = time.time()
        self._failed = 0
        try:
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._run = self._open(max_bytes)
            except BaseException:
                self._base.close()
                raise
        except sqlite3.DatabaseError as fault:
            if isinstance(fault, sqlite3.OperationalError):
                raise EnvironmentLacking(f"records cannot be kept in {path}: {fault}") from None
            raise InputError(f"{path} is no file of records: {fault}") from None
        self._writer = Background[Entry]("dougong-records", self._write)

    def _open(self, max_bytes: int) -> int:
        base = self._base
        version = base.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA):
            raise InputError(f"the file of records has schema {version}; this version writes {SCHEMA}")
        base.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last batch, never the file
        base.executescript(_TABLES)
        base.execute(f"PRAGMA user_version = {SCHEMA}")
        base.execute(f"PRAGMA max_page_count = {max(1, max_bytes // _PAGE_BYTES)}")
        row = base.execute(
            "INSERT INTO run (started_unix_s, version) VALUES (?, ?)", (self.started_unix_s, __version__)
        )
        assert row.lastrowid is not None
        return row.lastrowid

    @property
    def lost(self) -> int:
        """Records that could not be kept."""
        return self._failed + self._writer.lost

    def put(self, entry: Entry) -> None:
        """Keep a record, soon."""
        self._writer.put(entry)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._writer.close()
        self._base.close()

    def _write(self, batch: list[Entry]) -> None:
        marks = ", ".join("?" * len(_COLUMNS))
        try:
            self._base.execute("BEGIN IMMEDIATE")
            sql = f"INSERT INTO request ({', '.join(_COLUMNS)}) VALUES ({marks})"
            self._base.executemany(sql, [self._row(entry) for entry in batch])
            self._base.execute("COMMIT")
        except (sqlite3.Error, OSError) as fault:
            self._failed += len(batch)
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            self.on_fault(str(fault))

    def _row(self, entry: Entry) -> tuple[Any, ...]:
        own = {
            "run": self._run,
            **{name: getattr(entry, name) for name in Entry.__slots__ if name != "record"},
        }
        return tuple(own[name] if name in own else getattr(entry.record, name) for name in _COLUMNS)


def read_records(path: Path, run: int | None = None) -> tuple[float, list[RequestRecord]]:
    """Return the zero of a run's clock [s since 1970] and its records; of the last run by default.

    Raises
    ------
    InputError
        The file or the run is not there.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            chosen = "SELECT max(run) FROM run" if run is None else "SELECT ?"
            found = base.execute(
                f"SELECT run, started_unix_s FROM run WHERE run = ({chosen})", () if run is None else (run,)
            ).fetchone()
            if found is None:
                raise InputError(f"{path} has no run {run if run is not None else 'yet'}")
            names = _COLUMNS[: _COLUMNS.index("run")]
            rows = base.execute(
                f"SELECT {', '.join(names)} FROM request WHERE run = ? ORDER BY row", (found[0],)
            )
            return found[1], [_record(dict(zip(names, row, strict=True)), i) for i, row in enumerate(rows)]
    except sqlite3.Error as fault:
        raise InputError(f"{path} is no file of records: {fault}") from None


def read_usage(path: Path) -> list[dict[str, Any]]:
    """Return requests and tokens by day, key and model."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            rows = base.execute("SELECT * FROM usage ORDER BY day, key, model")
            names = [column[0] for column in rows.description]
            return [dict(zip(names, row, strict=True)) for row in rows]
    except sqlite3.Error as fault:
        raise InputError(f"{path} is no file of records: {fault}") from None


def _record(row: dict[str, Any], number: int) -> RequestRecord:
    # Clients may use an id twice; in a run each is one of its kind.
    row["id"], row["status"] = f"{number}:{row['id']}", _STATUSES[row["status"]]
    return RequestRecord(**row)
