"""Train the bundled weights again, by the commands of their model card, and say how long each stage takes.

    python benchmarks/make_weights.py --data ../shared/data --out runs/weights

Runs every `python train.py` line of weights/README.md in its order, into --out, and leaves NAME.safetensors there for
each NAME of the card; a stage that begins from weights/NAME.safetensors begins from that one. OUT/data has the faces,
and the backgrounds in two parts: every fifth is kept for tests. Given again, it goes on where it stopped. `--stages`
prints the commands and trains nothing. Nothing in weights/ is replaced.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.compare import divide
from faceparse.commands import finish

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "weights" / "README.md"
BEST = "best.safetensors"

DATA, FACES, RUNS, MADE = "../shared/data", "data", "runs", "weights"
"""Where the card's commands have the shared data, the unpacked faces, the run folders, and the weights made before."""


@dataclass(frozen=True)
class Stage:
    """One training: the name of the weights that it is for, whether it is their last, its flags and its run folder."""

    weights: str
    last: bool
    flags: list[str]
    run: Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--data", metavar="DIR", type=Path, default=Path(DATA), help="the shared data (%(default)s)")
    flag("--out", metavar="DIR", type=Path, default=Path("runs/weights"), help="folder for all of it (%(default)s)")
    flag("--weights", metavar="NAME", nargs="+", help="only these, of the card's (default: all)")
    flag("--stages", action="store_true", help="print the commands, train nothing")
    return finish(make, parser.parse_args(argv))


def make(args: argparse.Namespace) -> int:
    """Unpack the faces, do every stage, and print the table; ValueError where one fails."""
    stages = stages_of(CARD.read_text(encoding="utf-8"), args.data, args.out)
    names = list(dict.fromkeys(stage.weights for stage in stages))
    unknown = [name for name in args.weights or () if name not in names]
    if unknown:
        raise ValueError(f"the card has no weights {unknown[0]!r}; choose from: {', '.join(names)}")
    chosen = [stage for stage in stages if not args.weights or stage.weights in args.weights]
    if args.stages:
        print("\n".join(shlex.join(["python", "train.py", *stage.flags]) for stage in chosen))
        return 0
    begins = {stage.flags[stage.flags.index("--init") + 1] for stage in chosen if "--init" in stage.flags}
    made = {
        os.fspath(place) for stage in chosen for place in (stage.run / BEST, args.out / f"{stage.weights}.safetensors")
    }
    missing = sorted(path for path in begins - made if not Path(path).exists())
    if missing:
        raise ValueError(f"{missing[0]}: not made yet; name its weights in --weights as well, or none for all")
    unpack(args.data / "celebamask", args.out / FACES)
    parts = (args.out / FACES / f"backgrounds_{part}" for part in ("train", "test"))
    divide(args.data / "backgrounds", *parts)
    for stage in chosen:
        train(stage.flags)
        if stage.last:
            shutil.copy(stage.run / BEST, args.out / f"{stage.weights}.safetensors")
    print(table(chosen))
    return 0


def stages_of(card: str, data: Path, out: Path) -> list[Stage]:
    """The stages of a model card's text, with the places in its commands exchanged for these."""
    places = {DATA: data, FACES: out / FACES, RUNS: out / RUNS, MADE: out}
    stages = []
    for name, section in re.findall(r"^## (\w+)\.safetensors\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL):
        commands = [shlex.split(line)[2:] for line in re.findall(r"^ +(python train\.py .*)$", section, re.MULTILINE)]
        for number, words in enumerate(commands, 1):
            flags = [_placed(word, places) for word in words]
            flags = ["--weights_dir" if word == "--runs_dir" else word for word in flags]  # a name that is known
            run = Path(flags[flags.index("--weights_dir") + 1])
            stages.append(Stage(name, number == len(commands), [*flags, "--resume"], run))
    return stages


def _placed(word: str, places: dict[str, Path]) -> str:
    """A word of a command with the place that it begins with exchanged."""
    for before, after in places.items():
        if word.startswith(f"{before}/"):
            return os.fspath(after / word.removeprefix(f"{before}/"))
    return word


def unpack(shards: Path, target: Path) -> None:
    """images/ and masks/ of all shards; each shard once, whole or not at all."""
    packed = sorted(shards.glob("shard-*.tar"))
    if not packed:
        raise ValueError(f"{shards} holds no shard-*.tar; name the shared data: --data DIR, make weights DATA=DIR")
    for shard in packed:
        done = target / f"{shard.stem}.unpacked"
        if not done.exists():
            print(f"unpacking {shard}", file=sys.stderr, flush=True)
            with tarfile.open(shard) as archive:
                archive.extractall(target, filter="data")
            done.touch()


def train(flags: list[str]) -> None:
    """Run train.py of this checkout to its end; ValueError where it fails, which it has explained on stderr."""
    print(shlex.join(["python", "train.py", *flags]), file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, os.fspath(ROOT / "train.py"), *flags], check=False)
    if done.returncode:
        raise ValueError(f"train.py ended with status {done.returncode}; mend that and give the same command again")


def table(stages: list[Stage]) -> str:
    """What each stage took and reached, as Markdown, and on which machine."""
    import torch

    lines = ["| weights | run | minutes | validation IoU |", "|---|---|---|---|"]
    for stage in stages:
        with (stage.run / "curves.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        minutes, best = sum(float(row["seconds"]) for row in rows) / 60, max(float(row["val_iou"]) for row in rows)
        lines.append(f"| {stage.weights} | {stage.run} | {minutes:.1f} | {best:.4f} |")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    return "\n".join(
        [*lines, "", f"{platform.machine()}, {os.cpu_count()} cores, {device}, torch {torch.__version__}."]
    )


if __name__ == "__main__":
    sys.exit(main())
