"""Train a model on a folder of pictures and a folder of masks; `train.py` and `faceparse train`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceparse.commands import ShowDefaults, finish, whole_from
from faceparse.labels import LABEL_SETS, LabelSet
from faceparse.models import ARCHITECTURES

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from faceparse.checkpoint import Design
    from faceparse.data.folder import BatchesWithHands, TrainingData, ValidationFaces
    from faceparse.models.segmenter import Segmenter
    from faceparse.runs import Run
    from faceparse.transforms import Preprocess


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The settings, every one with its default."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train a model on a folder of pictures and a folder of their masks.",
        formatter_class=ShowDefaults,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--faces_dir", metavar="DIR", type=Path, required=True, help="folder of pictures")
    data.add_argument(
        "--masks_dir",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder of their masks, same stems: 0/255, or PNGs of class ids",
    )
    data.add_argument(
        "--labels",
        choices=LABEL_SETS,
        default="face",
        help="classes to learn; face and hair are also read from 19-class masks",
    )
    data.add_argument(
        "--fahand_dir",
        metavar="DIR",
        type=Path,
        help="folder of pictures of faces with a hand pasted over (hand_generator)",
    )
    data.add_argument("--mahand_dir", metavar="DIR", type=Path, help="folder of their masks")
    data.add_argument(
        "--hands_dir",
        metavar="DIR",
        type=Path,
        help="folder with images/ and masks/ of hands to paste on the fly instead; of a split.csv in it, the True rows",
    )
    data.add_argument(
        "--hand_ratio",
        metavar="SHARE",
        type=float,
        help="share of each batch that shows a hand, 0 to 1 (default: one picture of each batch)",
    )
    data.add_argument(
        "--split",
        metavar="CSV",
        type=Path,
        help="CSV of rows name,True (may be trained on) or name,False (never read); train, val and test also serve "
        "(default: every picture may be trained on)",
    )
    data.add_argument(
        "--val_share",
        metavar="SHARE",
        type=float,
        default=0.05,
        help="share of the pictures that is kept for validation where --split names none",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--arch", choices=sorted(ARCHITECTURES), default="fpn", help="architecture")
    model.add_argument(
        "--encoder",
        metavar="NAME",
        default="mobilenetv2_100",
        help="resnet18, resnet34, resnet50, or a timm model's name",
    )
    model.add_argument(
        "--encoder_weights",
        metavar="WHAT",
        default="none",
        help="none, imagenet (is downloaded), or a .safetensors/.pth file",
    )
    model.add_argument(
        "--widths",
        metavar="N",
        type=int,
        nargs="+",
        help="channels inside the decoder (default: the reference's; fpn: 256 128)",
    )
    model.add_argument(
        "--init",
        metavar="FILE",
        type=Path,
        help="weights file of the same design to go on from, with a schedule of its own (default: none)",
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--epochs", metavar="N", type=whole_from(1), default=30, help="passes through the faces")
    recipe.add_argument("--batch_size", metavar="N", type=whole_from(1), default=16, help="pictures a step")
    recipe.add_argument(
        "--size", metavar="PX", type=whole_from(32), default=256, help="side of the training pictures, pixels"
    )
    recipe.add_argument(
        "--scale",
        metavar=("FROM", "TO"),
        type=float,
        nargs=2,
        default=(0.6, 1.6),
        help="smallest and largest zoom of a face",
    )
    recipe.add_argument("--loss", metavar="SUM", default="ce+dice", help="losses and weights, for instance ce+0.5*dice")
    recipe.add_argument("--lr", metavar="RATE", type=float, default=2e-3, help="peak learning rate of decoder and head")
    recipe.add_argument(
        "--encoder_lr", metavar="RATE", type=float, default=5e-4, help="peak learning rate of the encoder"
    )
    recipe.add_argument("--weight_decay", metavar="X", type=float, default=1e-2, help="AdamW's weight decay")
    recipe.add_argument(
        "--warmup", metavar="N", type=whole_from(0), default=100, help="steps until the learning rate is at its peak"
    )
    recipe.add_argument(
        "--ema",
        metavar="X",
        type=float,
        default=0.998,
        help="memory of the running average of the weights, which is what is kept",
    )
    recipe.add_argument("--clip_norm", metavar="X", type=float, default=1.0, help="largest norm of the gradient")
    recipe.add_argument("--seed", metavar="N", type=whole_from(0), default=0, help="seed of everything random")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--weights_dir",
        metavar="DIR",
        type=Path,
        required=True,
        help="run folder: best.safetensors, last.safetensors, curves, logs",
    )
    run.add_argument("--half", action="store_true", help="keep the weights in 16 bits: half the file, the same masks")
    run.add_argument(
        "--data_note", metavar="TEXT", default="", help="text about the data, kept inside the weights file"
    )
    run.add_argument("--licence", metavar="TEXT", default="", help="terms of the weights, kept inside the weights file")
    run.add_argument("--resume", action="store_true", help="go on after the last finished epoch in --weights_dir")
    run.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    run.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto is bf16 where the device is fast at it",
    )
    run.add_argument(
        "--workers",
        metavar="N",
        type=whole_from(0),
        default=min(8, os.cpu_count() or 1),
        help="processes that prepare pictures; 0: none beside this one",
    )
    args = parser.parse_args(argv)
    args.command = shlex.join(["python", "train.py", *(sys.argv[1:] if argv is None else argv)])
    if (args.fahand_dir is None) != (args.mahand_dir is None):
        parser.error("--fahand_dir and --mahand_dir go together")
    if args.fahand_dir and args.hands_dir:
        parser.error("give either --fahand_dir and --mahand_dir, or --hands_dir")
    if args.hand_ratio is not None and not (args.fahand_dir or args.hands_dir):
        parser.error("--hand_ratio needs hands: give --fahand_dir and --mahand_dir, or --hands_dir")
    if args.hand_ratio is not None and not 0 <= args.hand_ratio <= 1:
        parser.error("--hand_ratio is a share between 0 and 1")
    return args


def main(argv: list[str] | None = None) -> int:
    """Train; 0 when all epochs are done."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Check the data, train, and keep the best and the last weights."""
    import torch
    from torch.utils.data import DataLoader

    from faceparse import checkpoint, engine
    from faceparse.data.folder import ValidationFaces, one_thread
    from faceparse.devices import choose_device
    from faceparse.losses import create_loss
    from faceparse.runs import Run

    device, loss_fn, labels = choose_device(args.device), create_loss(args.loss), LABEL_SETS[args.labels]
    one_thread()  # before any worker is forked: OpenCV's thread pool does not survive a fork
    torch.manual_seed(args.seed)
    check_folder(args)
    model, design, preprocess = build_model(args, labels)
    data = read_data(args, labels)
    draws, batches = load_batches(args, labels, preprocess, data)
    faces = ValidationFaces(data.validation, labels, preprocess)
    validation = DataLoader(faces, args.batch_size, **workers(args))
    say(
        f"{data.counts()}; {args.arch} on {args.encoder}, "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {device}"
    )

    model.to(device).to(memory_format=torch.channels_last)
    average = engine.create_average(model, args.ema)
    optimizer = engine.create_optimizer(model, args.lr, args.encoder_lr, args.weight_decay)
    steps = args.epochs * len(batches)
    scheduler = engine.create_schedule(optimizer, steps, min(args.warmup, steps // 2))
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer, "scheduler": scheduler}
    journal = Run(args.weights_dir)
    finished, best = restore(args, parts, journal)
    journal.record_start(args.command, vars(args), data.counts())
    journal.record_split(data.training, data.validation)

    for epoch in range(finished, args.epochs):
        torch.manual_seed(args.seed + epoch)  # dropout: a resumed training draws what an uninterrupted one would have
        draws.epoch = epoch
        with tqdm_epoch(args, epoch, len(batches), journal) as on_step:
            train_loss = engine.train_one_epoch(
                model, average, batches, loss_fn, optimizer, scheduler, device, args.precision, args.clip_norm, on_step
            )
        val_loss, confusion = engine.evaluate(average.module, validation, loss_fn, len(labels), device, args.precision)
        row = {
            "epoch": epoch + 1,
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_iou": foreground_mean(confusion.iou()),
            "val_dice": foreground_mean(confusion.dice()),
            "lr": optimizer.param_groups[-1]["lr"],
        }
        journal.record_epoch(row)
        journal.record_picture(
            "validation", draw_validation(average.module, faces, preprocess, labels, device), epoch + 1
        )
        is_best = epoch == 0 or row["val_iou"] > best
        best = row["val_iou"] if is_best else best
        for name in ["last", "best"] if is_best else ["last"]:
            path = args.weights_dir / f"{name}.safetensors"
            checkpoint.save(
                path, average.module.state_dict(), design, labels, preprocess, about(args, row, data), args.half
            )
        state = {name: part.state_dict() for name, part in parts.items()}
        checkpoint.save_state(state_path(args), state | {"epoch": epoch + 1, "best": best, "rows": journal.rows})
        say(f"epoch {epoch + 1}: " + ", ".join(f"{key} {row[key]:.4f}" for key in row if key not in ("epoch", "lr")))
    say(f"best validation IoU {best:.4f}: {args.weights_dir / 'best.safetensors'}; try it with test.py --weights_path")
    return 0


def check_folder(args: argparse.Namespace) -> None:
    """Refuse to write over another training's weights."""
    if state_path(args).exists() and not args.resume:
        raise ValueError(
            f"{args.weights_dir} already holds a training; add --resume to go on with it, or choose another folder"
        )
    args.weights_dir.mkdir(parents=True, exist_ok=True)


def state_path(args: argparse.Namespace) -> Path:
    """The file from which a training goes on."""
    return args.weights_dir / "last.state.pt"


def build_model(args: argparse.Namespace, labels: LabelSet) -> tuple[Segmenter, Design, Preprocess]:
    """A new model, or the one of --init with its weights."""
    from faceparse import checkpoint
    from faceparse.transforms import Preprocess

    design = checkpoint.Design(args.arch, args.encoder, widths=tuple(args.widths) if args.widths else None)
    model = design.build(len(labels), args.encoder_weights)
    if args.init:
        start = checkpoint.load(args.init)
        if (start.design, start.labels.classes) != (design, labels.classes):
            raise ValueError(
                f"{args.init} holds {start.design} for {start.labels.name!r}; "
                f"give the flags that fit it (asked: {design}, {labels.name!r})"
            )
        model.load_state_dict(start.model.state_dict())
        return model, design, Preprocess(args.size, start.preprocess.mean, start.preprocess.std)
    return model, design, Preprocess(args.size, model.encoder.mean, model.encoder.std)


def read_data(args: argparse.Namespace, labels: LabelSet) -> TrainingData:
    """Find and check everything that will be read."""
    from faceparse.data import folder

    faces = folder.find_pairs(args.faces_dir, args.masks_dir, labels)
    training, validation = folder.split_pairs(faces, args.split, args.val_share, args.seed)
    with_hands = folder.find_pairs(args.fahand_dir, args.mahand_dir, labels) if args.fahand_dir else []
    hands = folder.find_hands(args.hands_dir) if args.hands_dir else []
    return folder.TrainingData(training, validation, with_hands, hands)


def load_batches(
    args: argparse.Namespace, labels: LabelSet, preprocess: Preprocess, data: TrainingData
) -> tuple[BatchesWithHands, DataLoader[Any]]:
    """Which faces go into which batch with how many hands, and these batches, augmented."""
    from torch.utils.data import DataLoader

    from faceparse.data.folder import BatchesWithHands, TrainingFaces
    from faceparse.transforms import Augment

    has_hands = bool(data.with_hands or data.hands)
    share = 1 / args.batch_size if args.hand_ratio is None else args.hand_ratio
    hands_a_batch = round(share * args.batch_size) if has_hands else 0
    if hands_a_batch == 0 and share > 0 and has_hands:
        hands_a_batch = 1  # every batch holds its share, however small
    faces = TrainingFaces(data, labels, Augment(args.size, scale=tuple(args.scale)), preprocess)
    draws = BatchesWithHands(len(data.training), len(data.with_hands), args.batch_size, hands_a_batch, args.seed)
    return draws, DataLoader(faces, batch_sampler=draws, **workers(args))


def workers(args: argparse.Namespace) -> dict[str, Any]:
    """How a DataLoader spreads its work."""
    from faceparse.data.folder import one_thread

    return {"num_workers": args.workers, "persistent_workers": args.workers > 0, "worker_init_fn": one_thread}


def restore(args: argparse.Namespace, parts: dict[str, Any], journal: Run) -> tuple[int, float]:
    """Load the folder's training into `parts`; how many epochs it has finished (0 for a new one) and its best IoU."""
    from faceparse import checkpoint

    if not state_path(args).exists():
        return 0, 0.0
    state = checkpoint.load_state(state_path(args))
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{state_path(args)} is of another model or recipe; resume with the flags in run.json"
        ) from error
    journal.rows.extend(state["rows"])
    return state["epoch"], state["best"]


