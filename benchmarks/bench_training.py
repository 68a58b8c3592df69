"""Pictures a second of training, its parts alone: the loader, and the step of the network.

    python benchmarks/bench_training.py --faces_dir data/images --masks_dir data/masks --hands_dir HANDS

"loader" decodes, augments and pastes hands, as train.py does, and throws the batches away; "cached", with --cache, is a
second pass over the same pictures; --megapixels draws photos instead of reading --faces_dir. "step" is train.py's: FPN
on MobileNetV2, forward, loss, backward, optimiser, moving average. "plain" is what a first script does with the same
model in segmentation_models_pytorch: float32, memory contiguous, its Dice loss, AdamW. Each way is in a process of its
own; they take turns on the same batch, and the median turn counts. "compiled", with --compile, is train.py's step
through torch.compile; its first turn is said apart.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_hands import draw_inputs
from benchmarks.machine import tell
from faceparse import images
from faceparse.commands import whole_from
from faceparse.commands.train import load_batches, read_data
from faceparse.commands.train_flags import parse_args as train_args
from faceparse.devices import choose_device, compiled, keep_freed_memory
from faceparse.distributed import ALONE
from faceparse.engine import Pass, create_average, create_optimizer, create_schedule, train_one_epoch
from faceparse.export import drawn_example
from faceparse.labels import LabelSet, label_set
from faceparse.losses import create_loss
from faceparse.models import create_model
from faceparse.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from faceparse.transforms import Preprocess

Step = Callable[[], object]

DRAWN = 24
"""Photos that --megapixels draws."""

mine: dict[str, Step] = {}
"""The step of this process: each way has one of its own."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--faces_dir", metavar="DIR", type=Path, help="pictures (default: drawn ones, and hands)")
    flag("--masks_dir", metavar="DIR", type=Path, help="their masks")
    flag("--megapixels", type=whole_from(1), metavar="N", help=f"draw {DRAWN} photos of that size instead")
    flag("--hands_dir", metavar="DIR", type=Path, help="hands to paste over two of five faces (default: none)")
    flag("--labels", default="celebamask", metavar="SET", help="what is learnt (default: %(default)s)")
    flag("--size", type=whole_from(32), default=256, metavar="PX", help="to the network (default: %(default)s)")
    flag("--batch_size", type=whole_from(2), default=8, metavar="N", help="pictures a step (default: %(default)s)")
    flag("--workers", type=whole_from(0), default=min(8, os.cpu_count() or 1), metavar="N", help="(%(default)s)")
    flag(
        "--cache", default="0", metavar="SIZE", help="also the loader with train.py's --cache (default: without alone)"
    )
    flag("--batches", type=whole_from(1), default=20, metavar="N", help="of the loader (default: %(default)s)")
    flag("--rounds", type=whole_from(1), default=7, metavar="N", help="turns of each step (default: %(default)s)")
    flag("--compile", action="store_true", help="also the step through torch.compile (default: without alone)")
    flag("--device", help="cpu, cuda ... (default: the fastest that is there)")
    args = parser.parse_args(argv)
    if (args.faces_dir is None) != (args.masks_dir is None):
        parser.error("--faces_dir and --masks_dir go together")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    device, labels = choose_device(args.device), label_set(args.labels)
    with tempfile.TemporaryDirectory() as scratch:
        if args.megapixels:
            args.faces_dir, args.masks_dir = draw_photos(Path(scratch), args.megapixels)
        elif args.faces_dir is None:
            faces = 2 * (2 * args.workers + args.batches) * args.batch_size  # some are kept for validation
            args.faces_dir, args.masks_dir, args.hands_dir = draw_inputs(Path(scratch), faces, hands=20, size=512)
        each, batch = loader_alone(args, "0", labels, device, scratch)
        rates = {"loader": 1 / each}
        if args.cache != "0":
            rates["cached"] = 1 / loader_alone(args, args.cache, labels, device, scratch)[0]
    fresh = multiprocessing.get_context("spawn")
    names = ["step", "plain"] + ["compiled"] * args.compile
    with ExitStack() as stack:
        ways = {name: stack.enter_context(ProcessPoolExecutor(1, fresh)) for name in names}
        for name, process in ways.items():
            process.submit(prepare, name, batch, len(labels), device).result()
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.rounds + 1):
            for name, process in ways.items():
                seconds[name].append(process.submit(turn).result())
    setting = f"{args.batch_size} pictures of {args.size} px, {len(labels)} classes, {args.workers} workers"
    tell(setting, smp, device=device)
    rates |= {name: args.batch_size / statistics.median(times[1:]) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:7} {rate:8.1f} pictures/s  {rate / rates['plain']:6.2f} times plain")
    if args.compile:
        print(f"the first compiled step took {seconds['compiled'][0]:.0f} s")
    return 0


