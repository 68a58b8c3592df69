"""A state dict of segmentation_models_pytorch or torchvision -> a weights file that says what it is."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from faceparse.commands import Parser, finish, whole_from
from faceparse.labels import LABEL_SETS, LabelSet, label_set
from faceparse.models import ARCHITECTURES
from faceparse.words import listed

if TYPE_CHECKING:
    from torch import Tensor

    from faceparse.checkpoint import Design

MOST_NAMES = 20
"""How many names of a kind a refusal lists before it only counts."""


def create_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        "convert",
        "Bring weights that you trained with segmentation_models_pytorch (smp) or torchvision into a file "
        "that segment, train --init and faceparse.load() take, and that answers as the original does. What does not "
        "fit is listed, and then nothing is written. Settings that leave no trace in the tensors (rates, "
        "interpolation) have to be smp's or torchvision's defaults.",
    )
    flag = parser.add_argument
    flag("file", metavar="FILE", type=Path, help="state dict, or checkpoint with one in it: .pth, .pt or .safetensors")
    flag("out", metavar="OUT", type=Path, help="the .safetensors file to write")
    flag("--from", dest="reference", choices=("smp", "torchvision"), required=True, help="where the weights come from")
    flag("--arch", choices=sorted(ARCHITECTURES), required=True, help="architecture")
    flag(
        "--encoder",
        metavar="NAME",
        required=True,
        help="encoder, as here or as in smp: resnet34, mobilenet_v2, tu-NAME",
    )
    flag(
        "--labels",
        metavar="SET",
        required=True,
        help=f"what the classes are: {', '.join(LABEL_SETS)}, or a .json file with classes of your own; a file of one "
        "class, decided by a sigmoid, becomes the foreground of two",
    )
    flag(
        "--size", metavar="PX", type=whole_from(32), default=256, help="longer side at which pictures are seen, pixels"
    )
    rgb = ("R", "G", "B")
    mean = "what was subtracted from the pictures in training, RGB in 0..1 (default: the encoder's)"
    flag("--mean", metavar=rgb, type=brightness, nargs=3, help=mean)
    std = "by what they were divided then, above 0 (default: the encoder's)"
    flag("--std", metavar=rgb, type=brightness, nargs=3, help=std)
    stride = "output stride of the encoder it was trained with (default: the architecture's)"
    flag("--output_stride", type=int, choices=(8, 16, 32), help=stride)
    flag("--widths", metavar="N", type=int, nargs="+", help="channels inside the decoder (default: the reference's)")
    drop = "leave out the tensors with names that start so; may be repeated (default: none)"
    flag("--drop", metavar="START", action="append", default=[], help=drop)
    flag("--half", action="store_true", help="keep the weights in 16 bits: half the file")
    flag("--data_note", metavar="TEXT", default="", help="text about the data, kept inside the weights file")
    flag("--licence", metavar="TEXT", default="", help="terms of the weights, kept inside the weights file")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; see `--help`."""
    parser = create_parser()
    args = parser.read(argv)
    if args.std and 0 in args.std:
        parser.error("--std divides, so it has to be above 0")
    args.command = shlex.join(["faceparse", "convert", *(sys.argv[1:] if argv is None else argv)])
    return args


