"""Train a model on a folder of pictures and a folder of masks; `train.py` and `faceparse train`."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceparse.commands import finish
from faceparse.commands.train_flags import DEFAULT_ARCH, DEFAULT_ENCODER, parse_args
from faceparse.commands.train_flags import create_parser as create_parser  # completion asks each command for it
from faceparse.distributed import Ranks, joined, local_count
from faceparse.labels import LabelSet, label_set

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from faceparse.checkpoint import Design
    from faceparse.data.batches import BatchesWithHands
    from faceparse.data.folder import TrainingData
    from faceparse.engine import Pass
    from faceparse.metrics import Confusion
    from faceparse.models.segmenter import Segmenter
    from faceparse.runs import Run
    from faceparse.transforms import Preprocess

STATE, NON_FINITE = "last.state.pt", "non_finite.state.pt"
"""Files in the run folder: what a training goes on from, and where it was when a step was not finite."""

LATER = {
    "hand_recolour": 0.5,
    "thing_ratio": 0.0,
    "nobody_ratio": 0.0,
    "teachers": [],
    "teacher_flip": False,
    "compile": False,
}
"""What a state was trained with that was saved before a recipe told it."""

MOST_LEFT_OUT = 20
"""Steps of an epoch that `--non_finite skip` leaves out before it gives up."""


def main(argv: list[str] | None = None) -> int:
    """Train; 0 when all epochs are done."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Train, alone or with the other processes that torchrun started."""
    with joined(args.device) as ranks:
        return train(args, ranks)


