"""The flags of `train.py`, every one with its default."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from faceparse.commands import Parser, whole_from
from faceparse.distributed import launcher, local_count
from faceparse.labels import LABEL_SETS, OF_CELEBAMASK
from faceparse.models import ARCHITECTURES
from hand_generator import RECOLOUR_CHANCE

DEFAULT_ARCH, DEFAULT_ENCODER = "fpn", "mobilenetv2_100"
STRIDES = ", ".join(f"{name} {a.output_stride}" for name, a in ARCHITECTURES.items() if a.output_stride < 32)
BACKGROUND_RATIO = 0.15
DISTILL = 0.5

AUGMENTATIONS = (
    "flip",
    "rotation",
    "shift",
    "brightness",
    "contrast",
    "saturation",
    "tint",
    "grey",
    "blur",
    "jpeg",
)
"""The fields of `faceparse.transforms.Augment` that `--augment` sets; spelled out, for that imports torch."""


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser("train", "Train a model on a folder of pictures and a folder of their masks.")
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
        metavar="SET",
        default="face",
        help=f"classes to learn: {', '.join(LABEL_SETS)}, or a .json file with classes of your own; "
        f"{', '.join(OF_CELEBAMASK)} are also read from 19-class masks",
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
        type=share,
        help="share of each batch that shows a hand, 0 to 1 (default: one picture of each batch)",
    )
    data.add_argument(
        "--hand_recolour",
        metavar="SHARE",
        type=share,
        help="share of the hands of --hands_dir whose colours are moved toward those of the face, 0 to 1 "
        f"(default: {RECOLOUR_CHANCE})",
    )
    data.add_argument(
        "--backgrounds_dir",
        metavar="DIR",
        type=Path,
        help="folder of photos without people, onto which faces are shrunk, so that whole photos work too",
    )
    data.add_argument(
        "--background_ratio",
        metavar="SHARE",
        type=share,
        help="share of the pictures that are shrunk onto one of --backgrounds_dir, 0 to 1 "
        f"(default: {BACKGROUND_RATIO})",
    )
    data.add_argument(
        "--nobody_ratio",
        metavar="SHARE",
        type=share,
        default=0.0,
        help="share of the pictures that are one of --backgrounds_dir alone, 0 to 1: nobody is there; beside "
        "--background_ratio",
    )
    data.add_argument(
        "--shape_ratio",
        metavar="SHARE",
        type=share,
        default=0.0,
        help="share of the pictures over which a random shape is laid, 0 to 1: what covers a face is not face",
    )
    data.add_argument(
        "--rectangle_ratio",
        metavar="SHARE",
        type=share,
        default=0.0,
        help="share of the pictures in which a rectangle covers a part of the face, 0 to 1",
    )
    data.add_argument(
        "--thing_ratio",
        metavar="SHARE",
        type=share,
        default=0.0,
        help="share of the pictures in which something drawn is held before the face, like a bottle, a microphone or "
        "a printed sheet, 0 to 1; not for people, to whom belongs what they hold",
    )
    data.add_argument(
        "--rare",
        metavar="SHARE",
        type=share,
        default=0.0,
        help="draw pictures with a class that fewer than this share of them show more often: sqrt(SHARE / its share) "
        "times (repeat factor sampling, arXiv 1908.03195); 0: all equally often, 0.5 brings up necklaces and hats",
    )
    data.add_argument(
        "--soft_targets",
        action="store_true",
        help="the greys of 0..255 masks, an alpha for instance, are learnt as they are (default: cut at 127); "
        "for two classes, with the losses ce, bce, soft_bce and dice",
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
        type=share,
        default=0.05,
        help="share of the pictures that is kept for validation where --split names none",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--arch", choices=sorted(ARCHITECTURES), help=f"architecture (default: {DEFAULT_ARCH}, or that of --init)"
    )
    model.add_argument(
        "--encoder",
        metavar="NAME",
        help="resnet18, resnet34, resnet50, mobilenet_v2, or a timm model's name "
        f"(default: {DEFAULT_ENCODER}, or that of --init)",
    )
    model.add_argument(
        "--encoder_weights",
        metavar="WHAT",
        default="none",
        help="none, imagenet (is downloaded), or a .safetensors/.pth file of that encoder, with or without classifier",
    )
    model.add_argument(
        "--partial_encoder_weights",
        action="store_true",
        help="take what fits of a file that fits in part (default: refuse it)",
    )
    model.add_argument(
        "--output_stride",
        type=int,
        choices=(8, 16, 32),
        help=f"picture pixels per pixel of the encoder's last feature (default: the reference's; {STRIDES}, others 32)",
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
        help="weights file, or the name of bundled weights, to go on from, with a schedule of its own; classes new to "
        "it get a new head (default: none)",
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--epochs", metavar="N", type=whole_from(1), default=30, help="passes through the faces")
    recipe.add_argument(
        "--batch_size",
        metavar="N",
        type=whole_from(1),
        default=16,
        help="pictures a step, of all processes together where torchrun starts several",
    )
    recipe.add_argument(
        "--size", metavar="PX", type=whole_from(32), default=256, help="side of the training pictures, pixels"
    )
    recipe.add_argument(
        "--scale",
        metavar=("FROM", "TO"),
        type=positive,
        nargs=2,
        default=[0.6, 1.6],
        help="smallest and largest zoom of a face",
    )
    recipe.add_argument(
        "--augment",
        metavar="NAME=X",
        type=setting,
        nargs="+",
        default=[],
        help=f"amounts of augmentation, for instance rotation=10 blur=0; {', '.join(AUGMENTATIONS)} "
        "(default: those of faceparse.transforms.Augment)",
    )
    recipe.add_argument("--loss", metavar="SUM", default="ce+dice", help="losses and weights, for instance ce+0.5*dice")
    recipe.add_argument(
        "--teacher",
        metavar="FILE",
        type=Path,
        nargs="+",
        default=[],
        help="weights files, or names of bundled weights, whose probabilities, averaged, are learnt beside the masks "
        "(distillation, arXiv 1503.02531); of the same labels, or of all 19 classes for a part of them",
    )
    recipe.add_argument(
        "--distill",
        metavar="X",
        type=positive,
        help=f"weight of what the teachers say, beside --loss (default: {DISTILL})",
    )
    recipe.add_argument(
        "--teacher_flip",
        action="store_true",
        help="the teachers average with the mirror, as test.py --flip does: twice their time, none at use",
    )
    recipe.add_argument(
        "--lr", metavar="RATE", type=positive, default=2e-3, help="peak learning rate of decoder and head"
    )
    recipe.add_argument(
        "--encoder_lr", metavar="RATE", type=positive, default=5e-4, help="peak learning rate of the encoder"
    )
    recipe.add_argument("--weight_decay", metavar="X", type=positive, default=1e-2, help="AdamW's weight decay")
    recipe.add_argument(
        "--warmup", metavar="N", type=whole_from(0), default=100, help="steps until the learning rate is at its peak"
    )
    recipe.add_argument(
        "--ema",
        metavar="X",
        type=share,
        default=0.998,
        help="memory of the running average of the weights, which is what is kept",
    )
    recipe.add_argument("--clip_norm", metavar="X", type=positive, default=1.0, help="largest norm of the gradient")
    recipe.add_argument("--seed", metavar="N", type=whole_from(0), default=0, help="seed of everything random")
    run = parser.add_argument_group("run")
    place = run.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--weights_dir",
        metavar="DIR",
        type=Path,
        help="run folder: best.safetensors, last.safetensors, curves, pictures, logs",
    )
    place.add_argument(
        "--runs_dir",
        metavar="DIR",
        type=Path,
        help="folder in which every training makes its run folder: exp1, exp2 ...; --resume goes on in the last",
    )
    run.add_argument("--half", action="store_true", help="keep the weights in 16 bits: half the file, the same masks")
    run.add_argument(
        "--data_note", metavar="TEXT", default="", help="text about the data, kept inside the weights file"
    )
    run.add_argument("--licence", metavar="TEXT", default="", help="terms of the weights, kept inside the weights file")
    run.add_argument(
        "--export",
        metavar="FORMAT",
        nargs="+",
        default=[],
        help="also the best weights as a model: onnx, torchscript; faceparse export makes others (default: none)",
    )
    run.add_argument("--resume", action="store_true", help="go on where the training in the run folder stopped")
    run.add_argument(
        "--save_minutes",
        metavar="X",
        type=positive,
        default=5.0,
        help="minutes between two savings of the state that --resume goes on from; it is also saved after every epoch",
    )
    run.add_argument(
        "--non_finite",
        choices=("stop", "skip"),
        default="stop",
        help="what to do about a step whose loss or gradient is not finite; its pictures are named either way",
    )
    run.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    run.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto is bf16 where the device is fast at it",
    )
    run.add_argument(
        "--compile",
        action="store_true",
        help="let torch.compile write the network anew, for this machine: the first step takes minutes, and it rounds "
        "otherwise; whether it pays is not known of any machine, benchmarks/bench_training.py --compile measures it",
    )
    run.add_argument(
        "--workers",
        metavar="N",
        type=whole_from(0),
        default=min(8, max(1, (os.cpu_count() or 1) // local_count())),
        help="processes that prepare pictures, for each that trains; 0: none beside this one",
    )
    run.add_argument(
        "--cache",
        metavar="SIZE",
        type=size_in_bytes,
        default=0,
        help="memory for decoded pictures, for instance 500M or 4G, of all processes of this machine together; what "
        "does not fit is decoded in every epoch. It pays where a GPU waits for pictures, and for large photos; 0: none",
    )
    parser.add_summary_flags()
    return parser


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The settings, every one with its default."""
    parser = create_parser()
    args = parser.read(argv)
    args.command = shlex.join([*launcher(), "train.py", *(sys.argv[1:] if argv is None else argv)])
    if (args.fahand_dir is None) != (args.mahand_dir is None):
        parser.error("--fahand_dir and --mahand_dir go together")
    if args.fahand_dir and args.hands_dir:
        parser.error("give either --fahand_dir and --mahand_dir, or --hands_dir")
    if args.hand_ratio is not None and not (args.fahand_dir or args.hands_dir):
        parser.error("--hand_ratio needs hands: give --fahand_dir and --mahand_dir, or --hands_dir")
    if args.hand_recolour is not None and not args.hands_dir:
        parser.error("--hand_recolour needs --hands_dir")
    args.hand_recolour = RECOLOUR_CHANCE if args.hand_recolour is None else args.hand_recolour
    if args.background_ratio is not None and not args.backgrounds_dir:
        parser.error("--background_ratio needs --backgrounds_dir")
    if args.nobody_ratio and not args.backgrounds_dir:
        parser.error("--nobody_ratio needs --backgrounds_dir")
    args.background_ratio = BACKGROUND_RATIO if args.background_ratio is None else args.background_ratio
    if (args.distill is not None or args.teacher_flip) and not args.teacher:
        parser.error("--distill and --teacher_flip need --teacher")
    args.distill = DISTILL if args.distill is None else args.distill
    if args.init and (args.encoder_weights != "none" or args.partial_encoder_weights):
        parser.error("--init brings the encoder's weights along: leave --encoder_weights out")
    if not 0 < args.scale[0] <= args.scale[1]:
        parser.error("--scale takes the smaller zoom first, and both above 0")
    return args


def positive(text: str) -> float:
    """A finite number of at least 0."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def size_in_bytes(text: str) -> int:
    """`4G`, `500M`, `64K` or plain bytes."""
    number, power = (text[:-1], "KMG".index(text[-1]) + 1) if text[-1:] in ("K", "M", "G") else (text, 0)
    try:
        return int(positive(number) * 1024**power)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected bytes, for instance 500M or 4G, got {text!r}") from error


def setting(text: str) -> tuple[str, float]:
    """`rotation=10` as a name and a number."""
    name, _, value = text.partition("=")
    if name not in AUGMENTATIONS:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER with a name out of {', '.join(AUGMENTATIONS)}")
    return name, positive(value)


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not positive(text) <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return float(text)
