"""What an ONNX file says of itself and what it would do, read without ONNX Runtime, which would take it at its word."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

MAX_FIELDS = 1 << 18
"""Most fields that are read, about half a second's work; that of swin_tiny, of 9000 operators, has a third of it."""

_OPERATORS = """
    Abs Acos Add And Asin Atan AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather
    GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish
    Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
    MatMul Max MaxPool Min Mish Mod Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round ScatterElements ScatterND Selu
    Shape Sigmoid Sign Sin Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    ThresholdedRelu Tile Transpose Trilu Unsqueeze Where
"""

OPERATORS = frozenset(_OPERATORS.split())
"""What networks of pictures are made of, each run once. Loop, Scan and If, which hold graphs of their own, are not."""

# Message -> its fields by number, as onnx.proto has them, and what is inside: another message, or text that is asked
# for. What is absent makes a file refused: functions, graphs inside graphs, numbers outside the file or only claimed.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": dict.fromkeys((1, 2, 3, 4, 5, 6, 8), "") | {7: "graph", 14: "property"},
    "property": {1: "key", 2: "value"},
    "graph": dict.fromkeys((2, 10, 11, 12, 13, 14, 16), "") | {1: "node", 5: "tensor"},
    "node": dict.fromkeys((1, 2, 3, 6, 8, 9), "") | {4: "operator", 5: "attribute", 7: "domain"},
    "attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), "") | {5: "tensor", 10: "tensor"},
    "tensor": dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16), ""),
}


def described(data: bytes) -> dict[str, str]:
    """The metadata of an ONNX file. Raises ValueError for what is none, and for one that an export does not make."""
    texts: dict[str, list[str]] = {"key": [], "value": []}
    for name, text in _texts("model", memoryview(data), count()):
        if (name == "operator" and text not in OPERATORS) or (name == "domain" and text not in ("", "ai.onnx")):
            raise ValueError(f"it has the {name} {text[:40]!r}, which is not among those that are run")
        if name in texts:
            texts[name].append(text)
    return dict(zip(texts["key"], texts["value"], strict=True))


def _texts(message: str, data: memoryview, number: Iterator[int]) -> Iterator[tuple[str, str]]:
    """The texts of a message that are asked for, and of those inside, with their names; `number` counts the fields."""
    for field, value in _fields(data):
        if next(number) == MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")
        inside = _MESSAGES[message].get(field)
        if inside is None:
            raise ValueError(f"its {message} has field {field}, which faceparse export never writes; export it anew")
        if inside in _MESSAGES:
            yield from _texts(inside, value, number)
        elif inside:
            yield inside, str(value, "utf-8")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field of a message: https://protobuf.dev/programming-guides/encoding."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        start = at
        match key & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                size, start = _varint(data, at)
                at = start + size
            case 5:
                at += 4
            case kind:
                raise ValueError(f"a field of the unknown kind {kind}")
        if at > len(data):
            raise ValueError("it ends early")
        yield key >> 3, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The whole number that begins there, seven bits a byte, and where it has ended."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("it ends early")
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")
