"""Weights -> ONNX or TorchScript, each compared with the original before it is kept.

The exported model takes pictures of any height, width and number. It is traced, and for ONNX written by torch's
TorchScript-based exporter: that gives the same logits at all sizes in a tenth of the time of the one based on
`torch.export`, which fails on PSPNet's pooling (torch 2.15), and works from torch 2.4 on without onnxscript.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from torch.overrides import TorchFunctionMode

from faceparse import checkpoint, images
from faceparse.data.folder import find_pairs
from faceparse.labels import FOREGROUND, LabelSet
from faceparse.metrics import Confusion, mean
from faceparse.occlusion import cover_with_shape
from faceparse.predictor import Predictor
from faceparse.transforms import Preprocess
from faceparse.words import hint, not_installed

AGREEMENT = {"float32": 0.999, "half": 0.999, "int8": 0.99}
"""Precision of the stored weights -> share of the pixels that have to get the original's class."""

IOU_LOSS = 0.005
"""How much lower the mean IoU over the foreground, against true masks, may be."""

OVERLAP = 0.9
"""Least IoU of int8's foreground with the original's: where faces are small, nearly all pixels agree without one."""

LOGITS = {"float32": 0.001, "half": 0.05, "int8": math.inf}
"""Precision -> largest difference of a logit on noise, as a share of the largest one; drawn pictures may show a model
nothing but background, and then the pixels' classes agree whatever was exported. int8's ranges don't span noise: it is
compared on pictures with something in them."""

OPSET = 17
"""ONNX's; torch 2.4 and ONNX Runtime 1.14 have it."""

CALIBRATION = 32
"""Pictures from which the ranges of the activations are learnt for int8."""

DRAWN, SHAPES = 6, 12
"""Pictures to compare on where none are given, and the shapes on each."""

TRACED = (2, 3, 128, 160)
"""Shape of the pictures in tracing: no two sides alike, so that none is taken for another."""

Example = Callable[[], tuple[np.ndarray, np.ndarray | None]]
"""Reads a picture, uint8 (H, W, 3) RGB, and where they are known its true ids, uint8 (H, W)."""


@dataclass(frozen=True)
class Measured:
    """How an exported model answers beside the original: `agreement` is the share of equal pixels over all pictures.

    `iou` and `original_iou` are means over the foreground classes against true masks; NaN where none are given.
    `overlap` is the IoU of all that is foreground in either model's masks; NaN where both see nothing but background.
    """

    pictures: int
    agreement: float
    iou: float = math.nan
    original_iou: float = math.nan
    overlap: float = math.nan

    def __str__(self) -> str:
        seen = "background alone" if math.isnan(self.overlap) else f"IoU of the foregrounds {self.overlap:.4f}"
        text = f"the original's class on {self.agreement:.3%} of the pixels of {self.pictures} pictures ({seen})"
        if math.isnan(self.original_iou):
            return text
        return f"{text}, and IoU {self.iou:.4f} against its {self.original_iou:.4f}"

    def is_enough(self, precision: str) -> bool:
        """Whether it is near enough to the original for weights stored so."""
        loses = not math.isnan(self.original_iou) and not self.original_iou - self.iou <= IOU_LOSS
        is_seen = precision != "int8" or self.overlap >= OVERLAP
        return self.agreement >= AGREEMENT[precision] and is_seen and not loses


