"""Commands run in processes of their own that are killed: kill -9 at any moment, or writing beyond a limit."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.killing_preload"])


def _run(main: Callable[[list[str]], int], argv: Sequence[str], said: Path | Connection, largest: int | None) -> None:
    output = said.fileno() if isinstance(said, Connection) else os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if largest is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails as it does on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.exit(main(list(argv)))


def run(main: Callable[[list[str]], int], argv: Sequence[str], said: Path, seconds: float | None = None) -> int | None:
    """The exit status of `main(argv)` in a fresh process; None where it was killed after `seconds`.

    What it says goes into the file `said`.
    """
    process = _SERVER.Process(target=_run, args=(main, argv, said, None))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def run_on_full_disk(main: Callable[[list[str]], int], argv: Sequence[str], largest: int) -> tuple[int | None, str]:
    """The exit status of `main(argv)`, which can write no file of more than `largest` bytes, and what it says."""
    reader, writer = _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(target=_run, args=(main, argv, writer, largest))
    process.start()
    writer.close()
    with open(os.dup(reader.fileno()), encoding="utf-8") as pipe:
        said = pipe.read()
    process.join()
    return process.exitcode, said
