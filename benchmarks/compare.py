"""Train several models in the same way, score them on the same held-out pictures, and put them into one table.

    python benchmarks/compare.py models --faces_dir data/images --masks_dir data/masks --split SPLIT.csv \\
        --encoders_dir ENCODERS --out runs/compare

`COMPARISONS` below says what is compared; benchmarks/README.md has a command and the published table for each. A row is
train.py, then test.py on the False rows of the split. Rows that are finished are kept and one that was interrupted goes
on after its last epoch, so the same command may be given again. Writes OUT/COMPARISON/table.md and table.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import faceparse
from benchmarks import held_out
from faceparse import images
from faceparse.commands import finish, whole_from
from faceparse.commands.train_flags import share
from faceparse.data.splits import read_split, write_split
from faceparse.labels import CELEBAMASK

ROOT = Path(__file__).resolve().parents[1]

TRAINING = "--faces_dir {faces_dir} --masks_dir {masks_dir} --split {split}"
HELD_OUT = "--images_path {faces_dir} --masks_path {masks_dir} --split {split}"
"""test.py's flags for the False rows of --split."""

BACKGROUNDS_FOR_TESTS = 5
"""Every fifth background is kept out of training, for scenes to score on."""


@dataclass(frozen=True)
class Comparison:
    """What is trained and scored, as flags with {names}: this script's own flags (of the folders that not everybody
    has, those in `needs`), and {held_out}, {backgrounds_train} and {backgrounds_test}, which are made below --out.

    `shared` and `rows` are flags of train.py; a file of --encoders_dir that belongs to a row's encoder is added.
    {rows} is the folder of the rows, for one that needs another's weights. `stages` of a row: (d, f) for each, one
    going on from the other: a d-th of the epochs at f times the size; the sum of f² / d is about 1, so that the row has
    about as many multiply-adds as the others. `asked` are rows that train nothing: flags of test.py for the first row's
    weights.

    `layout` are flags of held_out.py, which makes {held_out} (empty: not needed); `tests` are flags of test.py. The
    table shows `measure` of the foreground classes `heads`, or, with several tests, of the only one in each test; or
    `columns`, head -> test, class and measure. `called_face` of a test is the share of the hands that is called face.
    """

    about: str
    shared: str
    rows: dict[str, str]
    size: int
    epochs: int
    tests: dict[str, str]
    measure: str
    heads: tuple[str, ...] = ()
    published: dict[str, tuple[float, ...]] = field(default_factory=dict)
    layout: str = ""
    needs: tuple[str, ...] = ()
    batch_size: int = 16
    columns: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    called_face: str = ""
    stages: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    loss: bool = False
    """Also show the binary cross entropy of the held-out pictures, see `soft_loss`."""

    @property
    def heads_of_scores(self) -> list[str]:
        """What the table's columns of scores are called."""
        named = [*(self.columns or self.heads or self.tests)]
        return named + ["cross entropy"] * self.loss + ["hand called face"] * bool(self.called_face)


def grid(architectures: Sequence[str], encoders: Sequence[str]) -> dict[str, str]:
    """A row for each architecture on each encoder."""
    return {f"{arch}-{encoder}": f"--arch {arch} --encoder {encoder}" for arch in architectures for encoder in encoders}


def with_mean(scores: Sequence[float]) -> tuple[float, ...]:
    """Scores of the classes, and their mean."""
    return (*scores, sum(scores) / len(scores))


PARTS = (*CELEBAMASK.classes[1:], "mean")

# skin nose eye_g, eyes, brows, ears, mouth, lips, hair hat ear_r neck_l neck cloth: in the order of the ids
PUBLISHED = {
    "published: FPN + MobileNetV2, 1250 pictures": with_mean(
        (
            *(0.924, 0.883, 0.757, 0.839, 0.835, 0.794, 0.783, 0.777, 0.775),
            *(0.848, 0.827, 0.846, 0.892, 0.504, 0.54, 0.151, 0.828, 0.744),
        )
    )
}

COVERING = "--rectangle_ratio 0.3"
WILD = {
    "hands": "--hands_dir {hands_dir} --hand_ratio 0.4",
    "shapes": "--shape_ratio 0.3",
    "rectangles": COVERING,
    "backgrounds": "--backgrounds_dir {backgrounds_train} --background_ratio 0.3",
}

