"""Runs as JSON lines: a header, then one line per request or step.

::

    {"schema": 1, "record": "run", "started_unix_s": 1795329120.0, "by": "...", ...}
    {"record": "request", "id": "0", "arrival_s": 0.0, "sent_s": 0.0001, ...}
    {"record": "step", "start_s": 0.01, "end_s": 0.02, "prefill_tokens": 512, "decode_requests": 0}

Fields are those of the records; what is unknown is left out. The header may hold any further facts of the run. A file
may be appended to by a writer that is still at work, or was killed: a last line without its end is dropped and told.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from dougong.catalog.streams import bounded_lines
from dougong.errors import InputError
from dougong.metrics.records import RequestRecord, StepRecord

SCHEMA = 1

MAX_BYTES = 1 << 30
MAX_LINE_BYTES = 8 << 20
MAX_LINES = 4_000_000
"""A longer file, line [byte] or run [line] is refused: it would fill the memory of a laptop."""

_TICK_DIGITS = 6  # times are written to a microsecond
_SHOWN_FAULTS = 20
_TOO_MANY_FAULTS = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """A file of records.

    Attributes
    ----------
    header
        The facts of its first line.
    requests, steps
        Its records, in file order.
    source
        The file's name.
    cut_off
        Whether the last line had no end and was dropped.
    """

    header: Mapping[str, object]
    requests: tuple[RequestRecord, ...]
    steps: tuple[StepRecord, ...] = ()
    source: str = ""
    cut_off: bool = field(default=False)


def header_line(*, started_unix_s: float, by: str, **facts: object) -> str:
    """Return the first line of a file: when the clock of the run was zero [s since 1970], who writes, what else."""
    head = {"schema": SCHEMA, "record": "run", "started_unix_s": started_unix_s, "by": by}
    # Plain ASCII: a line that is cut off is still text.
    return json.dumps({**head, **facts}, allow_nan=False) + "\n"


def record_line(record: RequestRecord | StepRecord) -> str:
    """Return one record as a line; what is unknown or empty is left out, and times are told to a microsecond."""
    row: dict[str, object] = {"record": "request" if isinstance(record, RequestRecord) else "step"}
    for one in fields(record):
        value = getattr(record, one.name)
        if value is None or value in ("", ()):
            continue
        if isinstance(value, tuple):
            value = [round(time, _TICK_DIGITS) for time in cast("tuple[float, ...]", value)]
        elif isinstance(value, float):
            value = round(value, _TICK_DIGITS)
        row[one.name] = value
    return json.dumps(row, allow_nan=False) + "\n"


def write_run(path: str | Path, records: Iterable[RequestRecord | StepRecord], *, header: str) -> None:
    """Write a whole run: its header line (see :func:`header_line`), then its records."""
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(header)
        file.writelines(record_line(record) for record in records)


def read_run(path: str | Path) -> Run:
    """Read a run file, perhaps gzipped.

    Raises
    ------
    InputError
        If there is no such file, it is too large, of another schema, or has bad lines (all are named).
    """
    path = Path(path)
    faults: list[str] = []
    header: Mapping[str, object] | None = None
    requests: list[RequestRecord] = []
    steps: list[StepRecord] = []
    pending: str | None = None  # a fault of the last line so far, which may be one that was never finished
    try:
        for number, text in bounded_lines(
            path,
            max_bytes=MAX_BYTES,
            max_line_bytes=MAX_LINE_BYTES,
            max_lines=MAX_LINES,
            hint="cut it into several runs",
        ):
            if pending is not None:
                faults.append(pending)
                pending = None
            if len(faults) > _TOO_MANY_FAULTS:
                break
            try:
                row = _row(text)
            except ValueError as error:
                pending = f"line {number}: {error}"
                if header is None:
                    break
                continue
            if header is None:
                header = _header(path, row)
                continue
            try:
                record = _record(row)
            except (ValueError, InputError) as error:
                faults.append(f"line {number}: {error}")
                continue
            if isinstance(record, RequestRecord):
                requests.append(record)
            else:
                steps.append(record)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason}") from error
    if header is None:
        raise InputError(
            f"{path}: no run: {pending or 'it is empty'}", hint="dougong measure … --out RUN.jsonl"
        )
    if faults:
        more = [f"  and {len(faults) - _SHOWN_FAULTS} more"] if len(faults) > _SHOWN_FAULTS else []
        head = f"{path}: {len(faults)} bad line{'s' if len(faults) > 1 else ''} in a run:"
        raise InputError("\n".join([head, *(f"  {fault}" for fault in faults[:_SHOWN_FAULTS]), *more]))
    return Run(header, tuple(requests), tuple(steps), source=path.name, cut_off=pending is not None)


def _row(text: str) -> Mapping[str, object]:
    try:
        row: object = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("not JSON: too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from None
    if not isinstance(row, dict):
        raise ValueError(f"an object is wanted, not {_short(row)}")
    return cast("Mapping[str, object]", row)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _header(path: Path, row: Mapping[str, object]) -> Mapping[str, object]:
    if row.get("record") != "run":
        raise InputError(
            f'{path}: line 1: the header of a run is wanted: {{"schema": {SCHEMA}, "record": "run"}}'
        )
    if row.get("schema") != SCHEMA:
        raise InputError(f"{path}: line 1: schema {_short(row.get('schema'))} is not read; {SCHEMA} is")
    return row


def _record(row: Mapping[str, object]) -> RequestRecord | StepRecord:
    kind = row.get("record")
    if kind == "request":
        return RequestRecord(**cast("dict[str, Any]", _values(row, _REQUEST)))
    if kind == "step":
        return StepRecord(**cast("dict[str, Any]", _values(row, _STEP)))
    raise ValueError(f"record is {_short(kind)}; request or step is wanted")


def _values(row: Mapping[str, object], known: Mapping[str, Callable[[object], object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in row.items():
        if name == "record":
            continue
        if name not in known:
            raise ValueError(f"{_short(name)} is no field; known are {', '.join(known)}")
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    lacking = [
        name for name in ("id", "arrival_s", "start_s", "end_s") if name in known and name not in values
    ]
    lacking += [
        name for name in ("prefill_tokens", "decode_requests") if name in known and name not in values
    ]
    if lacking:
        raise ValueError(f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} wanted")
    return values


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        raise ValueError(f"a time in seconds is wanted, not {_short(value)}")
    return float(value)


def _times(value: object) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of times is wanted, not {_short(value)}")
    return tuple(_time(one) for one in cast("list[object]", value))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1 << 40:
        raise ValueError(f"a whole number is wanted, not {_short(value)}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is wanted, not {_short(value)}")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


_REQUEST: Mapping[str, Callable[[object], object]] = {
    "id": _text,
    "arrival_s": _time,
    "end_s": _time,
    "sent_s": _time,
    "first_token_s": _time,
    "last_token_s": _time,
    "token_s": _times,
    "prompt_tokens": _count,
    "output_tokens": _count,
    "cached_prompt_tokens": _count,
    "status": _text,
    "error": _text,
    "replica": _text,
}
_STEP: Mapping[str, Callable[[object], object]] = {
    "start_s": _time,
    "end_s": _time,
    "prefill_tokens": _count,
    "decode_requests": _count,
    "context_tokens": _count,
    "replica": _text,
}
