"""The same work on many files, in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2

Map = Callable[..., Iterable[Any]]


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
