"""The one file format: weights that say what they are. Written and read nowhere else.

A `.safetensors` file whose metadata holds the format number, architecture, encoder, output stride, labels,
preprocessing, and whatever the training wants to say (data, command, scores, licence). Nothing in it can run code,
and memory is taken for nothing that it claims and does not hold: a design is first built without memory and compared.

Exported models hold the same metadata, and are read for use alone: ONNX, which can run no code either, and is tried
with a limit of memory and time; and TorchScript, which is a program: open such files only of people whom you would let
run one.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from faceparse import onnx_file
from faceparse.bundled import weights_file
from faceparse.claims import MAX_HEADER, check_header, check_stored
from faceparse.images import written_whole
from faceparse.labels import LabelSet, described
from faceparse.models import create_model
from faceparse.models.outline import outlined
from faceparse.models.segmenter import Segmenter
from faceparse.transforms import MIN_SIDE, Preprocess
from faceparse.words import not_installed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT = "1"

METADATA_FILE = "faceparse.json"
"""Where a TorchScript archive keeps its metadata, among its extra files: one JSON object of strings."""

INPUT, OUTPUT = "image", "logits"
"""What an ONNX graph takes, float32 (B, 3, H, W), and gives, float32 (B, K, H, W)."""

TRIAL_MEMORY = 64 << 20
"""Bytes that an ONNX graph may take for a picture of `MIN_SIDE`, beside four times its file: 16 bits become 32."""

TRIAL_SECONDS = 30.0
"""Most seconds that it may take then; it is stopped between two operators."""

ModelType = TypeVar("ModelType", bound=nn.Module, covariant=True)


class WrongFormat(ValueError):
    """A file that is not ours, or of a format that this version does not know."""


@dataclass(frozen=True)
class Design:
    """What a model is built from, as `create_model` takes it; None is the architecture's own choice."""

    architecture: str
    encoder: str
    output_stride: int | None = None
    widths: tuple[int, ...] | None = None
    convention: str = "torchvision"

    def build(self, classes: int, encoder_weights: str = "none", partial_encoder_weights: bool = False) -> Segmenter:
        """A new model of this design; the encoder's weights as in `create_model`."""
        return create_model(
            self.architecture,
            self.encoder,
            classes,
            encoder_weights,
            self.output_stride,
            self.widths,
            self.convention,
            partial_encoder_weights,
        )


@dataclass(frozen=True)
class Checkpoint(Generic[ModelType]):
    """A model in float32 and evaluation mode on the CPU, with all that is needed to use it."""

    model: ModelType
    design: Design
    labels: LabelSet
    preprocess: Preprocess
    about: dict[str, str]


def save(
    path: Path,
    model_state: dict[str, Tensor],
    design: Design,
    labels: LabelSet,
    preprocess: Preprocess,
    about: dict[str, str],
    half: bool = False,
) -> None:
    """Write the weights whole or not at all; `half` stores floating-point tensors of two or more axes in 16 bits."""
    state = {key: _stored(value, half) for key, value in model_state.items()}
    _write(path, to_bytes(state, metadata_of(design, labels, preprocess, about)))


def metadata_of(design: Design, labels: LabelSet, preprocess: Preprocess, about: dict[str, str]) -> dict[str, str]:
    """What a file says of itself, whatever its format."""
    shape = {"name": labels.name, "classes": labels.classes, "colours": labels.colours, "mirrors": labels.mirrors}
    return about | {
        "format": FORMAT,
        "design": json.dumps(asdict(design)),
        "labels": json.dumps(shape),
        "preprocess": json.dumps(asdict(preprocess)),
    }


def load(path: str | os.PathLike[str]) -> Checkpoint[Segmenter]:
    """Rebuild the model that a file holds, to train it, to export it, to look into it, or to use it.

    `path` may be the name of bundled weights, here and below. Raises FileNotFoundError and ValueError, each naming the
    file; ValueError also for an exported model.
    """
    path = weights_file(path)
    if _exported(path):
        raise WrongFormat(
            f"{path}: {path.suffix} files are exported models, for use only; "
            "give the .safetensors file that it was made from"
        )
    with _faults_named(path):
        check_header(path)
        with safe_open(path, framework="pt") as file:
            design, labels, preprocess, about = _described(path, file.metadata() or {})
            with outlined():
                outline = design.build(len(labels)).state_dict()
            state = _fitting(file, outline)
            model = design.build(len(labels))
            model.load_state_dict({key: _loaded(value) for key, value in state.items()})
    return Checkpoint(model.eval(), design, labels, preprocess, about)


