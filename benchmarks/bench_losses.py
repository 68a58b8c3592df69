"""What each loss costs, as a share of a training step on a CPU.

    python benchmarks/bench_losses.py --size 256 --batch_size 8

A step is the default model with 19 classes, forward and backward, and the optimiser, as train.py does it. Timed is the
loss alone, of logits that are there, with its gradient; steps and losses take turns, and the median of each counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse.devices import keep_freed_memory
from faceparse.engine import Pass, create_average, create_optimizer, create_schedule, train_one_epoch
from faceparse.labels import CELEBAMASK
from faceparse.losses import LOSSES, create_loss
from faceparse.models import create_model

SUMS = ("ce+dice", "ce+dice+0.5*lovasz")
PATCH = 16
"""Side, in pixels, of the squares of one class that the drawn truth is made of."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, pixels (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=8, help="pictures a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each is measured (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    keep_freed_memory()
    generator, cpu = torch.Generator().manual_seed(0), torch.device("cpu")
    hw, classes = (args.size, args.size), len(CELEBAMASK)
    image = torch.randn(args.batch_size, 3, *hw, generator=generator)
    patches = torch.randint(classes, (args.batch_size, args.size // PATCH + 1, args.size // PATCH + 1))
    target = patches.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, : args.size, : args.size].contiguous()
    model = create_model("fpn", "mobilenetv2_100", classes).to(memory_format=torch.channels_last)
    average, optimizer = create_average(model, 0.998), create_optimizer(model, 1e-3, 1e-3, 0.01)
    schedule = create_schedule(optimizer, steps=1000, warmup=0)
    with torch.no_grad():
        logits = model(image)

    def step() -> None:
        batches, loss = [(image, target)], create_loss("ce")
        list(train_one_epoch(model, average, batches, loss, optimizer, schedule, cpu, "auto", 1.0, Pass()))

    def alone(name: str) -> Callable[[], None]:
        loss = create_loss(name)
        return lambda: loss(logits.clone().requires_grad_(), target).backward()

    parts = {"step": step, **{name: alone(name) for name in (*LOSSES, *SUMS)}}
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(args.rounds + 1):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first one warms up
    without = median["step"] - median["ce"]
    tell(f"{args.batch_size} pictures of {args.size} px, {classes} classes")
    print(f"all else of a step: {without * 1e3:.0f} ms")
    for name in (*LOSSES, *SUMS):
        print(f"{name:20} {median[name] * 1e3:7.1f} ms  {median[name] / (without + median[name]):6.1%} of a step")


if __name__ == "__main__":
    main()
