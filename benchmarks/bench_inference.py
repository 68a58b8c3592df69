"""From a folder of pictures to a folder of masks: `test.py` against plain loops over other libraries' models.

    python benchmarks/bench_inference.py                      draws its own pictures, 512x512
    python benchmarks/bench_inference.py --images_path DIR    takes real ones
    python benchmarks/bench_inference.py --stages             where the time of a picture goes, of `test.py` alone
    python benchmarks/bench_inference.py --stages --weights_path celebamask --size 384 --megapixels 12

A plain loop is what a first script does: one picture after the other is read (OpenCV), resized, normalised (NumPy),
asked in float32, resized back, decided, and written as PNG. "smp" is segmentation_models_pytorch's FPN on MobileNetV2
with the bundled weights; "torchvision" is deeplabv3_resnet50, of any weights. The masks of `test.py` are compared with
those of a plain loop over the model as it is stored. "onnx" and "int8" are `test.py` with what `faceparse export` makes
of the weights, in float32 and in 8 bits; the ranges are learnt from the same pictures.

The ways take turns, each does whole pictures, and the median turn counts; models are built and warm before.

--stages asks for one picture after the other in one thread, with a watch on the functions that do the work: "read"
decodes, "prepare" resizes and normalises, "network" ends with the logits, "decide" makes the mask of them, "write"
encodes it; the rest is what lies between. Times are the processor's, which a busy machine changes less than
the clock's, of the median turn, stage by stage.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_growth import SIDE, drawn_photo
from benchmarks.machine import tell
from faceparse import checkpoint, images, load
from faceparse.commands import whole_from
from faceparse.commands.pictures import Outputs, segment_pictures
from faceparse.commands.places import find_places
from faceparse.export import drawn_example, export
from faceparse.models.states import state_from
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--images_path", type=Path, metavar="DIR", help="pictures (default: drawn ones)")
    flag("--pictures", type=whole_from(1), default=24, metavar="N", help="pictures a turn (default: %(default)s)")
    flag("--megapixels", type=whole_from(1), metavar="N", help="draw photos of that size (default: 512x512)")
    flag("--slow", type=whole_from(0), default=3, metavar="N", help="those of torchvision's (default: %(default)s)")
    flag("--size", type=whole_from(32), default=512, metavar="PX", help="to the networks (default: %(default)s)")
    flag("--rounds", type=whole_from(1), default=5, metavar="N", help="turns of each (default: %(default)s)")
    flag("--onnx", action="store_true", help="also the weights as an ONNX model (default: off)")
    flag("--int8", action="store_true", help="also the weights as one of 8 bits; needs --images_path (default: off)")
    flag("--stages", action="store_true", help="where the time of a picture goes instead (default: off)")
    flag("--weights_path", default="face", metavar="NAME", help="those of --stages (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.int8 and args.images_path is None:
        parser.error("--int8 learns its ranges from real pictures: name some with --images_path")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.images_path or drawn(Path(scratch, "pictures"), args.pictures, args.megapixels)
        paths = images.list_images(folder)[: args.pictures]
        work = time_stages if args.stages else compare_ways
        work(args, paths, Path(scratch))
    return 0


def compare_ways(args: argparse.Namespace, paths: list[Path], scratch: Path) -> None:
    ours = at_size("face", args.size)
    ways: dict[str, tuple[int, Callable[[], None]]] = {
        "test.py": (len(paths), lambda: ask(ours, paths, scratch / "test.py")),
        "smp": (len(paths), plain_loop(as_smp(), ours.preprocess, paths, scratch / "smp")),
    }
    if few := paths[: args.slow]:
        heavy = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=2)
        ways["torchvision"] = len(few), plain_loop(Logits(heavy), ours.preprocess, few, scratch / "torchvision")
    (scratch / "asked").mkdir()
    for path in paths:
        (scratch / "asked" / path.name).symlink_to(path.resolve())
    for name, precision in (("onnx", "float32"), ("int8", "int8")):
        if getattr(args, name):
            model, measured = export(Path("face"), "onnx", scratch / f"{name}.onnx", precision, scratch / "asked")
            print(f"{name}: {measured}")
            ways[name] = len(paths), partial(ask, at_size(model, args.size), paths, scratch / name)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(args.rounds + 1):
        for name, (count, work) in ways.items():
            seconds = timed(work) / count
            if turn:  # the first one warms up
                times[name].append(seconds)
    plain_loop(checkpoint.load("face").model, ours.preprocess, paths, scratch / "plain")()
    masks = [[images.read_mask(scratch / way / f"{p.stem}.png") for p in paths] for way in ("test.py", "plain")]
    same = np.mean([(quick == plain).mean() for quick, plain in zip(*masks, strict=True)])
    tell(f"{len(paths)} pictures, {args.size} px to the networks, {args.rounds} turns", torchvision, smp)
    base = median(times["test.py"])
    for name, each in times.items():
        print(f"{name:12} {1000 * median(each):8.1f} ms a picture  {median(each) / base:6.2f}")
    print(f"pixels that test.py and the plain loop decide alike: {same:.4%}")


def time_stages(args: argparse.Namespace, paths: list[Path], scratch: Path) -> None:
    torch.set_num_threads(1)  # as many pictures at a time
    cv2.setNumThreads(1)
    predictor = at_size(args.weights_path, args.size)
    turns = []
    for turn in range(args.rounds + 1):
        with watched(predictor) as spent:
            start = time.process_time()
            ask(predictor, paths, scratch / "masks")
            total = time.process_time() - start
        within = spent.pop("answer") - spent["prepare"] - spent["network"]
        spent["decide"] += within
        if turn:  # the first one warms up
            turns.append(spent | {"rest": total - sum(spent.values())})
    sizes = {f"{width}x{height}" for height, width in map(images.size_of, paths)}
    shown = f"{len(paths)} pictures ({', '.join(sorted(sizes)[:3])}), {args.size} px to the network"
    tell(f"{args.weights_path}, {len(predictor.labels)} classes, {shown}, {args.rounds} turns")
    each = {stage: median(turn[stage] for turn in turns) / len(paths) for stage in turns[0]}
    for stage, seconds in each.items():
        print(f"{stage:8} {1000 * seconds:8.1f} ms a picture  {seconds / sum(each.values()):6.1%}")


@contextmanager
def watched(predictor: Predictor) -> Iterator[dict[str, float]]:
    """Processor time in the functions of each stage of `test.py`; "answer" holds "prepare" and "network"."""
    functions: dict[str, tuple[object, str]] = {
        "read": (images, "read_rgb"),
        "prepare": (Preprocess, "__call__"),
        "network": (predictor.model, "forward"),
        "decide": (predictor, "decided"),
        "write": (images, "write_mask"),
        "answer": (predictor, "seen"),
    }
    spent = dict.fromkeys(functions, 0.0)

    def with_watch(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args)
            finally:
                spent[stage] += time.process_time() - start

        return watching

    with ExitStack() as stack:
        for stage, (owner, name) in functions.items():
            stack.enter_context(patch.object(owner, name, with_watch(stage, getattr(owner, name))))
        yield spent


def at_size(weights: str | Path, size: int) -> Predictor:
    predictor = load(weights, "cpu")
    predictor.preprocess = dataclasses.replace(predictor.preprocess, size=size)
    return predictor


def ask(predictor: Predictor, paths: list[Path], out: Path) -> None:
    places = find_places(list(map(str, paths)), False, out, None, ".png")
    problems = segment_pictures(places, Outputs(predictor))[1]
    assert not problems, problems


def plain_loop(model: nn.Module, preprocess: Preprocess, paths: list[Path], out: Path) -> Callable[[], None]:
    mean, std = np.array(preprocess.mean, np.float32), np.array(preprocess.std, np.float32)
    out.mkdir()
    model.eval()

    @torch.no_grad()
    def loop() -> None:
        for path in paths:
            rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            height, width = rgb.shape[:2]
            small = cv2.resize(rgb, preprocess.network_hw(height, width)[::-1], interpolation=cv2.INTER_AREA)
            pixels = (small.astype(np.float32) / 255 - mean) / std
            logits = model(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
            p = logits.softmax(dim=1)[0, 1].numpy()
            mask = (cv2.resize(p, (width, height)) > 0.5).astype(np.uint8) * 255
            cv2.imwrite(str(out / f"{path.stem}.png"), mask)

    return loop


class Logits(nn.Module):
    """torchvision's models answer with a dictionary."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        logits: Tensor = self.model(image)["out"]
        return logits


@torch.no_grad()
def as_smp() -> nn.Module:
    """smp's model with the bundled weights."""
    ours = checkpoint.load("face")
    pyramid, merged = ours.design.widths or (256, 128)
    model: nn.Module = smp.FPN(
        f"tu-{ours.design.encoder}",
        encoder_weights=None,
        decoder_pyramid_channels=pyramid,
        decoder_segmentation_channels=merged,
        classes=len(ours.labels),
    )
    state = ours.model.state_dict()
    for name, theirs in state_from("smp", ours.design.architecture, model.state_dict()).items():
        theirs.copy_(state[name])
    return model


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def drawn(folder: Path, count: int, megapixels: int | None) -> Path:
    for number in range(count):
        picture = drawn_photo(number, megapixels) if megapixels else drawn_example(number, SIDE, SIDE)[0]
        images.write_overlay(folder / f"{number}.jpg", picture)
    return folder


if __name__ == "__main__":
    sys.exit(main())
