"""Reads request traces: mean lengths, mean rate and prefix reuse of what a service was really asked.

Five shapes are known by their keys or columns, each gzipped or not:

- Mooncake: JSON lines ``timestamp`` [ms], ``input_length``, ``output_length``, ``hash_ids`` (512 tokens);
- Azure: CSV ``TIMESTAMP`` (date and time), ``ContextTokens``, ``GeneratedTokens``;
- LLMServingSim: JSON lines ``arrival_time_ns`` or ``arrival_time`` [s], ``input_toks``, ``output_toks``;
- our own: JSON lines ``arrival_s``, ``prompt_tokens``, ``output_tokens``;
- lengths alone: CSV ``num_prefill_tokens``, ``num_decode_tokens``.

A trace is a stranger's file: what is read is bounded, and every bad row is told with its line.

References
----------
Mooncake traces: Qin et al., "Mooncake", FAST 2025, section 4.
Azure traces: Patel et al., "Splitwise", ISCA 2024.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from dougong.catalog.streams import bounded_lines
from dougong.errors import InputError
from dougong.workload.shapes import Workload

MAX_BYTES = 256 << 20
"""A longer trace, unpacked, is refused [byte]."""

MAX_LINE_BYTES = 4 << 20
"""A longer line is a fault [byte]; a prompt of a million tokens has 2,000 prefix blocks."""

MAX_TOKENS = 10_000_000
"""A longer prompt or answer is a fault [token]."""

BLOCK_TOKENS = 512
"""Tokens of one Mooncake prefix block [token]."""

MAX_ROWS = 2_000_000
MAX_BLOCKS = 4_000_000
"""More lines, or more prefix blocks in all, are refused: they would fill the memory of a laptop."""

_PART = "plan on a part of it"
_SHOWN_FAULTS = 20
_TOO_MANY_FAULTS = 1_000


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one kind of trace names what is wanted, and what its clock counts [s]."""

    prompt: str
    output: str
    arrival: str | None = None
    tick_s: float = 1.0
    blocks: str | None = None


_JSON_SHAPES = (
    _Shape("input_length", "output_length", "timestamp", 1e-3, "hash_ids"),
    _Shape("input_toks", "output_toks", "arrival_time_ns", 1e-9),
    _Shape("input_toks", "output_toks", "arrival_time"),
    _Shape("prompt_tokens", "output_tokens", "arrival_s"),
)
_CSV_SHAPES = (
    _Shape("ContextTokens", "GeneratedTokens", "TIMESTAMP"),
    _Shape("num_prefill_tokens", "num_decode_tokens"),
)
_LEGAL = "; ".join(
    ", ".join(filter(None, (shape.arrival, shape.prompt, shape.output)))
    for shape in (*_JSON_SHAPES, *_CSV_SHAPES)
)