def export(
    weights: Path,
    format: str,
    out: Path | None = None,
    precision: str = "float32",
    images_path: Path | None = None,
    masks_path: Path | None = None,
    command: str = "",
) -> tuple[Path, Measured]:
    """Write the model of a .safetensors file in another format, if it answers there as it does here.

    `format` is a key of `FORMATS`, `precision` one that it has: "half" stores the weights in 16 bits and computes in
    float32, "int8" computes in 8 bits, but for the first steps and the last. `out` is by default the weights' path with
    the format's suffix. Compared is on the pictures of a folder, or on drawn ones, and where their true masks are
    given, in a folder with the same stems, against those; int8, whose ranges are learnt from them, takes no drawn ones
    and has to find the original's foreground. `command` goes into the metadata, beside all that the weights
    say of themselves.

    Returns where the model is and how near it comes. Raises ValueError with the measured figures where that is not
    enough, ValueError and OSError for files and packages that are missing or unfit; then nothing is written.
    """
    writer = writer_of(format, precision)
    out = out or weights.with_suffix(checkpoint.EXPORTED[format].suffixes[0])
    if out.suffix.lower() not in checkpoint.EXPORTED[format].suffixes:
        raise ValueError(f"{out}: a file of {format} ends in {' or '.join(checkpoint.EXPORTED[format].suffixes)}")
    if precision == "int8" and images_path is None:
        raise ValueError("int8 learns its ranges from pictures: name some like those that it is for, --images_path")
    start = checkpoint.load(weights)
    examples = _examples(images_path, masks_path, start.labels, start.preprocess)
    seen, unseen = _divided(examples) if precision == "int8" else ([], examples)
    inputs = [start.preprocess(example()[0])[None].numpy() for example in seen]
    about = start.about | {"export": json.dumps({"command": command, "format": format, "precision": precision})}
    metadata = checkpoint.metadata_of(start.design, start.labels, start.preprocess, about)
    with images.written_whole(out) as beside:
        with _faults_told(f"{weights} can't be exported to {format}, {out} is not written", (RuntimeError, ValueError)):
            with _quiet(), torch.no_grad():
                writer.write(
                    _half_stored(start.model) if precision == "half" else start.model, beside, metadata, inputs
                )
            exported = checkpoint.load_for_use(beside).model
            distance = _distance(start.model, exported)
        if not distance <= LOGITS[precision]:
            allowed = f"in {precision} they may be off by {LOGITS[precision]:.1%}"
            raise ValueError(f"{out} is not kept: on noise its logits are off by {distance:.1%}; {allowed}")
        original, other = (Predictor(m, start.labels, start.preprocess, "cpu") for m in (start.model, exported))
        with _faults_told(f"{out} is not kept, it fails on a picture"):
            measured = compare(original, other, unseen)
        if not measured.is_enough(precision):
            overlap = f", {OVERLAP} of the foregrounds" if precision == "int8" else ""
            wanted = f"{AGREEMENT[precision]:.1%}{overlap} and an IoU lower by at most {IOU_LOSS}"
            raise ValueError(f"{out} is not kept: it has {measured}; {precision} has to reach {wanted}")
    return out, measured


