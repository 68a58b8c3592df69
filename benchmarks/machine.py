"""What a figure depends on, said by every benchmark in the same words before the figures."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch

from faceparse.devices import has_fast_bf16

CALLED = {"cv2": "OpenCV", "PIL": "Pillow", "av": "PyAV", "segmentation_models_pytorch": "smp"}
"""What a library is known as, where that is not what is imported."""


def tell(setting: str, *libraries: ModuleType, device: str | torch.device = "cpu") -> None:
    """Print the machine, the versions of Python, torch, NumPy, OpenCV and `libraries`, and what is about to be done."""
    device = torch.device(device)
    bf16 = "with" if has_fast_bf16(device) else "without"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    versions = [f"{CALLED.get(it.__name__, it.__name__)} {it.__version__}" for it in (torch, np, cv2, *libraries)]
    print(f"{where} {bf16} bf16, {threads}; Python {platform.python_version()}, {', '.join(versions)}")
    print(setting, flush=True)


def cpu_name() -> str:
    """What the system calls the CPU, its kind, and the widest instructions that torch was built for and finds there."""
    listed = Path("/proc/cpuinfo")  # Linux alone has it, and not on every kind of CPU the name in it
    lines = listed.read_text().splitlines() if listed.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "CPU"
    return f"{name} ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
