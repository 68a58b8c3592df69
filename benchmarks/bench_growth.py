"""What masks cost as the work grows: time and memory over pictures, pixels and classes. Linux only.

    python benchmarks/bench_growth.py --plot docs/growth.png

Each point is a process of its own, on drawn pictures. Its time is that of the work alone, without the start of Python
and the loading of weights; its memory is the peak over what the process held before the work.

    pictures    a folder of so many, 512x512 and 128 px to the network, from file to file as `test.py` does it
    network     one picture of so many pixels a side, the network sees all of them
    photo       one photo of so many megapixels, from file to file in 19 classes; the network sees its own size
    classes     one picture, 512x512, for an untrained network of so many classes
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse import images, load
from faceparse.commands.pictures import Outputs, segment_pictures
from faceparse.commands.places import find_places
from faceparse.export import drawn_example
from faceparse.labels import LabelSet
from faceparse.models import create_model
from faceparse.predictor import Predictor

SIDE = 512
DIFFERENT = 20
"""Drawn pictures in a folder; the others are links to them."""

FLOOR = {"seconds": 0.02, "MB": 1.0}
"""Where the scales of the plot begin; all are of four powers of ten."""

Work = Callable[[], object]


def of_pictures(count: int, folder: Path) -> Work:
    predictor = load("face", "cpu")
    predictor.preprocess = dataclasses.replace(predictor.preprocess, size=128)
    pictures = folder / "pictures"
    for number in range(count):
        path = pictures / f"{number}.jpg"
        if number < DIFFERENT:
            images.write_overlay(path, drawn_example(number, SIDE, SIDE)[0])
        else:
            path.hardlink_to(pictures / f"{number % DIFFERENT}.jpg")
    places = find_places([str(pictures)], False, folder / "masks", None, ".png")
    return lambda: segment_pictures(places, Outputs(predictor))


def of_network(side: int, folder: Path) -> Work:
    predictor = load("face", "cpu")
    predictor.preprocess = dataclasses.replace(predictor.preprocess, size=side)
    picture = drawn_example(0, side, side)[0]
    return lambda: predictor(picture)


def of_photo(megapixels: int, folder: Path) -> Work:
    predictor = load("celebamask", "cpu")
    images.write_overlay(folder / "photo.jpg", drawn_photo(0, megapixels))
    places = find_places([str(folder / "photo.jpg")], False, folder / "masks", None, ".png")
    return lambda: segment_pictures(places, Outputs(predictor))


def drawn_photo(seed: int, megapixels: int) -> np.ndarray:
    """Shapes at 4:3, uint8 (H, W, 3) RGB."""
    unit = round((megapixels * 1e6 / 12) ** 0.5)
    return images.resize(drawn_example(seed, SIDE, SIDE)[0], (3 * unit, 4 * unit))


def of_classes(count: int, folder: Path) -> Work:
    grey = ((128, 128, 128),) * count
    labels = LabelSet("drawn", ("background", *(f"class {k}" for k in range(1, count))), grey)
    network = create_model("fpn", "mobilenetv2_100", count)
    predictor = Predictor(network, labels, load("face", "cpu").preprocess, "cpu")
    picture = drawn_example(0, SIDE, SIDE)[0]
    return lambda: predictor(picture)


AXES: dict[str, tuple[Callable[[int, Path], Work], tuple[int, ...], str]] = {
    "pictures": (of_pictures, (10, 100, 1000, 10000), "pictures"),
    "network": (of_network, (128, 256, 512, 1024, 2048, 4096), "side, pixels"),
    "photo": (of_photo, (1, 3, 12, 48, 108), "megapixels"),
    "classes": (of_classes, (2, 5, 19, 50, 150), "classes"),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=AXES, default=[*AXES], metavar="AXIS", help="(default: all)")
    parser.add_argument("--most", type=int, metavar="N", help="largest value of any axis (default: no limit)")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="picture of the curves (default: none)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    tell(f"drawn pictures, a process for each point, {', '.join(args.only)} up to {args.most or 'the end'}")
    curves: dict[str, list[tuple[int, float, float]]] = {}
    fresh = multiprocessing.get_context("spawn")
    for axis in args.only:
        _, values, unit = AXES[axis]
        print(f"\n| {unit} | seconds | MB |\n|---|---|---|")
        for value in values:
            if args.most is None or value <= args.most:
                with ProcessPoolExecutor(1, fresh) as alone:
                    seconds, megabytes = alone.submit(measured, axis, value).result()
                curves.setdefault(axis, []).append((value, seconds, megabytes))
                print(f"| {value} | {seconds:.3g} | {megabytes:.0f} |", flush=True)
    if args.plot:
        draw(curves, args.plot)
    return 0


def measured(axis: str, value: int) -> tuple[float, float]:
    """Seconds and MB that the work of one point takes in this process, once it is warm."""
    with tempfile.TemporaryDirectory() as scratch:
        work = AXES[axis][0](value, Path(scratch))
        load("face", "cpu")(np.zeros((64, 64, 3), np.uint8))  # what any first answer needs
        forget_peak()
        before, start = peak(), time.perf_counter()
        work()
        return time.perf_counter() - start, max(0.0, peak() - before)


def peak() -> float:
    """MB of memory that this process has held at most since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def forget_peak() -> None:
    """Begin the peak anew, with what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def draw(curves: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """A panel for each axis, all scales logarithmic: seconds at the left, MB at the right."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(curves), figsize=(4 * len(curves), 3.4), squeeze=False)
    for (axis, points), panel in zip(curves.items(), panels[0], strict=True):
        values, seconds, megabytes = zip(*points, strict=True)
        right = panel.twinx()
        for side, numbers, style, name in ((panel, seconds, "o-", "seconds"), (right, megabytes, "s--", "MB")):
            colour = "tab:blue" if side is panel else "tab:red"
            side.loglog(values, [max(FLOOR[name], number) for number in numbers], style, color=colour)
            side.set_ylabel(name, color=colour)
            side.set_ylim(FLOOR[name], 1e4 * FLOOR[name])
            side.set_xticks(values, [f"{value:,}" for value in values], minor=False)
            side.set_xticks([], minor=True)
        panel.set(title=axis, xlabel=AXES[axis][2])
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    sys.exit(main())
