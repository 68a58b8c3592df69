"""Which device computes, and in which precision it does so fastest."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import nn


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name, or the best one there is. Raises ValueError for a device that is not there."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without the device
        raise ValueError(
            f"device {name!r} can't be used here ({str(error).splitlines()[0]}); leave it out or say cpu"
        ) from error


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively: elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager[object]:
    """Mixed precision for the device: "bf16", "fp32", or "auto", bf16 where the device is fast at it."""
    wanted = has_fast_bf16(device) if precision == "auto" else precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def compiled(model: nn.Module) -> nn.Module:
    """`model`, sharing its parameters, as torch.compile writes it anew at the first batch, which takes minutes.

    Raises ValueError where the C++ compiler that this needs is not installed.
    """
    compiler, *_ = shlex.split(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))
    if shutil.which(compiler) is None:
        raise ValueError(
            f"--compile needs a C++ compiler, and there is no {compiler}; install it or leave --compile out"
        )
    return cast(nn.Module, torch.compile(model))


MOST_AT_ONCE = 8
"""Pictures or frames that are answered at a time, at most: one thread takes what is done."""

_one_thread_each = threading.Lock()
_within, _threads = 0, 1  # how many are within one_thread_each, and what torch had before the first of them


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Within, torch computes with one thread for each thread that calls it; gives how many it had before.

    As many pictures at a time as there are cores are faster than all cores on one picture after the other: a small
    network has too little to share out. A video on two cores goes from 16 to 29 frames/s.
    """
    global _within, _threads
    with _one_thread_each:
        _threads = _threads if _within else torch.get_num_threads()
        _within += 1
        torch.set_num_threads(1)
    try:
        yield _threads
    finally:
        with _one_thread_each:
            _within -= 1
            torch.set_num_threads(1 if _within else _threads)


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that were freed, for the next training step, instead of returning them page by page.

    A step on a CPU asks for the same gigabytes again and again: with fresh pages each time it took 1.6 times as long
    (FPN on MobileNetV2, 384 px, a virtual machine). Where the C library is another one, nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in _MALLOPT.values():
        mallopt(option, value)


_MALLOPT = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 1 << 28)}
"""Name -> number in malloc.h and value: no block by mmap, never return the top of the heap, grow it by 256 MB."""