def brightness(text: str) -> float:
    """A number from 0 to 1: some trainings count from 0 to 255, which would fit no picture here."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1 (divide what counts to 255), got {text!r}")
    return value


def main(argv: list[str] | None = None) -> int:
    """Convert one file; 1 when it does not fit."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Read, rename, compare with the model that the flags describe, and write."""
    from faceparse import checkpoint, runs
    from faceparse.models.states import state_from
    from faceparse.models.weights import read_state
    from faceparse.transforms import Preprocess

    check_out(args.file, args.out)
    labels, widths = label_set(args.labels), tuple(args.widths) if args.widths else None
    encoder = our_name(args.encoder) if args.reference == "smp" else args.encoder
    design = checkpoint.Design(args.arch, encoder, args.output_stride, widths, args.reference)
    model = design.build(len(labels))
    theirs = {key: value for key, value in read_state(args.file).items() if not key.startswith(tuple(args.drop))}
    if "head.weight" in theirs:  # no reference's name
        raise ValueError(f"{args.file} has faceparse's own names already; there is nothing to convert")
    renamed = state_from(args.reference, args.arch, theirs)
    ours = with_background(renamed, labels)
    check_fit(args.file, design, labels, model.state_dict(), ours, theirs)
    preprocess = Preprocess(args.size, tuple(args.mean or model.encoder.mean), tuple(args.std or model.encoder.std))
    about = runs.origin(args.command, args.data_note, args.licence)
    model.load_state_dict(ours, strict=False)  # old files lack the batch norms' counters
    checkpoint.save(args.out, model.state_dict(), design, labels, preprocess, about, args.half)
    taken = {id(value) for value in renamed.values()}
    passed_over = listed((key for key, value in theirs.items() if id(value) not in taken), MOST_NAMES)
    more = f"; passed over, not in use: {passed_over}" if passed_over else ""
    print(f"{args.out}: {len(ours)} tensors of {args.file}{more}", file=sys.stderr)
    return 0


def check_out(file: Path, out: Path) -> None:
    """Refuse an output that would replace the input or be no weights file by its name."""
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: a weights file is called something.safetensors")
    if out.exists() and file.exists() and out.samefile(file):
        raise ValueError(f"{out} is the file to convert; name another one to write")


def our_name(encoder: str) -> str:
    """What smp calls an encoder -> what it is called here: `tu-NAME`, and some `timm-NAME`, is timm's NAME.

    Of `resnet50` and its like there is smp's and timm's, which dilate in different ways; a tag makes the name timm's.
    """
    import timm

    name = encoder.removeprefix("tu-")
    if encoder.startswith(("timm-regnet", "timm-res2", "timm-resnest", "timm-gernet", "timm-mobilenetv3")):
        name = encoder.removeprefix("timm-").replace("mobilenetv3", "tf_mobilenetv3")
    if encoder == name or not name.startswith("resnet") or "." in name:
        return name
    published = timm.get_pretrained_cfg(name)
    return f"{name}.{published.tag}" if published else name


def with_background(state: Mapping[str, Tensor], labels: LabelSet) -> dict[str, Tensor]:
    """A head of one class as one of two: the sigmoid of a logit is the softmax of (0, logit)."""
    import torch

    one_class = labels.is_binary and "head.weight" in state and state["head.weight"].shape[:1] == (1,)
    head = [key for key in ("head.weight", "head.bias") if one_class and key in state]
    return {**state, **{key: torch.cat([torch.zeros_like(state[key]), state[key]]) for key in head}}


def check_fit(
    file: Path,
    design: Design,
    labels: LabelSet,
    wanted: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
) -> None:
    """ValueError with the names that are missing, unknown or of another shape, as the file spells them where it can."""
    from faceparse.models.weights import COUNTER

    spelled = {id(value): key for key, value in theirs.items()}
    missing = [key for key in wanted if key not in ours and not key.endswith(COUNTER)]
    unknown = [spelled[id(value)] for key, value in ours.items() if key not in wanted]
    misshaped = [
        f"{spelled.get(id(value), key)} {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
        for key, value in ours.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    kinds = {"missing, by our names": missing, "unknown": unknown, "of another shape": misshaped}
    faults = [f"{len(names)} {kind}: {listed(names, MOST_NAMES)}" for kind, names in kinds.items() if names]
    classes = ours["head.weight"].shape[:1] if "head.weight" in ours else ()
    if classes and classes[0] != len(labels):
        fitting = ", ".join(name for name, choice in LABEL_SETS.items() if len(choice) == classes[0])
        faults.append(f"the file has {classes[0]} classes; --labels with as many: {fitting or 'none'}")
    if faults:
        what = f"{design.architecture} on {design.encoder} with the {len(labels)} classes of {labels.name}"
        raise ValueError("\n  ".join([f"{file} does not fit {what}, so nothing is written", *faults]))