def compare(original: Predictor, exported: Predictor, examples: Sequence[Example]) -> Measured:
    """Both models' masks of the same pictures, three at a time, and of the upper half of the first one alone."""
    labels, same, pixels, both, either = original.labels, 0, 0, 0, 0
    confusions = Confusion(len(labels)), Confusion(len(labels))
    batches = [examples[i : i + 3] for i in range(0, len(examples), 3)] + [[partial(_upper_half, examples[0])]]
    for batch in batches:
        pictures, truths = zip(*(example() for example in batch), strict=True)
        for *masks, truth in zip(*(one.predict_batch(pictures) for one in (original, exported)), truths, strict=True):
            same += int((masks[0] == masks[1]).sum())
            pixels += masks[0].size
            both += int(((masks[0] > 0) & (masks[1] > 0)).sum())
            either += int(((masks[0] > 0) | (masks[1] > 0)).sum())
            if truth is not None:
                for confusion, mask in zip(confusions, masks, strict=True):
                    confusion.add(mask // FOREGROUND if labels.is_binary else mask, truth)
    before, after = (float(mean(confusion.iou()[1:])) for confusion in confusions)
    return Measured(len(examples), same / pixels, after, before, both / either if either else math.nan)


@torch.inference_mode()
def _distance(original: nn.Module, exported: nn.Module) -> float:
    """The largest difference of a logit on noise, as a share of the largest logit; at another size than the traced."""
    noise = torch.randn((1, 3, 96, 64), generator=torch.Generator().manual_seed(0))
    expected = original(noise)
    return float((exported(noise) - expected).abs().max() / expected.abs().max())


@dataclass(frozen=True)
class Writer:
    """How a format is written: `write(model, path, metadata, inputs)`, the precisions that it has, and what it needs.

    `inputs`, float32 (1, 3, h, w) each, are what ranges are learnt from for int8; none for any other precision.
    """

    precisions: tuple[str, ...]
    write: Callable[[nn.Module, Path, dict[str, str], Sequence[np.ndarray]], None]
    packages: tuple[str, ...] = ()


def writer_of(format: str, precision: str = "float32") -> Writer:
    """The writer of a format. Raises ValueError for unknown ones, OSError where a package is missing."""
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; {hint(format, FORMATS)}")
    if precision not in FORMATS[format].precisions:
        raise ValueError(f"{format} can't be written in {precision}; it has {', '.join(FORMATS[format].precisions)}")
    for package in FORMATS[format].packages:
        try:
            import_module(package)
        except ImportError as error:
            raise OSError(f"{format} models need {package}, {not_installed('export', package)}") from error
    return FORMATS[format]


def _write_torchscript(model: nn.Module, path: Path, metadata: dict[str, str], inputs: Sequence[np.ndarray]) -> None:
    with _Traceable({F.max_pool2d: _max_pool2d}):
        traced = torch.jit.trace(model, torch.randn(TRACED), check_trace=False)
    torch.jit.save(traced, path, _extra_files={checkpoint.METADATA_FILE: json.dumps(metadata).encode()})


def _write_onnx(model: nn.Module, path: Path, metadata: dict[str, str], inputs: Sequence[np.ndarray]) -> None:
    import onnx

    with _Traceable({F.max_pool2d: _max_pool2d, F.adaptive_avg_pool2d: _adaptive_avg_pool2d}):
        torch.onnx.export(
            model,
            (torch.randn(TRACED),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[checkpoint.INPUT],
            output_names=[checkpoint.OUTPUT],
            dynamic_axes={
                checkpoint.INPUT: {0: "batch", 2: "height", 3: "width"},
                checkpoint.OUTPUT: {0: "batch", 1: "classes", 2: "height", 3: "width"},
            },
            do_constant_folding=all(p.dtype == torch.float32 for p in model.parameters()),  # else 16 bits become 32
        )
    if inputs:
        _quantise(path, inputs)
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, metadata)
    onnx.save(graph, path)


FORMATS = {
    "onnx": Writer(("float32", "half", "int8"), _write_onnx, ("onnx", "onnxruntime")),
    "torchscript": Writer(("float32", "half"), _write_torchscript),
}
"""Name, as in `checkpoint.EXPORTED` -> how it is written."""


def _quantise(path: Path, inputs: Sequence[np.ndarray]) -> None:
    """An ONNX file of float32, made one of 8-bit integers with the ranges that `inputs` bring about.

    Weights channel by channel, in 7 bits: AVX2 adds up products of 8 bits in 16, which would overflow. Both ends stay
    float32. The first three convolutions, as what they round off is lost to all the rest; and the last one with the
    logits, as 256 steps between the largest and the smallest are too few to tell classes by.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float32.onnx"
        source.write_bytes(path.read_bytes())
        nodes = onnx.load(source).graph.node
        convolutions = [at for at, node in enumerate(nodes) if node.op_type == "Conv"]
        quantize_static(
            source,
            path,
            _calibration(inputs),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=[node.name for node in (*nodes[: convolutions[3]], *nodes[convolutions[-1] :])],
        )


def _calibration(inputs: Sequence[np.ndarray]) -> Any:
    """`inputs` as ONNX Runtime wants them: an object whose `get_next` ends with None."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        left = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            pixels = next(self.left, None)
            return None if pixels is None else {checkpoint.INPUT: pixels}

    return Reader()


class _Widened(nn.Module):
    def forward(self, stored: Tensor) -> Tensor:
        return stored.float()


def _half_stored(model: nn.Module) -> nn.Module:
    """A copy that keeps its parameters of two or more axes in 16 bits, and computes in float32.

    A graph in 16 bits throughout would be slower on x86, which has no arithmetic for them; ONNX Runtime widens the
    weights once, when it reads the file.
    """
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.ndim >= 2:
                parameter.data = parameter.data.half()
                register_parametrization(module, name, _Widened(), unsafe=True)  # unsafe: it changes the type
    return model.eval()


class _Traceable(TorchFunctionMode):
    """Inside, functions of torch are replaced by ones that come out of tracing right at every size."""

    def __init__(self, instead: dict[Any, Callable[..., Tensor]]):
        super().__init__()
        self.instead = instead

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.instead.get(function, function)(*args, **(kwargs or {}))


def _max_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """As torch's, but a kernel of 2 leaves a single row or column as it is: a trace has lost PAN's `min`."""
    if kernel_size in (2, (2, 2)) and padding == 0:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, 2 // (width + 1), 0, 2 // (height + 1)), mode="replicate")  # 1 for 1, else 0
    pool: Any = F.max_pool2d  # whose type depends on the value of the last argument
    return pool(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _adaptive_avg_pool2d(x: Tensor, output_size: int | tuple[int, int]) -> Tensor:
    """As torch's, as two matrix products: ONNX has no such pooling, except to one value."""
    if output_size in (1, (1, 1)):
        return F.adaptive_avg_pool2d(x, 1)
    rows, columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    return _averages(x.shape[-2], rows) @ x @ _averages(x.shape[-1], columns).T


def _averages(length: int, parts: int) -> Tensor:
    """float32 (parts, length): row i averages the positions from i * length / parts on, rounded outwards."""
    starts = torch.arange(parts) * length // parts
    ends = (torch.arange(1, parts + 1) * length + parts - 1) // parts
    at = torch.arange(length)
    inside = (at >= starts[:, None]) & (at < ends[:, None])
    return inside.float() / (ends - starts)[:, None]


def _examples(
    images_path: Path | None, masks_path: Path | None, labels: LabelSet, preprocess: Preprocess
) -> Sequence[Example]:
    """The pictures of a folder, or drawn ones."""
    if images_path is None:
        if masks_path is not None:
            raise ValueError(f"{masks_path}: true masks need their pictures; name those, too")
        return [partial(drawn_example, seed, preprocess.size, preprocess.size * 3 // 4) for seed in range(DRAWN)]
    if masks_path is None:
        return [partial(_without_truth, path) for path in images.list_images(images_path)]
    return [partial(pair.read, labels) for pair in find_pairs(images_path, masks_path, labels)]


def _divided(examples: Sequence[Example]) -> tuple[Sequence[Example], Sequence[Example]]:
    """Those to learn ranges from, spread over all, and the others to compare on; all for both where they are few."""
    step = max(2, len(examples) // CALIBRATION)
    others = [example for i, example in enumerate(examples) if i % step]
    return (examples[::step], others) if len(examples) > CALIBRATION else (examples, examples)


def _without_truth(path: Path) -> tuple[np.ndarray, None]:
    return images.read_rgb(path), None


def _upper_half(example: Example) -> tuple[np.ndarray, np.ndarray | None]:
    picture, truth = example()
    rows = max(1, len(picture) // 2)
    return picture[:rows], None if truth is None else truth[:rows]


def drawn_example(seed: int, height: int, width: int) -> tuple[np.ndarray, None]:
    """Shaded shapes over each other, uint8 (height, width, 3) RGB."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    nowhere = np.zeros(picture.shape[:2], np.uint8)
    for _ in range(SHAPES):
        picture, _mask = cover_with_shape(picture, nowhere, nowhere > 0, rng)
    return picture, None


@contextmanager
def _faults_told(what: str, kinds: tuple[type[Exception], ...] = (RuntimeError,)) -> Iterator[None]:
    """Errors of these kinds, torch and ONNX Runtime raise the first, as one sentence: `what` (the reason)."""
    try:
        yield
    except kinds as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[-1] if "TorchScript interpreter" in lines[0] else lines[0]  # which shows its program first
        raise ValueError(f"{what} ({reason})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings: of their age, and of what a trace might miss, which is measured afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
