"""preprocess_data.py against plain single-threaded Pillow loops over all parts of the same pictures.

"as published" reads a part as the scripts that circulate for this data do, `convert("P")`; "lean" saves that.

python benchmarks/bench_preprocess.py                       draws its own parts, 512 px
python benchmarks/bench_preprocess.py --masks_parts DIR     takes real ones, in the published layout
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import PIL
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse.commands import whole_from
from faceparse.data.celebamask import find_parts
from faceparse.labels import CELEBAMASK, PAINT_ORDER

SCRIPT = Path(__file__).resolve().parents[1] / "preprocess_data.py"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--masks_parts", type=Path, metavar="DIR", help="real parts, published layout (default: drawn ones)")
    flag("--loops", type=whole_from(1), default=60, metavar="N", help="pictures for the loops (default: %(default)s)")
    flag("--pictures", type=whole_from(1), default=600, metavar="N", help="pictures to draw (default: %(default)s)")
    flag(
        "--workers",
        type=whole_from(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: %(default)s)",
    )
    flag(
        "--rounds",
        type=whole_from(1),
        default=3,
        metavar="N",
        help="turns of each (default: %(default)s)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        parts = args.masks_parts or draw_parts(Path(scratch, "parts"), args.pictures)
        pictures, plain, ours = find_parts(parts), Path(scratch, "plain"), Path(scratch, "ours")
        plain.mkdir()
        few = dict(list(pictures.items())[: args.loops])
        jobs: dict[str, tuple[int, Callable[[], None]]] = {
            "Pillow loop, as published": (len(few), lambda: pillow_loop(few, plain, "P")),
            "Pillow loop, lean": (len(few), lambda: pillow_loop(few, plain, "L")),
            "preprocess_data.py": (len(pictures), lambda: preprocess(parts, ours, args.workers)),
        }
        runs = {name: [timed(work) / count * 1000 for _ in range(args.rounds)] for name, (count, work) in jobs.items()}
        different = [n for n in few if not np.array_equal(*(Image.open(d / f"{n}.png") for d in (plain, ours)))]
    report({name: median(times) for name, times in runs.items()}, len(pictures), args.workers)
    print(f"masks that differ: {len(different)} of {len(few)}")
    return 1 if different else 0


def pillow_loop(pictures: dict[int, list[Path]], masks_dir: Path, mode: str) -> None:
    """What a first script does: try the file of every part, paint it over the others, save."""
    for number, paths in pictures.items():
        mask = None
        for part in PAINT_ORDER:
            path = paths[0].with_name(f"{paths[0].stem.partition('_')[0]}_{part}.png")
            if path.exists():
                where = np.array(Image.open(path).convert(mode)) > 0
                mask = np.zeros(where.shape, np.uint8) if mask is None else mask
                mask[where] = CELEBAMASK.id(part)
        assert mask is not None
        Image.fromarray(mask).save(masks_dir / f"{number}.png")


def preprocess(parts: Path, masks_dir: Path, workers: int) -> None:
    """The whole command, from the start of Python on."""
    flags = {"masks_parts": parts, "output_mask": masks_dir, "labels": CELEBAMASK.name, "workers": workers}
    command = [sys.executable, os.fspath(SCRIPT), "--overwrite"]
    for flag, value in flags.items():
        command += [f"--{flag}", str(value)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def draw_parts(root: Path, count: int, size: int = 512) -> Path:
    """Twelve ellipses a picture as RGB files of 0 and 255, as many and as large as in the published data."""
    rng = np.random.default_rng(0)
    for number in range(count):
        folder = root / str(number // 2000)
        folder.mkdir(parents=True, exist_ok=True)
        for part in rng.choice(PAINT_ORDER, 12, replace=False):
            picture = np.zeros((size, size, 3), np.uint8)
            centre, axes = rng.integers(size // 4, 3 * size // 4, 2), rng.integers(8, size // 4, 2)
            cv2.ellipse(picture, centre.tolist(), axes.tolist(), 0, 0, 360, (255, 255, 255), -1)
            Image.fromarray(picture).save(folder / f"{number:05d}_{part}.png")
    return root


def report(ms: dict[str, float], pictures: int, workers: int) -> None:
    tell(f"{pictures} pictures, {workers} workers\n", PIL)
    ours = ms["preprocess_data.py"]
    print("| | ms/picture | preprocess_data.py is |\n|---|---|---|")
    for name, value in ms.items():
        print(f"| {name} | {value:.1f} | {value / ours:.1f} times as fast |")


if __name__ == "__main__":
    sys.exit(main())