class _NoShape(Exception):
    """The first row has none of the known names."""


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a trace.

    Attributes
    ----------
    arrival_s
        When it came, on the trace's own clock [s]; None where the trace has none.
    prompt_tokens, output_tokens
        Lengths [token].
    blocks
        Ids of its prefix blocks, first to last; equal ids are equal prefixes.
    """

    arrival_s: float | None
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


def read_trace(path: str | Path) -> Workload:
    """Read a trace file and return its mean request.

    Parameters
    ----------
    path
        A trace in one of the shapes above, perhaps gzipped.

    Returns
    -------
    Workload
        Mean lengths [token], mean rate [request/s] where the rows carry times, and the share of prompt tokens
        that a cache without limits would have found.

    Raises
    ------
    InputError
        If there is no such file, it is too large, of no known shape, or has bad rows (all are named).
    """
    path = Path(path)
    requests = read_requests(path)
    count = len(requests)
    return Workload(
        prompt_tokens=sum(request.prompt_tokens for request in requests) / count,
        output_tokens=max(sum(request.output_tokens for request in requests) / count, 1.0),
        prefix_hit_frac=prefix_hits(requests),
        rate_requests_per_s=mean_rate(requests),
        source=path.name,
        totals=tuple(sorted((one.prompt_tokens + one.output_tokens for one in requests), reverse=True)),
    )


def mean_rate(requests: Sequence[Request]) -> float | None:
    """Mean arrival rate [request/s]; None without times, or where all come at once.

    Notes
    -----
    ``(n - 1) / (last - first)``: n arrivals bound n - 1 gaps.
    """
    times = [request.arrival_s for request in requests if request.arrival_s is not None]
    if len(times) < 2 or len(times) < len(requests) or max(times) <= min(times):
        return None
    return (len(times) - 1) / (max(times) - min(times))


def prefix_hits(requests: Sequence[Request]) -> float:
    """Share of prompt tokens that an unbounded prefix cache would have found [1].

    Notes
    -----
    Blocks count as found from the first one on, up to the first that no earlier request had. The last token
    of a prompt is always computed.
    """
    seen: set[int] = set()
    found = 0
    for request in requests:
        known = next(
            (at for at, block in enumerate(request.blocks) if block not in seen), len(request.blocks)
        )
        found += min(known * BLOCK_TOKENS, request.prompt_tokens - 1)
        seen.update(request.blocks)
    return found / sum(request.prompt_tokens for request in requests)


def read_requests(path: Path) -> list[Request]:
    """Every row of a trace, in file order; see :func:`read_trace` for what is raised."""
    faults: list[str] = []
    requests: list[Request] = []
    blocks = 0
    try:
        lines = bounded_lines(
            path, max_bytes=MAX_BYTES, max_line_bytes=MAX_LINE_BYTES, max_lines=MAX_ROWS, hint=_PART
        )
        head = next(lines, (0, ""))
        rows = _json_rows(head, lines, faults) if head[1].lstrip().startswith("{") else _csv_rows(head, lines)
        for number, row, shape in rows:
            request = _request(row, shape, number, faults)
            if request is not None:
                requests.append(request)
                blocks += len(request.blocks)
            if blocks > MAX_BLOCKS:
                raise _too_long(path, number)
            if len(faults) > _TOO_MANY_FAULTS:
                break
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason}") from error
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}") from error
    except _NoShape as error:
        raise InputError(f"{path}: a trace of no known shape: {error}", hint=f"known: {_LEGAL}") from None
    if faults:
        more = [f"  and {len(faults) - _SHOWN_FAULTS} more"] if len(faults) > _SHOWN_FAULTS else []
        head_line = f"{path}: {len(faults)} bad row{'s' if len(faults) > 1 else ''} in a trace:"
        raise InputError("\n".join([head_line, *(f"  {fault}" for fault in faults[:_SHOWN_FAULTS]), *more]))
    if not requests:
        raise InputError(f"{path}: a trace without a request")
    return requests


def _too_long(path: Path, number: int) -> InputError:
    return InputError(f"{path}: line {number}: too long a trace", hint=_PART)


def _json_rows(
    head: tuple[int, str], lines: Iterator[tuple[int, str]], faults: list[str]
) -> Iterator[tuple[int, Mapping[str, object], _Shape]]:
    shape: _Shape | None = None
    for number, text in _chain(head, lines):
        try:
            row: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            faults.append(f"line {number}: not JSON: {str(error)[:80]}")
            continue
        if not isinstance(row, dict):
            faults.append(f"line {number}: an object is wanted, not {type(row).__name__}")
            continue
        fields = cast("dict[str, object]", row)
        shape = shape or _shape(fields, _JSON_SHAPES)
        yield number, fields, shape


def _csv_rows(
    head: tuple[int, str], lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, Mapping[str, object], _Shape]]:
    names = [name.strip() for name in next(csv.reader([head[1]]), list[str]())]
    shape = _shape(dict.fromkeys(names), _CSV_SHAPES)
    for number, text in lines:
        yield number, dict(zip(names, next(csv.reader([text])), strict=False)), shape


def _chain(head: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield head
    yield from lines


def _shape(fields: Mapping[str, object], shapes: Sequence[_Shape]) -> _Shape:
    fitting = [shape for shape in shapes if shape.prompt in fields and shape.output in fields]
    if fitting:  # of two that differ by their clock, the one that is there
        return next((shape for shape in fitting if shape.arrival in fields), fitting[0])
    found = ", ".join(_short(name) for name in list(fields)[:8]) or "nothing"
    raise _NoShape(f"it has {found}")


def _request(row: Mapping[str, object], shape: _Shape, number: int, faults: list[str]) -> Request | None:
    try:
        prompt = _tokens(row, shape.prompt, least=1)
        output = _tokens(row, shape.output, least=0)
        arrival = _arrival(row, shape)
        blocks = _blocks(row.get(shape.blocks)) if shape.blocks else ()
    except ValueError as error:
        faults.append(f"line {number}: {error}")
        return None
    return Request(arrival, prompt, output, blocks)


def _tokens(row: Mapping[str, object], key: str, *, least: int) -> int:
    value = row.get(key)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_TOKENS:
        raise ValueError(f"{key}: a whole number from {least} to {MAX_TOKENS} is wanted, not {_short(value)}")
    return value


def _arrival(row: Mapping[str, object], shape: _Shape) -> float | None:
    if shape.arrival is None or shape.arrival not in row:
        return None
    value = row[shape.arrival]
    if isinstance(value, str):
        try:
            # Azure prints seven digits of a second; a datetime holds six.
            return datetime.fromisoformat(value.strip()[:26]).replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"{shape.arrival}: a date and time is wanted, not {_short(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e30 < value < 1e30:
        raise ValueError(f"{shape.arrival}: a finite number is wanted, not {_short(value)}")
    return float(value) * shape.tick_s


def _blocks(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"hash_ids: a list is wanted, not {_short(value)}")
    for block in cast("list[object]", value):
        if not isinstance(block, int):
            raise ValueError(f"hash_ids: whole numbers are wanted, not {_short(block)}")
    return tuple(cast("list[int]", value))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
