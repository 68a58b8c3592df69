"""The same work on many files, in several processes; two kinds of work on one file, in two threads."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2

Map = Callable[..., Iterable[Any]]
Item = TypeVar("Item")


@contextmanager
def worker_map(workers: int) -> Iterator[Map]:
    """A `map(function, items, chunksize=1)` that keeps the order and runs in `workers` processes (1: in this one)."""
    if workers == 1:
        yield lambda function, items, chunksize=1: map(function, items)
        return
    fresh = multiprocessing.get_context("spawn")  # a fork would inherit OpenCV's threads, and their locks
    with ProcessPoolExecutor(workers, fresh, initializer=_settle) as pool:
        yield pool.map


def _settle() -> None:
    """One core a process; Ctrl-C is for the parent, which stops its workers."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The items in order; the next one, and no other, is made in a thread while the caller works on this one.

    What they raise is raised in its turn. When this generator ends, fails or is closed, the item in the making is
    waited for, the thread ended and `items` closed.
    """
    end: Any = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, items, end)
        try:
            while (item := coming.result()) is not end:
                coming = thread.submit(next, items, end)
                yield item
        finally:
            thread.submit(items.close)