SMALL_NET = "--encoder mobilenetv2_100"
TEACHERS = " ".join(f"{{rows}}/{row}/best.safetensors" for row in ("efficientnet-lite2", "lovasz", "rare"))

CLEAN = "--images_path {held_out}/faces --masks_path {held_out}/masks"
BEHIND = "--images_path {{held_out}}/objects/{0}/images --masks_path {{held_out}}/objects/{0}/masks"
SPOILED = "--images_path {{held_out}}/spoiled/{0}/images --masks_path {{held_out}}/spoiled/{0}/masks"
BEHIND_HANDS = "--images_path {held_out}/fahand --masks_path {held_out}/mahand"

COMPARISONS = {
    "models": Comparison(
        "Dice of each class, pooled over the held-out pictures",
        shared="--loss dice --labels celebamask",
        rows=grid(("unet", "pspnet", "fpn", "pan", "deeplabv3plus"), ("resnet34", "mobilenetv2_100")),
        size=192,
        epochs=8,
        tests={"clean": HELD_OUT},
        measure="dice",
        heads=PARTS,
        published=PUBLISHED,
    ),
    "hair": Comparison(
        "Dice of hair, pooled over the held-out pictures",
        shared="--labels hair --encoder mobilenetv2_100",
        rows={"unet": "--arch unet", "linknet": "--arch linknet"},
        size=128,
        epochs=10,
        tests={"clean": HELD_OUT},
        measure="dice",
        heads=("hair",),
    ),
    "occlusion": Comparison(
        "Face IoU against masks with the glasses carved out, pooled: all held-out pictures, those with glasses, and "
        "all behind a rectangle",
        shared="--arch deeplabv3 --encoder resnet50 --output_stride 16",
        rows={
            "plain": "--labels face_with_glasses",
            "covering": f"--labels face_with_glasses {COVERING}",
            "carving": "--labels face",
            "covering-carving": f"--labels face {COVERING}",
        },
        size=128,
        epochs=6,
        layout="--covered",
        tests={
            "clean": "--images_path {held_out}/faces --masks_path {held_out}/maface",
            "glasses": "--images_path {held_out}/glasses --masks_path {held_out}/maglasses",
            "covered": "--images_path {held_out}/covered --masks_path {held_out}/macovered",
        },
        measure="iou",
    ),
    "wild": Comparison(
        "Face IoU, pooled: held-out pictures, the same behind held-out hands, and small on held-out backgrounds",
        shared="--labels face --arch fpn --encoder mobilenetv2_100",
        rows={"base": "", **WILD, "all": " ".join(WILD.values())},
        size=192,
        epochs=8,
        layout="--hands_dir {hands_dir} --backgrounds_dir {backgrounds_test}",
        needs=("hands_dir", "backgrounds_dir"),
        tests={
            "clean": CLEAN,
            "hands": BEHIND_HANDS,
            "scenes": "--images_path {held_out}/scene --masks_path {held_out}/mascene",
        },
        measure="iou",
    ),
    "ablation": Comparison(
        "One change a row, pooled: Dice on clean held-out faces, IoU there, behind held-out hands, drawn cups and "
        "microphones, and small on held-out backgrounds; each row on the base's encoder has the multiply-adds of its "
        "training, teachers' not counted",
        shared="--labels celebamask --arch fpn --widths 128 64",
        rows={
            "base": SMALL_NET,
            "efficientnet-lite2": "--encoder tf_efficientnet_lite2",
            "double-size": SMALL_NET,
            "progressive-size": SMALL_NET,
            "three-sizes": SMALL_NET,
            "lovasz": f"{SMALL_NET} --loss ce+dice+0.5*lovasz",
            "no-ema": f"{SMALL_NET} --ema 0",
            "rare": f"{SMALL_NET} --rare 0.5",
            "other-seed": f"{SMALL_NET} --seed 1",
            **{name: f"{SMALL_NET} {flags}" for name, flags in WILD.items()},
            "hands-own-colours": f"{SMALL_NET} {WILD['hands']} --hand_recolour 0",
            "things": f"{SMALL_NET} --thing_ratio 0.3",
            "larger-teacher": f"{SMALL_NET} --teacher {{rows}}/efficientnet-lite2/best.safetensors",
            "averaged-teachers": f"{SMALL_NET} --teacher {TEACHERS}",
            "shipped-teacher": f"{SMALL_NET} --teacher celebamask",
            "flipping-teacher": f"{SMALL_NET} --teacher {{rows}}/base/best.safetensors --teacher_flip",
        },
        stages={
            "double-size": ((4, 2),),
            "progressive-size": ((2, 1), (8, 2)),
            "three-sizes": ((4, 1), (8, 1.5), (8, 2)),
        },
        asked={"flip": "--flip"},
        size=128,
        epochs=8,
        layout="--hands_dir {hands_dir} --backgrounds_dir {backgrounds_test} --objects 20",
        needs=("hands_dir", "backgrounds_dir"),
        tests={
            "clean": CLEAN,
            "face": f"{CLEAN} --labels face",
            "hair": f"{CLEAN} --labels hair",
            "hands": f"{BEHIND_HANDS} --labels face",
            "cups": f"{BEHIND.format('cup')} --labels face",
            "microphones": f"{BEHIND.format('microphone')} --labels face",
            "scenes": "--images_path {held_out}/scene --masks_path {held_out}/mascene --labels face",
        },
        measure="iou",
        columns={
            "mean Dice": ("clean", "mean", "dice"),
            "necklace Dice": ("clean", "neck_l", "dice"),
            "face": ("face", "face", "iou"),
            "hair": ("hair", "hair", "iou"),
            "behind hands": ("hands", "face", "iou"),
            "cups": ("cups", "face", "iou"),
            "microphones": ("microphones", "face", "iou"),
            "scenes": ("scenes", "face", "iou"),
        },
        called_face="hands",
    ),
    "augmentation": Comparison(
        "Mean Dice, then IoU of the face, pooled: held-out faces as they are, and each of them in other colours, "
        "blurred, as a small poor JPEG, turned by 20 to 45 degrees, and small on held-out backgrounds",
        shared=f"--labels celebamask --arch fpn --widths 128 64 {SMALL_NET}",
        rows={
            "base": "",
            "no-colour": "--augment brightness=0 contrast=0 saturation=0 tint=0 grey=0",
            "more-colour": "--augment brightness=0.5 contrast=0.5 saturation=0.8 tint=0.16 grey=0.1",
            "no-blur": "--augment blur=0",
            "no-jpeg": "--augment jpeg=0",
            "no-rotation": "--augment rotation=0",
            "more-rotation": "--augment rotation=45",
            "no-scale": "--scale 1 1",
            "more-scale": "--scale 0.4 2.0",
        },
        size=128,
        epochs=8,
        layout="--spoiled --backgrounds_dir {backgrounds_test}",
        needs=("backgrounds_dir",),
        tests={
            "parts": CLEAN,
            "clean": f"{CLEAN} --labels face",
            **{name: f"{SPOILED.format(name)} --labels face" for name in held_out.SPOILED},
            "scenes": "--images_path {held_out}/scene --masks_path {held_out}/mascene --labels face",
        },
        measure="iou",
        columns={
            "mean Dice": ("parts", "mean", "dice"),
            **{name: (name, "face", "iou") for name in ("clean", *held_out.SPOILED, "scenes")},
        },
    ),
    "person": Comparison(
        "IoU of the person, pooled over the held-out portraits",
        shared="--labels person --soft_targets",
        rows={
            "unetplusplus-resnet18": "--arch unetplusplus --encoder resnet18 --loss bce",
            "fpn-mobilenetv2_100": "--arch fpn --encoder mobilenetv2_100 --widths 128 64 --loss bce+dice",
        },
        size=192,
        epochs=20,
        tests={"clean": HELD_OUT},
        measure="iou",
        heads=("person",),
        published={"published: U-Net++ + ResNet-18 from ImageNet, 120 pictures of AISegment": (0.9719, 0.0554)},
        loss=True,
    ),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("comparison", choices=COMPARISONS, help="what to compare")
    flag("--faces_dir", metavar="DIR", type=Path, required=True, help="pictures")
    flag("--masks_dir", metavar="DIR", type=Path, required=True, help="their 19-class masks")
    flag(
        "--split", metavar="CSV", type=Path, required=True, help="rows name,True (to train on) or name,False (to score)"
    )
    flag(
        "--hands_dir",
        metavar="DIR",
        type=Path,
        help="images/, masks/ and split.csv of hands; wild and ablation need it",
    )
    flag("--backgrounds_dir", metavar="DIR", type=Path, help="photos without people; wild and ablation need it")
    encoders = "files ENCODER.*.safetensors with weights to start encoders from (default: nothing is pre-trained)"
    flag("--encoders_dir", metavar="DIR", type=Path, help=encoders)
    flag("--out", metavar="DIR", type=Path, default=Path("runs/compare"), help="folder for all of it (%(default)s)")
    flag("--only", metavar="ROW", nargs="+", help="rows to train now; the table has those finished before, too")
    budget = "(default: the comparison's, see COMPARISONS)"
    part = "share of the True rows to train on, evenly out of all (%(default)g)"
    flag("--share", metavar="X", type=share, default=1.0, help=part)
    flag("--size", metavar="PX", type=whole_from(32), help=f"side of the training pictures {budget}")
    flag("--epochs", metavar="N", type=whole_from(1), help=f"passes through the faces {budget}")
    flag("--batch_size", metavar="N", type=whole_from(1), help=f"pictures a step {budget}")
    flag(
        "--workers",
        metavar="N",
        type=whole_from(0),
        default=min(8, os.cpu_count() or 1),
        help="processes (%(default)s)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    return finish(compare, parse_args(argv))


def compare(args: argparse.Namespace) -> int:
    """Lay out what is scored, do every row that is not finished, and write the table after each."""
    comparison, folder = COMPARISONS[args.comparison], args.out / args.comparison
    rows = [*comparison.rows, *comparison.asked]
    unknown = [name for name in args.only or () if name not in rows]
    if unknown:
        raise ValueError(f"{args.comparison} has no row {unknown[0]!r}; choose from: {', '.join(rows)}")
    missing = [f"--{name}" for name in comparison.needs if getattr(args, name) is None]
    if missing:
        raise ValueError(f"{args.comparison} needs {' and '.join(missing)}")
    budget = {name: getattr(args, name) or getattr(comparison, name) for name in ("size", "epochs", "batch_size")}
    places = {name: value for name, value in vars(args).items() if isinstance(value, Path)}
    divisors = {divisor for name in args.only or rows for divisor, _ in comparison.stages.get(name, ())}
    if any(budget["epochs"] % divisor for divisor in divisors):
        raise ValueError(f"--epochs {budget['epochs']} can't be shared alike; give a multiple of {max(divisors)}")
    places["rows"] = folder
    places |= {name: folder / name for name in ("held_out", "backgrounds_train", "backgrounds_test")}
    if args.share == 0:
        raise ValueError("--share 0 leaves nothing to train on; give a share above it")
    if args.share < 1:
        places["split"] = write_share(args.split, args.share, folder / f"split-{args.share:g}.csv")
    if comparison.layout and not places["held_out"].exists():
        lay_out(comparison, places)
    for name in args.only or rows:
        do_row(name, comparison, budget, places, folder / name, args.workers)
        write_table(args.comparison, comparison, budget, folder)
    print((folder / "table.md").read_text(encoding="utf-8"))
    return 0


def write_share(split: Path, part: float, out: Path) -> Path:
    """`out`, the split with only so large a part of its rows to train on, evenly out of all."""
    parts = read_split(split)
    training = [name for name, place in parts.items() if place == "train"]
    kept = {name for i, name in enumerate(training) if int((i + 1) * part) > int(i * part)}
    rows = [(f"{name}.jpg", place) for name, place in parts.items() if place != "train" or name in kept]
    write_split(out, rows)  # of names with a suffix, which is cut off
    return out


def filled(flags: str, places: dict[str, Path]) -> list[str]:
    """The words of `flags` with the {names} filled in."""
    return [word.format(**places) for word in shlex.split(flags)]


def lay_out(comparison: Comparison, places: dict[str, Path]) -> None:
    """Make {held_out}, whole or not at all, and before it the two folders of backgrounds where they are needed."""
    if "backgrounds_dir" in comparison.needs:
        divide(places["backgrounds_dir"], places["backgrounds_train"], places["backgrounds_test"])
    unfinished = places["held_out"].with_name("held_out.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    data = "--faces_dir {faces_dir} --masks_dir {masks_dir} --faces_split {split}"
    run_script("benchmarks/held_out.py", [*filled(f"{data} {comparison.layout}", places), "--out", str(unfinished)])
    unfinished.rename(places["held_out"])


def divide(backgrounds: Path, training: Path, tests: Path) -> None:
    """Copy the backgrounds into two folders, every `BACKGROUNDS_FOR_TESTS`-th into that for tests."""
    for number, path in enumerate(images.list_images(backgrounds)):
        part = training if number % BACKGROUNDS_FOR_TESTS else tests
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, part)


def do_row(
    name: str,
    comparison: Comparison,
    budget: dict[str, int],
    places: dict[str, Path],
    folder: Path,
    workers: int,
) -> None:
    """Train and score one row into `folder`, unless that is done; ValueError where it was begun in another way."""
    asked = shlex.split(comparison.asked.get(name, ""))
    trained = folder.with_name(next(iter(comparison.rows))) if asked else folder
    stages = stages_of(trained.name, comparison, budget, places, trained)
    flags = [word for words, _ in stages for word in words]
    begun, made = folder / "row.json", {"train.py": flags, "held_out.py": filled(comparison.layout, places)}
    made |= {"test.py": asked} if asked else {}
    if begun.exists() and json.loads(begun.read_text(encoding="utf-8")) != made:
        raise ValueError(f"{folder} was made with other flags, see {begun}; choose another --out, or remove it")
    if (folder / "result.json").exists():
        return
    images.write_json(begun, made)
    for flags, run in () if asked else stages:
        print(f"{name}: {shlex.join(flags)}", file=sys.stderr, flush=True)
        run_script("train.py", [*flags, "--weights_dir", str(run), "--resume", "--workers", str(workers)])
    weights = trained / "best.safetensors"
    for test, test_flags in comparison.tests.items():
        saved = ["--weights_path", str(weights), "--save_path", str(folder / test), *asked]
        run_script("test.py", [*filled(test_flags, places), *saved])
    result = result_of(comparison, folder, trained)
    if comparison.loss:
        result["scores"].append(soft_loss(weights, places))
        result["intervals"].append(None)
    if comparison.called_face:
        called = held_out.share_called_face(places["held_out"] / "hand", folder / comparison.called_face)
        result["scores"].append(called[0])
        result["intervals"].append(called[1:])
    images.write_json(folder / "result.json", result)


def stages_of(
    name: str, comparison: Comparison, budget: dict[str, int], places: dict[str, Path], folder: Path
) -> list[tuple[list[str], Path]]:
    """The flags of train.py for each stage of a row, and its run folder: `folder` of the last one."""
    recipe = filled(f"{TRAINING} {comparison.shared} {comparison.rows[name]}", places)
    pretrained = encoder_file(recipe[recipe.index("--encoder") + 1], places.get("encoders_dir"))
    start = ["--encoder_weights", str(pretrained)] if pretrained else []
    parts = comparison.stages.get(name, ((1, 1),))
    stages = []
    for number, (divisor, factor) in enumerate(parts, 1):
        own = budget | {"size": round(budget["size"] * factor), "epochs": budget["epochs"] // divisor}
        run = folder if number == len(parts) else folder / f"stage{number}"
        stages.append(
            ([*recipe, *(word for key, value in own.items() for word in (f"--{key}", str(value))), *start], run)
        )
        start = ["--init", str(run / "best.safetensors")]
    return stages


def soft_loss(weights: Path, places: dict[str, Path]) -> float:
    """Binary cross entropy in nats, mean over the pixels of the held-out pictures, toward the greys of their masks."""
    predictor, parts = faceparse.load(weights), read_split(places["split"])
    total, count = 0.0, 0
    for picture, mask in images.pair_by_stem(places["faces_dir"], places["masks_dir"])[0]:
        if parts.get(picture.stem) == "test":
            p, part = predictor.probabilities(picture).clip(1e-7, 1 - 1e-7), images.read_mask(mask) / 255
            total -= (part * np.log(p) + (1 - part) * np.log1p(-p)).sum()
            count += p.size
    return float(total / count)


def encoder_file(encoder: str, encoders_dir: Path | None) -> Path | None:
    """The weights of an encoder in a folder, None where there are none."""
    return min(encoders_dir.glob(f"{encoder}.*safetensors"), default=None) if encoders_dir else None


def run_script(script: str, flags: list[str]) -> None:
    """Run a script of this checkout to its end; ValueError where it fails, which it has explained on stderr."""
    done = subprocess.run([sys.executable, os.fspath(ROOT / script), *flags], stdout=sys.stderr, check=False)
    if done.returncode:
        raise ValueError(f"{script} ended with status {done.returncode}; mend that and give the same command again")


def result_of(comparison: Comparison, folder: Path, trained: Path) -> dict[str, Any]:
    """What the table says of a row scored in `folder`; `scores` are in the order of its columns, None where undefined.

    `trained` is the row that was trained, this one or another.
    """
    import torch

    from faceparse import checkpoint

    model = checkpoint.load(trained / "best.safetensors").model
    runs = [json.loads(path.read_text())[-1] for path in sorted(trained.rglob("run.json"), reverse=True)]
    seconds = 0.0
    for path in trained.rglob("curves.csv"):
        with path.open(newline="") as file:
            seconds += sum(float(row["seconds"]) for row in csv.DictReader(file))
    reports = {test: json.loads((folder / test / "scores.json").read_text()) for test in comparison.tests}
    columns = comparison.columns.values() or [
        (test, name, comparison.measure) for test, report in reports.items() for name in [*report["classes"]][1:]
    ]
    cores = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    pretrained = {run["settings"]["encoder_weights"] for run in runs} - {"none"}
    return {
        "scores": [reports[test]["classes"][name][measure] for test, name, measure in columns],
        "intervals": [
            [reports[test]["classes"][name][f"{measure}_{end}"] for end in ("low", "high")]
            for test, name, measure in columns
        ],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(seconds, 1),
        "pretrained": Path(min(pretrained)).name if pretrained else None,
        "trained_on": runs[0]["pictures"]["training"],
        "scored_on": {test: report["scored"] for test, report in reports.items()},
        "machine": f"{platform.machine()}, {cores}{gpu}, torch {torch.__version__}",
        "reports": reports,
    }


def write_table(name: str, comparison: Comparison, budget: dict[str, int], folder: Path) -> None:
    """table.md and table.json of the rows in `folder`."""
    files = {row: folder / row / "result.json" for row in [*comparison.rows, *comparison.asked]}
    results = {row: json.loads(path.read_text(encoding="utf-8")) for row, path in files.items() if path.exists()}
    whole = {"comparison": name, "about": comparison.about, "measure": comparison.measure, "budget": budget}
    images.write_json(folder / "table.json", whole | {"rows": results, "published": comparison.published})
    with images.written_whole(folder / "table.md") as beside:
        beside.write_text(markdown(comparison, budget, results), encoding="utf-8")


def markdown(comparison: Comparison, budget: dict[str, int], results: dict[str, dict[str, Any]]) -> str:
    """The rows as a Markdown table, the published ones last, and below it what they have in common."""
    heads = comparison.heads_of_scores
    lines = [["", *heads, "parameters", "seconds", "pre-trained"]]
    lines.append(["---"] * len(lines[0]))
    for row in [*comparison.rows, *comparison.asked]:
        result = results.get(row)
        if result is None:
            lines.append([row, "not yet run", *[""] * (len(heads) + 2)])
            continue
        about = f"{result['parameters'] / 1e6:.2f} M", f"{result['seconds']:.0f}", result["pretrained"] or "nothing"
        lines.append([row, *map(bounded, result["scores"], result.get("intervals", [None] * len(heads))), *about])
    lines += [[row, *map(decimal, scores), "", "", ""] for row, scores in comparison.published.items()]
    settings = ", ".join(f"{key} {value}" for key, value in budget.items())
    shared = f"All rows: `train.py {comparison.shared}`, {settings}. Seconds are those of training and validation."
    told = sorted({told_of(result) for result in results.values()})
    return "\n".join([f"{comparison.about}.\n", *(f"| {' | '.join(line)} |" for line in lines), "", shared, *told, ""])


def bounded(score: float | None, ends: Sequence[float | None] | None) -> str:
    """A score with its 95 % interval, of a bootstrap over the pictures, where there is one."""
    if ends is None or score is None:
        return decimal(score)
    return f"{decimal(score)} [{decimal(ends[0])}, {decimal(ends[1])}]"


def told_of(result: dict[str, Any]) -> str:
    """On how many pictures and on which machine."""
    scored = ", ".join(f"{count} {test}" for test, count in result["scored_on"].items())
    return f"Trained on {result['trained_on']} pictures, scored on {scored}; {result['machine']}."


def decimal(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}".removeprefix("0")


if __name__ == "__main__":
    sys.exit(main())