def train(args: argparse.Namespace, ranks: Ranks) -> int:
    """Check the data, train, and keep the best and the last weights; of several ranks, the first one writes."""
    import torch
    from torch.utils.data import DataLoader, Subset

    from faceparse import checkpoint, engine, export
    from faceparse.data.batches import ValidationFaces, one_thread
    from faceparse.devices import choose_device, compiled, keep_freed_memory
    from faceparse.losses import create_loss
    from faceparse.runs import Run, UnwrittenRun, draw_masks
    from faceparse.teacher import Teacher, fingerprints

    if args.batch_size % ranks.count:
        shared = f"--batch_size {args.batch_size} can't be shared by {ranks.count} processes"
        raise ValueError(f"{shared}; give a multiple of {ranks.count}")
    if args.compile and ranks.count > 1:
        raise ValueError("--compile is for one process; leave it or torchrun out")
    device, labels = choose_device(args.device), label_set(args.labels)
    loss_fn, hard_loss_fn = create_loss(args.loss, args.soft_targets, ranks), create_loss(args.loss)
    if args.soft_targets and not labels.is_binary:
        raise ValueError(f"--soft_targets are of two classes, {labels.name} has {len(labels)}; leave the flag out")
    for format in args.export:
        export.writer_of(format)  # before the training, not after it
    if device.type == "cpu":
        keep_freed_memory()
    one_thread()  # before any worker is forked: OpenCV's thread pool does not survive a fork
    torch.manual_seed(args.seed)
    args.weights_dir = args.weights_dir or ranks.first(lambda: run_folder(args.runs_dir, args.resume))
    ranks.first(lambda: check_folder(args))
    model, design, preprocess = build_model(args, labels)
    taught = (labels, preprocess, device, args.distill, args.teacher_flip, ranks)
    teacher = Teacher(args.teacher, *taught) if args.teacher else None
    args.teachers = fingerprints(args.teacher)
    args.arch, args.encoder, args.widths = design.architecture, design.encoder, design.widths  # for the record
    with ranks.first_goes_ahead():  # it remembers which masks are sound
        data = read_data(args, labels)
    draws, batches = load_batches(args, labels, preprocess, data, device, ranks)
    faces = ValidationFaces(data.validation, labels, preprocess)
    mine = range(len(faces))[ranks.share(len(faces), args.batch_size)]  # whole batches, so that their losses are alike
    validation = DataLoader(Subset(faces, mine), args.batch_size, **workers(args, device))
    iter(validation)  # its workers are forked while this process is small: they keep a copy of what it holds then
    say(
        f"{data.counts()}; {design.architecture} on {design.encoder}, "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {device}"
    )

    model.to(device).to(memory_format=torch.channels_last)
    average = engine.create_average(model, args.ema)
    optimizer = engine.create_optimizer(model, args.lr, args.encoder_lr, args.weight_decay)
    steps = args.epochs * len(batches)
    scheduler = engine.create_schedule(optimizer, steps, min(args.warmup, steps // 2))
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "scheduler": scheduler}
    journal = (Run if ranks.is_first else UnwrittenRun)(args.weights_dir)
    finished, along, best = restore(args, data, parts, journal)
    settings = {name: value for name, value in vars(args).items() if name != "command"}
    journal.record_start(args.command, settings, data.counts())
    journal.record_split(data.training, data.validation)

    replica = compiled(model) if args.compile else ranks.parallel(model, device)

    def keep(name: str, epoch: int, along: engine.Pass) -> None:
        if not ranks.is_first:
            return
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        state |= {
            "recipe": recipe(args, data),
            "epoch": epoch,
            "along": vars(along),
            "best": best,
            "rows": journal.rows,
        }
        checkpoint.save_state(args.weights_dir / name, state)

    for epoch in range(finished, args.epochs):
        along = along if epoch == finished else engine.Pass()
        along.seed, draws.epoch, draws.first = args.seed + epoch * len(batches), epoch, along.steps
        kept = time.perf_counter()
        start, left_out = kept - along.seconds, 0
        with journal.epoch_progress(epoch, args.epochs, len(batches), along.steps) as tell:
            for step in engine.train_one_epoch(
                replica,
                average,
                batches,
                loss_fn,
                optimizer,
                scheduler,
                device,
                args.precision,
                args.clip_norm,
                along,
                ranks,
                teacher,
            ):
                if not step.finite:
                    left_out += 1
                    ranks.first(partial(keep, NON_FINITE, epoch, along))  # before another one ends the run
                    not_finite(args, step.loss, left_out, names_of(draws, data, along.steps - 1))
                tell(step.loss)
                if time.perf_counter() - kept > args.save_minutes * 60:
                    along.seconds = time.perf_counter() - start
                    keep(STATE, epoch, along)
                    kept = time.perf_counter()
        val_loss, confusion = engine.evaluate(
            average.module, validation, hard_loss_fn, len(labels), device, args.precision, ranks
        )
        row = {
            "epoch": epoch + 1,
            "train_loss": along.loss,
            "val_loss": val_loss,
            "val_iou": foreground_mean(confusion.iou(), confusion),
            "val_dice": foreground_mean(confusion.dice(), confusion),
            "lr": optimizer.param_groups[-1]["lr"],
            "seconds": time.perf_counter() - start,
        }
        journal.record_epoch(row)
        is_best = epoch == 0 or row["val_iou"] > best
        best = row["val_iou"] if is_best else best
        if ranks.is_first:
            journal.record_pictures(draw_masks(average.module, faces, device), epoch + 1)
            for name in ["last", "best"] if is_best else ["last"]:
                path = args.weights_dir / f"{name}.safetensors"
                checkpoint.save(
                    path, average.module.state_dict(), design, labels, preprocess, about(args, row, data), args.half
                )
        keep(STATE, epoch + 1, engine.Pass())
        told = [f"{key} {row[key]:.4f}" for key in row if key not in ("epoch", "lr", "seconds")]
        say(f"epoch {epoch + 1}: {', '.join(told)}")
    if not ranks.is_first:
        return 0
    weights = args.weights_dir / "best.safetensors"
    say(f"best validation IoU {best:.4f}: {weights}; try it with test.py --weights_path")
    exported = []
    for format in args.export:
        out, measured = export.export(weights, format, command=args.command)
        say(f"{out}: {measured}")
        exported.append(str(out))
    if args.json:
        last = {name: value if math.isfinite(value) else None for name, value in journal.rows[-1].items()}
        made = {"weights": str(weights), "best_val_iou": best, "last": last, "exported": exported}
        print(json.dumps(made | {"device": str(device)}))
    return 0


def run_folder(runs_dir: Path, resume: bool) -> Path:
    """The next of exp1, exp2 ... in a folder; the last one to resume, ValueError where there is none."""
    numbered = [path for path in runs_dir.glob("exp*") if path.name[3:].isdecimal()]
    begun = [path for path in numbered if (path / STATE).exists()] if resume else numbered
    last = max((int(path.name[3:]) for path in begun), default=0)
    if resume and not last:
        raise ValueError(f"{runs_dir} holds no exp1, exp2 ... to go on with; leave --resume out")
    return runs_dir / f"exp{last if resume else last + 1}"


def check_folder(args: argparse.Namespace) -> None:
    """Refuse to write over another training's weights; what it was writing when it was killed goes."""
    from faceparse.images import remove_half_written

    if args.weights_dir.exists() and not args.weights_dir.is_dir():
        raise ValueError(f"{args.weights_dir} is a file; name a folder for the weights")
    if (args.weights_dir / STATE).exists() and not args.resume:
        raise ValueError(
            f"{args.weights_dir} already holds a training; add --resume to go on with it, or choose another folder"
        )
    args.weights_dir.mkdir(parents=True, exist_ok=True)
    remove_half_written(args.weights_dir)


def names_of(draws: BatchesWithHands, data: TrainingData, step: int) -> list[str]:
    """The pictures of a step of this epoch."""
    from itertools import islice

    drawn = next(islice(draws, step - draws.first, None))
    return [
        (data.with_hands if draw.hand and data.with_hands else data.training)[draw.index].image.name for draw in drawn
    ]


def not_finite(args: argparse.Namespace, loss: float, left_out: int, names: list[str]) -> None:
    """Stop at a step whose loss or gradient is not finite, or go on without it, as told; FloatingPointError."""
    told = f"the loss is {loss}, or its gradient is not finite, for {', '.join(names)}"
    if args.non_finite == "stop" or left_out > MOST_LEFT_OUT:
        raise FloatingPointError(
            f"{told}; the state is in {args.weights_dir / NON_FINITE}; lower --lr, or look at these pictures and masks"
        )
    say(f"{told}; left out")


def build_model(args: argparse.Namespace, labels: LabelSet) -> tuple[Segmenter, Design, Preprocess]:
    """A new model, or the one of --init with its weights."""
    from faceparse import checkpoint
    from faceparse.transforms import Preprocess

    if args.init:
        start = checkpoint.load(args.init)
        asked = {
            "architecture": args.arch,
            "encoder": args.encoder,
            "output_stride": args.output_stride,
            "widths": tuple(args.widths) if args.widths else None,
        }
        for name, value in asked.items():
            if value not in (None, getattr(start.design, name)):
                raise ValueError(
                    f"{args.init} has {name} {getattr(start.design, name)}, not {value}; leave the flag out"
                )
        model, fresh = checkpoint.model_for(start, labels)
        dropped = [name for name in start.labels.classes if name not in labels.classes]
        new = f", but for the head of {', '.join(fresh)}, which is new" if fresh else "" if dropped else " whole"
        say(f"{args.init}: loaded{new}" + (f"; left out: the head of {', '.join(dropped)}" if dropped else ""))
        return model, start.design, Preprocess(args.size, start.preprocess.mean, start.preprocess.std)
    widths = tuple(args.widths) if args.widths else None
    design = checkpoint.Design(args.arch or DEFAULT_ARCH, args.encoder or DEFAULT_ENCODER, args.output_stride, widths)
    model = design.build(len(labels), args.encoder_weights, args.partial_encoder_weights)
    return model, design, Preprocess(args.size, model.encoder.mean, model.encoder.std)


def read_data(args: argparse.Namespace, labels: LabelSet) -> TrainingData:
    """Find and check everything that will be read."""
    from faceparse.data import folder

    faces = folder.find_pairs(args.faces_dir, args.masks_dir, labels, args.soft_targets)
    training, validation = folder.split_pairs(faces, args.split, args.val_share, args.seed)
    with_hands = []
    if args.fahand_dir:
        with_hands = folder.find_pairs(args.fahand_dir, args.mahand_dir, labels, args.soft_targets)
        with_hands = folder.of_these_faces(with_hands, args.fahand_dir, training)
    hands = folder.find_hands(args.hands_dir) if args.hands_dir else []
    backgrounds = folder.read_backgrounds(args.backgrounds_dir) if args.backgrounds_dir else []
    return folder.TrainingData(training, validation, with_hands, hands, backgrounds)


def load_batches(
    args: argparse.Namespace,
    labels: LabelSet,
    preprocess: Preprocess,
    data: TrainingData,
    device: torch.device,
    ranks: Ranks,
) -> tuple[BatchesWithHands, DataLoader[Any]]:
    """Which faces go into which batch with how many hands, and this rank's share of these batches, augmented."""
    from torch.utils.data import DataLoader

    from faceparse.data.batches import BatchesWithHands, ShareOfBatches, TrainingFaces, Wild
    from faceparse.data.cache import PictureCache
    from faceparse.data.folder import repeat_factors
    from faceparse.transforms import Augment

    has_hands = bool(data.with_hands or data.hands)
    share = 1 / args.batch_size if args.hand_ratio is None else args.hand_ratio
    hands_a_batch = round(share * args.batch_size) if has_hands else 0
    if hands_a_batch == 0 and share > 0 and has_hands:
        hands_a_batch = 1  # every batch holds its share, however small
    backgrounds = args.background_ratio if data.backgrounds else 0.0
    ratios = args.shape_ratio, args.rectangle_ratio, args.thing_ratio, backgrounds, args.nobody_ratio
    wild = Wild(*ratios, recolour=args.hand_recolour)
    augment = replace(Augment(args.size, scale=tuple(args.scale)), **dict(args.augment))
    pictures, memory = len(data.training) + len(data.with_hands), args.cache // local_count()
    cache = PictureCache(pictures, memory) if memory else None
    faces = TrainingFaces(data, labels, augment, preprocess, wild, args.soft_targets, cache)
    repeats = repeat_factors(data.training, args.rare)
    draws = BatchesWithHands(
        len(data.training), len(data.with_hands), args.batch_size, hands_a_batch, args.seed, repeats
    )
    return draws, DataLoader(faces, batch_sampler=ShareOfBatches(draws, ranks), **workers(args, device))


def workers(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """How a DataLoader spreads its work."""
    from faceparse.data.batches import settle_worker

    return {
        "num_workers": args.workers,
        "persistent_workers": args.workers > 0,
        "worker_init_fn": settle_worker,
        "multiprocessing_context": "fork" if args.cache and args.workers else None,
        "pin_memory": device.type == "cuda",
    }


def restore(
    args: argparse.Namespace, data: TrainingData, parts: dict[str, Any], journal: Run
) -> tuple[int, Pass, float]:
    """Load the folder's training into `parts`; the epochs that are finished, how far the next is, the best IoU."""
    from faceparse import checkpoint
    from faceparse.engine import Pass

    path = args.weights_dir / STATE
    if not path.exists():
        return 0, Pass(), 0.0
    state = checkpoint.load_state(path)
    now = recipe(args, data)
    for name, before in (LATER | state.get("recipe", {})).items():
        if now[name] != before:
            raise ValueError(
                f"{args.weights_dir} was trained with {name} {before}, not {now[name]}; "
                "resume with the flags in its run.json"
            )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is of another model or recipe; resume with the flags in run.json") from error
    journal.rows.extend(state["rows"])
    return state["epoch"], Pass(**state.get("along", {})), state["best"]  # an older state is of a whole epoch


def recipe(args: argparse.Namespace, data: TrainingData) -> dict[str, Any]:
    """What must stay the same when a training goes on, in plain types."""
    names = ["labels", "arch", "encoder", "output_stride", "widths", "size", "batch_size", "seed"]
    names += ["hand_ratio", "hand_recolour", "shape_ratio", "rectangle_ratio", "thing_ratio", "background_ratio"]
    names += ["nobody_ratio", "rare", "soft_targets", "teachers", "distill", "teacher_flip", "compile"]
    names += ["scale", "augment", "loss", "lr", "encoder_lr", "weight_decay", "warmup", "ema", "clip_norm"]
    parts = [[pair.image.name for pair in part] for part in (data.training, data.validation)]
    split = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
    return {name: getattr(args, name) for name in names} | data.counts() | {"split": split}


def about(args: argparse.Namespace, row: dict[str, float], data: TrainingData) -> dict[str, str]:
    """What the weights file says of its making."""
    from faceparse import runs

    return runs.origin(args.command, args.data_note, args.licence) | {
        "scores": json.dumps({key: round(value, 5) for key, value in row.items()}),
        "pictures": json.dumps(data.counts()),
        **({"teachers": json.dumps(args.teachers)} if args.teachers else {}),
    }


def foreground_mean(scores: np.ndarray, confusion: Confusion) -> float:
    """Mean over the classes that the truth has, the background left out; 0 where it has none.

    One that is predicted alone does not count: epochs are compared, and it would count in some of them.
    """
    true = confusion.sums()[2][1:] > 0
    return float(scores[1:][true].mean()) if true.any() else 0.0


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)