def load_for_use(path: str | os.PathLike[str]) -> Checkpoint[nn.Module]:
    """As `load`, of exported models too: float32 (B, 3, H, W) -> logits float32 (B, K, H, W) at any size.

    Raises FileNotFoundError and ValueError, each naming the file, and OSError with the command that installs what an
    ONNX model needs. A TorchScript archive is a program: what it says of itself is checked first, what it does is not.
    """
    path = weights_file(path)
    exported = _exported(path)
    if exported is None:
        return load(path)
    with _faults_named(path):
        metadata, opened = exported.read(path)
        design, labels, preprocess, about = _described(path, metadata)
        model = opened()
        with torch.inference_mode():
            shape = tuple(model(torch.zeros(1, 3, MIN_SIDE, MIN_SIDE)).shape)
        if shape != (1, len(labels), MIN_SIDE, MIN_SIDE):
            raise ValueError(f"it answers {shape} for {len(labels)} classes at {MIN_SIDE}x{MIN_SIDE}")
    return Checkpoint(model, design, labels, preprocess, about)


class OnnxModel(nn.Module):
    """An ONNX graph, run by ONNX Runtime on the CPU with as many threads as torch has at the time.

    Where several threads ask with one each, as in `one_thread_each`, each answers by itself.

    float32 (B, 3, H, W) -> logits float32 (B, K, H, W), on the CPU whatever the device of the pictures.
    Raises OSError where ONNX Runtime is not installed, RuntimeError for what it can't read or run, and for what takes
    more than `TRIAL_MEMORY` or `TRIAL_SECONDS`; `graph` is the file's bytes, which `onnx_file.described` has let pass.
    """

    _one_tries = threading.Lock()  # ONNX Runtime has one limit of memory a process

    def __init__(self, path: Path, graph: bytes):
        super().__init__()
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            needed = not_installed("export", "onnxruntime")
            raise OSError(f"{path}: ONNX models need ONNX Runtime, {needed}") from error
        self._graph = graph  # the file may have changed when it is opened again
        self._one_opens = threading.Lock()
        self._sessions: dict[int, InferenceSession] = {}
        with self._one_tries, _onnx_errors():
            self._try()

    def _try(self) -> None:
        """Run it once as it is written: what ONNX Runtime works out beforehand would be outside of the limit."""
        import onnxruntime

        _limit_memory(TRIAL_MEMORY + 4 * len(self._graph))
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 4
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.use_env_allocators", "1")
            session = onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
            run = onnxruntime.RunOptions()
            run.log_severity_level = 4
            alarm = threading.Timer(TRIAL_SECONDS, setattr, (run, "terminate", True))
            alarm.start()
            try:
                session.run([OUTPUT], {INPUT: np.zeros((1, 3, MIN_SIDE, MIN_SIDE), np.float32)}, run)
            finally:
                alarm.cancel()
        finally:
            _limit_memory(0)  # none, and what the trial took is given back

    def session(self) -> InferenceSession:
        """One of as many threads as torch has at the time: they are counted when a session is opened."""
        threads = torch.get_num_threads()
        with self._one_opens:
            if threads not in self._sessions:
                self._sessions[threads] = self._opened(threads)
            return self._sessions[threads]

    def _opened(self, threads: int) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; they come as exceptions as well
        with _onnx_errors():
            return onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        session = self.session()
        with _onnx_errors():
            (logits,) = session.run([OUTPUT], {INPUT: image.float().cpu().contiguous().numpy()})
        return torch.from_numpy(logits)


def _limit_memory(most: int) -> None:
    """The bytes that sessions which share their memory may take from now on, in all of the process; 0 is any number."""
    import onnxruntime

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    growth = {"max_mem": most, "arena_extend_strategy": 1}  # by what is asked for, and no more
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(growth))


_ONNX_ERRORS = (
    "EPFail",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NotImplemented",
    "RuntimeException",
)


@contextmanager
def _onnx_errors() -> Iterator[None]:
    """ONNX Runtime's errors, which have no base of their own, as RuntimeError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        yield
    except tuple(getattr(state, name) for name in _ONNX_ERRORS) as error:
        raise RuntimeError(str(error)) from error


def _onnx(path: Path) -> tuple[dict[str, str], Callable[[], nn.Module]]:
    graph = path.read_bytes()
    return onnx_file.described(graph), lambda: OnnxModel(path, graph)


def _torchscript(path: Path) -> tuple[dict[str, str], Callable[[], nn.Module]]:
    with zipfile.ZipFile(path) as archive:
        named = [entry for entry in archive.infolist() if entry.filename.endswith(f"/extra/{METADATA_FILE}")]
        if named and named[0].file_size > MAX_HEADER:
            raise ValueError(f"it describes itself in {named[0].file_size} bytes; at most {MAX_HEADER} are read")
        metadata = json.loads(archive.read(named[0])) if named else {}

    def opened() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, of TorchScript's age
            return torch.jit.load(path, map_location="cpu").eval()

    return metadata, opened


@dataclass(frozen=True)
class Exported:
    """A format of models for use: how its files end, the usual way first; a file's metadata and how to open it then."""

    suffixes: tuple[str, ...]
    read: Callable[[Path], tuple[dict[str, str], Callable[[], nn.Module]]]


