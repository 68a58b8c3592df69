"""From a folder of pictures to a folder of masks: `test.py` against plain loops over other libraries' models.

    python benchmarks/bench_inference.py                      draws its own pictures, 512x512
    python benchmarks/bench_inference.py --images_path DIR    takes real ones

A plain loop is what a first script does: one picture after the other is read (OpenCV), resized, normalised (NumPy),
asked in float32, resized back, decided, and written as PNG. "smp" is segmentation_models_pytorch's FPN on MobileNetV2
with the bundled weights; "torchvision" is deeplabv3_resnet50, of any weights. The masks of `test.py` are compared with
those of a plain loop over the model as it is stored.

The ways take turns, each does whole pictures, and the median turn counts; models are built and warm before.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse import checkpoint, images, load
from faceparse.commands import whole_from
from faceparse.commands.pictures import Outputs, segment_pictures
from faceparse.commands.places import find_places
from faceparse.export import drawn_example
from faceparse.models.states import state_from
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--images_path", type=Path, metavar="DIR", help="pictures (default: drawn ones)")
    flag("--pictures", type=whole_from(1), default=24, metavar="N", help="pictures a turn (default: %(default)s)")
    flag("--slow", type=whole_from(1), default=3, metavar="N", help="those of torchvision's (default: %(default)s)")
    flag("--size", type=whole_from(32), default=512, metavar="PX", help="to the networks (default: %(default)s)")
    flag("--rounds", type=whole_from(1), default=5, metavar="N", help="turns of each (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.images_path or drawn(Path(scratch, "pictures"), args.pictures, args.size)
        paths = images.list_images(folder)[: args.pictures]
        ours = load("face", "cpu")
        ours.preprocess = dataclasses.replace(ours.preprocess, size=args.size)
        heavy = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=2)
        out = {name: Path(scratch, name) for name in ("test.py", "smp", "torchvision")}
        ways: dict[str, tuple[int, Callable[[], None]]] = {
            "test.py": (len(paths), lambda: ask(ours, paths, out["test.py"])),
            "smp": (len(paths), plain_loop(as_smp(), ours.preprocess, paths, out["smp"])),
            "torchvision": (
                args.slow,
                plain_loop(Logits(heavy), ours.preprocess, paths[: args.slow], out["torchvision"]),
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(args.rounds + 1):
            for name, (count, work) in ways.items():
                seconds = timed(work) / count
                if turn:  # the first one warms up
                    times[name].append(seconds)
        plain_loop(checkpoint.load("face").model, ours.preprocess, paths, Path(scratch, "plain"))()
        masks = [[images.read_mask(Path(scratch, way, f"{p.stem}.png")) for p in paths] for way in ("test.py", "plain")]
        same = np.mean([(quick == plain).mean() for quick, plain in zip(*masks, strict=True)])
    tell(f"{len(paths)} pictures, {args.size} px to the networks, {args.rounds} turns", torchvision, smp)
    base = median(times["test.py"])
    for name, seconds in times.items():
        print(f"{name:12} {1000 * median(seconds):8.1f} ms a picture  {median(seconds) / base:6.2f}")
    print(f"pixels that test.py and the plain loop decide alike: {same:.4%}")
    return 0


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


def drawn(folder: Path, count: int, size: int) -> Path:
    for number in range(count):
        images.write_overlay(folder / f"{number}.jpg", drawn_example(number, size, size)[0])
    return folder


if __name__ == "__main__":
    sys.exit(main())