def about(args: argparse.Namespace, row: dict[str, float], data: TrainingData) -> dict[str, str]:
    """What the weights file says of its making."""
    from faceparse import runs

    return {
        "command": args.command,
        "scores": json.dumps({key: round(value, 5) for key, value in row.items()}),
        "pictures": json.dumps(data.counts()),
        "data": args.data_note,
        "licence": args.licence,
        "versions": json.dumps(runs.versions()),
        "git": runs.git_state(),
    }


def foreground_mean(scores: np.ndarray) -> float:
    """Mean over the classes that occur, the background left out; 0 where none does."""
    import numpy as np

    present = scores[1:][np.isfinite(scores[1:])]
    return float(present.mean()) if len(present) else 0.0


@contextmanager
def tqdm_epoch(args: argparse.Namespace, epoch: int, steps: int, journal: Run) -> Iterator[Callable[[float], None]]:
    """A function that takes each step's loss to the progress bar and to TensorBoard."""
    from tqdm import tqdm

    with tqdm(total=steps, desc=f"epoch {epoch + 1}/{args.epochs}", unit="step", leave=False) as bar:

        def on_step(loss: float) -> None:
            journal.record_step(epoch * steps + bar.n, loss)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        yield on_step


def draw_validation(
    model: torch.nn.Module, faces: ValidationFaces, preprocess: Preprocess, labels: LabelSet, device: torch.device
) -> np.ndarray:
    """The first four validation pictures with the model's masks above and the true ones below, uint8 (H, W, 3) RGB."""
    import numpy as np
    import torch

    from faceparse.images import overlay
    from faceparse.labels import FOREGROUND, IGNORE

    pairs = [faces[i] for i in range(min(4, len(faces)))]
    image, target = (torch.stack(items) for items in zip(*pairs, strict=True))
    with torch.inference_mode():
        predicted = model(image.to(device)).argmax(dim=1).cpu()
    masks = torch.stack([predicted, target.masked_fill(target == IGNORE, 0)])  # (2, B, h, w)
    stored = (masks * (FOREGROUND if labels.is_binary else 1)).byte().numpy()
    pictures = [preprocess.undo(pixels) for pixels in image]
    return np.vstack(
        [np.hstack([overlay(x, mask, labels) for x, mask in zip(pictures, row, strict=True)]) for row in stored]
    )


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)