EXPORTED = {
    "onnx": Exported((".onnx",), _onnx),
    "torchscript": Exported((".ts", ".pt"), _torchscript),
}
"""Name -> format; `faceparse.export` writes them."""


def _exported(path: Path) -> Exported | None:
    return next((entry for entry in EXPORTED.values() if path.suffix.lower() in entry.suffixes), None)


def model_for(start: Checkpoint[Segmenter], labels: LabelSet) -> tuple[Segmenter, list[str]]:
    """A model of the same design and weights that tells the classes of `labels`; and the classes new to it.

    Of the head, the part of every class that has the same name in both sets is kept; the other parts are drawn anew.
    """
    known = start.labels.classes
    if labels.classes == known:
        return start.model, []
    model = start.design.build(len(labels))
    fresh = {f"head.{name}": value.clone() for name, value in model.head.state_dict().items()}  # (classes, ...)
    old = start.model.state_dict()
    for name, value in fresh.items():
        for class_id, class_name in enumerate(labels.classes):
            if class_name in known:
                value[class_id] = old[name][known.index(class_name)]
    model.load_state_dict(old | fresh)
    return model, [name for name in labels.classes if name not in known]


_DAMAGED = (
    SafetensorError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,  # deeper JSON than Python reads, too
    LookupError,
    AttributeError,
    TypeError,
    ValueError,  # JSON's too
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
)
"""What the readers below raise for files that are broken, cut short, something else or made to do harm."""


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file's contents becomes one sentence that names it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        yield
    except WrongFormat:
        raise
    except _DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:300]  # a file's own words may be long
        raise ValueError(f"{path}: not a weights file of faceparse, or a damaged one ({reason})") from error


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise WrongFormat(
            f"{path}: format {metadata.get('format', 'unknown')[:20]!r} is not one that this version reads; "
            "weights for use are the .safetensors files that train.py writes, and what faceparse export makes of them"
        )


def _fitting(file: Any, outline: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an open .safetensors file, which take no memory until they are read.

    Raises ValueError unless names and shapes are those of `outline`; floating-point numbers may be of any width.
    """
    if odd := sorted(set(file.keys()) ^ outline.keys()):
        lacking = "the file" if odd[0] in outline else "its design"
        raise ValueError(f"{len(odd)} tensors do not fit, such as {odd[0][:100]!r}, which {lacking} lacks")
    state = {name: file.get_tensor(name) for name in outline}
    for name, value in state.items():
        wanted = outline[name]
        alike = value.dtype == wanted.dtype or (value.is_floating_point() and wanted.is_floating_point())
        if value.shape != wanted.shape or not alike:
            needed, held = (f"{tuple(tensor.shape)} of {tensor.dtype}" for tensor in (wanted, value))
            raise ValueError(f"tensor {name!r}: its design needs {needed}, the file holds {held}")
    return state


def _described(path: Path, metadata: dict[str, str]) -> tuple[Design, LabelSet, Preprocess, dict[str, str]]:
    """What `metadata_of` wrote."""
    _check_format(path, metadata)
    design, numbers = json.loads(metadata["design"]), json.loads(metadata["preprocess"])
    widths = design.pop("widths", None)
    labels = described(json.loads(metadata["labels"]))
    preprocess = Preprocess(int(numbers["size"]), _three(numbers["mean"]), _three(numbers["std"]))
    about = {key: value for key, value in metadata.items() if key not in ("format", "design", "labels", "preprocess")}
    return Design(**design, widths=tuple(widths) if widths else None), labels, preprocess, about


def _three(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write what a training needs to go on: tensors, numbers, strings, lists and dicts, nothing else."""
    data = io.BytesIO()  # a full disk is an OSError for Python alone, not for torch
    torch.save(state, data)
    _write(path, data.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; nothing in it is run. ValueError names a file that is something else."""
    try:
        check_stored(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"a {type(state).__name__}")
        return state
    except (*_DAMAGED, OSError) as error:
        raise ValueError(
            f"{path}: not a training state of train.py, or a damaged one; start anew without it"
        ) from error


def _stored(value: Tensor, half: bool) -> Tensor:
    narrow = half and value.is_floating_point() and value.ndim >= 2
    return value.detach().cpu().to(torch.float16 if narrow else value.dtype).contiguous()


def _loaded(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _write(path: Path, data: bytes | memoryview) -> None:
    """Write and wait until the file is on the disk, so that a rename never outruns its contents."""
    with written_whole(path) as beside, beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