def draw_photos(folder: Path, megapixels: int) -> tuple[Path, Path]:
    """The folders of the photos, 4:3 JPEGs, and of their masks, which are of two classes."""
    unit = round((megapixels * 1e6 / 12) ** 0.5)
    for number in range(DRAWN):
        picture = images.resize(drawn_example(number, 480, 640)[0], (3 * unit, 4 * unit))
        images.write_rgb(folder / f"faces/{number}.jpg", picture)
        images.write_mask(folder / f"masks/{number}.png", (picture[..., 1] > 127).astype(np.uint8))
    return folder / "faces", folder / "masks"


def loader_alone(
    args: argparse.Namespace, cache: str, labels: LabelSet, device: torch.device, scratch: str
) -> tuple[float, tuple[Tensor, Tensor]]:
    """Seconds a picture once all workers are at work, and the cache is full, and a batch."""
    flags = ["faces_dir", "masks_dir", "labels", "size", "batch_size", "workers"]
    flags += ["hands_dir"] if args.hands_dir else []
    words = [word for name in flags for word in (f"--{name}", str(getattr(args, name)))]
    training = train_args([*words, "--cache", cache, "--weights_dir", scratch])
    data = read_data(training, labels)
    preprocess = Preprocess(args.size, IMAGENET_MEAN, IMAGENET_STD)
    loader = load_batches(training, labels, preprocess, data, device, ALONE)[1]
    passes = itertools.chain.from_iterable(itertools.repeat(loader))
    ahead = 2 * args.workers + 1  # what the workers made ahead counts for nothing
    for _ in range(ahead + (len(loader) if training.cache else 0)):
        batch = next(passes)
    start = time.perf_counter()
    for _ in range(args.batches):
        batch = next(passes)
    return (time.perf_counter() - start) / (args.batches * args.batch_size), batch


def prepare(name: str, batch: tuple[Tensor, Tensor], classes: int, device: torch.device) -> None:
    """Make this process ready for its turns; only train.py's asks the C library to keep what is freed."""
    if name == "plain":
        mine["step"] = plain_step(batch, classes, device)
        return
    keep_freed_memory()
    mine["step"] = step_of_train_py(batch, classes, device, name == "compiled")


def turn() -> float:
    """Seconds of a step."""
    start = time.perf_counter()
    mine["step"]()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def step_of_train_py(
    batch: tuple[Tensor, Tensor], classes: int, device: torch.device, is_compiled: bool = False
) -> Step:
    model = create_model("fpn", "mobilenetv2_100", classes).to(device).to(memory_format=torch.channels_last)
    average, optimizer = create_average(model, 0.998), create_optimizer(model, 1e-3, 1e-3, 0.01)
    schedule, loss = create_schedule(optimizer, steps=1000, warmup=0), create_loss("ce+dice")
    trained = compiled(model) if is_compiled else model
    return lambda: list(
        train_one_epoch(trained, average, [batch], loss, optimizer, schedule, device, "auto", 1.0, Pass())
    )


def plain_step(batch: tuple[Tensor, Tensor], classes: int, device: torch.device) -> Step:
    model = smp.FPN("tu-mobilenetv2_100", encoder_weights=None, classes=classes).to(device).train()
    loss_fn, optimizer = smp.losses.DiceLoss(mode="multiclass"), torch.optim.AdamW(model.parameters(), 1e-3)

    def step() -> None:
        image, target = (values.to(device) for values in batch)
        loss = loss_fn(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(main())
