"""The same work on many files, in several processes; what comes one after the other, made ahead in threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import cv2

Map = Callable[..., Iterable[Any]]
Item = TypeVar("Item")
Made = TypeVar("Made")


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
    """One core a process; Ctrl-C is for the parent, which stops its workers, and takes them along when it is killed."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody would ever give this worker anything else to do


def ahead(
    items: Generator[Item, None, None], work: Callable[[Item], Made], threads: int = 1
) -> Generator[Made, None, None]:
    """What `work` makes of the items, in order; while the caller works on one, the next `threads`, no more, are made.

    Items are taken in one thread, and worked on in `threads` others. What either raises is raised in its turn. When
    this generator ends, fails or is closed, what is in the making is waited for, the threads ended and `items` closed.
    """
    end: Any = object()

    def made(coming: Future[Any]) -> Made:
        item = coming.result()
        return end if item is end else work(item)

    with closing(items), ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(threads) as workers:
        begun = deque(workers.submit(made, reader.submit(next, items, end)) for _ in range(threads))
        try:
            while (one := begun.popleft().result()) is not end:
                begun.append(workers.submit(made, reader.submit(next, items, end)))
                yield one
        finally:
            for unwanted in begun:
                unwanted.cancel()
