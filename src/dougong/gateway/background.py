"""Work off the event loop: one thread that takes what is put down, many at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_BATCH = 1_000
_LINGER_S = 0.05  # lets a batch grow; the least a reader of the file waits


class Background(Generic[T]):
    """Hands batches to ``write`` in a thread; never blocks who puts.

    Parameters
    ----------
    write
        Takes a batch; what it raises is a bug.
    capacity
        Items that may wait; more are lost and counted.
    """

    def __init__(self, name: str, write: Callable[[list[T]], None], *, capacity: int = 100_000) -> None:
        self._write, self._capacity = write, capacity
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.lost = 0

    def put(self, item: T) -> None:
        """Put an item down."""
        if self._items.qsize() >= self._capacity:
            self.lost += 1
        else:
            self._items.put(item)

    def close(self, within_s: float = 10.0) -> None:
        """Write what waits and end the thread."""
        self._items.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        pause = threading.Event()
        open_ = True
        while open_:
            batch: list[T] = []
            item = self._items.get()
            pause.wait(_LINGER_S)
            while item is not None:
                batch.append(item)
                if len(batch) >= _BATCH:
                    break
                try:
                    item = self._items.get_nowait()
                except queue.Empty:
                    break
            else:
                open_ = False
            if batch:
                self._write(batch)
