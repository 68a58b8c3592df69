"""Several processes against one on the same cores: `test.py` on a folder, and an epoch of `train.py`.

    python benchmarks/bench_ranks.py                     two processes against one, on drawn pictures
    python benchmarks/bench_ranks.py --processes 4 --images_path DIR --faces_dir DIR --masks_dir DIR

One process has all cores that this one may use, several, started by torchrun, share them out. Both do the whole job by
the scripts as they are; seconds are those that `test.py --json` tells and that `train.py` writes for its last epoch,
without the start of Python and the loading of weights. The ways take turns, and the median turn counts. An epoch is of
training and validation, FPN on MobileNetV2, 19 classes, the same global batch in both ways.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_growth import SIDE
from benchmarks.bench_hands import draw_inputs
from benchmarks.machine import tell
from faceparse import images
from faceparse.commands import whole_from

ROOT = Path(__file__).resolve().parents[1]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--images_path", metavar="DIR", type=Path, help="pictures for test.py (default: --faces_dir's)")
    flag("--faces_dir", metavar="DIR", type=Path, help="pictures for train.py (default: drawn ones)")
    flag("--masks_dir", metavar="DIR", type=Path, help="their masks")
    flag("--processes", type=whole_from(2), default=2, metavar="N", help="beside one (default: %(default)s)")
    flag("--pictures", type=whole_from(4), default=200, metavar="N", help="to draw (default: %(default)s)")
    flag("--size", type=whole_from(32), default=256, metavar="PX", help="of training (default: %(default)s)")
    flag("--batch_size", type=whole_from(2), default=8, metavar="N", help="of all together (default: %(default)s)")
    flag("--workers", type=whole_from(0), default=2, metavar="N", help="of all together (default: %(default)s)")
    flag("--rounds", type=whole_from(1), default=3, metavar="N", help="turns of each (default: %(default)s)")
    flag("--only", nargs="+", choices=JOBS, default=[*JOBS], metavar="JOB", help="(default: all)")
    args = parser.parse_args(argv)
    if (args.faces_dir is None) != (args.masks_dir is None):
        parser.error("--faces_dir and --masks_dir go together")
    return args


def seconds_of_masks(start: list[str], environment: dict[str, str], args: argparse.Namespace, out: Path) -> float:
    source = args.images_path or args.faces_dir
    words = ["test.py", "--images_path", str(source), "--save_path", str(out), "--device", "cpu", "--json", "--quiet"]
    told = subprocess.run([*start, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(told.stdout.splitlines()[-1])["seconds"])


def seconds_of_training(start: list[str], environment: dict[str, str], args: argparse.Namespace, out: Path) -> float:
    flags = ["faces_dir", "masks_dir", "size", "batch_size", "workers"]
    words = [word for name in flags for word in (f"--{name}", str(getattr(args, name)))]
    words += ["--labels", "celebamask", "--epochs", "2", "--device", "cpu", "--weights_dir", str(out), "--quiet"]
    subprocess.run([*start, "train.py", *words], cwd=ROOT, env=environment, check=True)
    with (out / "curves.csv").open(encoding="utf-8") as file:
        return float([*csv.DictReader(file)][-1]["seconds"])


JOBS = {"masks": seconds_of_masks, "training": seconds_of_training}


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    cores = len(os.sched_getaffinity(0))
    each = max(1, cores // args.processes)
    ways = {
        f"1 process, threads: {cores}": ([sys.executable], cores),
        f"{args.processes} processes, threads each: {each}": (
            [sys.executable, *TORCHRUN, str(args.processes)],
            each,
        ),
    }
    with tempfile.TemporaryDirectory() as scratch:
        if args.faces_dir is None:
            args.faces_dir, args.masks_dir, _ = draw_inputs(Path(scratch), args.pictures, hands=1, size=SIDE)
        counts = [len(images.list_images(folder)) for folder in (args.images_path or args.faces_dir, args.faces_dir)]
        tell(f"{counts[0]} pictures to masks; {counts[1]} to train on, {args.size} px, {args.batch_size} a step")
        for job in args.only:
            taken: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(args.rounds):
                for number, (name, (start, threads)) in enumerate(ways.items()):
                    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
                    out = Path(scratch, f"{job}-{turn}-{number}")
                    taken[name].append(JOBS[job](start, environment, args, out))
            alone = median(next(iter(taken.values())))
            for name, seconds in taken.items():
                faster = alone / median(seconds)
                print(f"{job:8} {name:32} {median(seconds):8.2f} s  {faster:5.2f} times as fast", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
