"""Weights files made to do harm: one sentence with the file's name, in little time and memory; and old files load."""

from __future__ import annotations

import json
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from faceparse import checkpoint
from faceparse.checkpoint import METADATA_FILE
from faceparse.claims import MAX_HEADER
from faceparse.labels import LabelSet
from faceparse.models.encoders import create_encoder
from faceparse.models.outline import outlined
from faceparse.models.weights import read_state
from faceparse.onnx_file import MAX_FIELDS
from faceparse.transforms import MAX_SIZE, Preprocess

GOLDEN = Path(__file__).with_name("golden")

FRUIT = LabelSet(
    "fruit",
    ("background", "left_pear", "right_pear"),
    ((0, 0, 0), (10, 200, 30), (200, 10, 30)),
    (("left_pear", "right_pear"),),
)

SECONDS = 1.0
"""Of processor time in which a hostile file is refused."""

MEMORY = 128 << 20
"""Bytes by which refusing one may grow the process: Python's and torch's own for a design without memory."""

Header = dict[str, Any]
Change = Callable[[Header], None]


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What the first loading imports is not counted."""
    checkpoint.load(GOLDEN / "format1.safetensors")
    with outlined():
        create_encoder("vit_giant_patch14_clip_224")


def golden_header() -> tuple[Header, bytes]:
    """The header of the golden file, and the bytes after it."""
    data = (GOLDEN / "format1.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path: Path, header: Header | bytes, tensors: bytes, length: int | None = None) -> Path:
    """A .safetensors file by hand; `length` is what it says of its header's."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + tensors)
    return path


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def refused(path: Path, read: Callable[[Path], object] = checkpoint.load) -> str:
    """The one sentence that a file ends in, within `SECONDS` and `MEMORY`."""
    before, start = peak_bytes(), time.process_time()
    with pytest.raises(ValueError, match=path.name) as caught:
        read(path)
    assert time.process_time() - start < SECONDS
    assert peak_bytes() - before < MEMORY
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 600 + len(str(path))
    return sentence


def described(key: str, **changes: Any) -> Change:
    """Changes a part of the header's JSON: `design`, `labels` or `preprocess`."""

    def change(header: Header) -> None:
        about = header["__metadata__"]
        about[key] = json.dumps(json.loads(about[key]) | changes)

    return change


def tensor(name: str, **changes: Any) -> Change:
    """Changes what the header says of a tensor."""

    def change(header: Header) -> None:
        header[name] |= changes

    return change


# the golden file


def test_a_file_of_format_1_still_loads_and_answers_as_it_did() -> None:
    loaded = checkpoint.load(GOLDEN / "format1.safetensors")
    assert loaded.design == checkpoint.Design("pspnet", "test_byobnet.r160_in1k", widths=(4,))
    assert loaded.labels == FRUIT
    assert loaded.preprocess == Preprocess(64, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert loaded.about == {"licence": "CC0-1.0", "data": "none: drawn weights"}
    image = torch.sin(torch.arange(3 * 48 * 64) / 50).view(1, 3, 48, 64)
    with torch.inference_mode():
        logits = loaded.model(image)
    seen = torch.tensor(
        [
            [[0.1107, 0.0902], [0.2568, 0.3223]],
            [[0.2943, 0.1112], [0.2792, 0.1297]],
            [[0.0827, -0.0876], [-0.0808, -0.1921]],
        ]
    )
    assert torch.allclose(logits[0, :, ::24, ::40], seen, atol=1e-3)


# the file as a container


@pytest.mark.parametrize("length", [2**60, 2**63, 2**64 - 1, 10**9, MAX_HEADER + 1])
def test_a_header_longer_than_any_is_not_read(tmp_path: Path, length: int) -> None:
    header, tensors = golden_header()
    assert f"its header would be of {length} bytes" in refused(
        write(tmp_path / "w.safetensors", header, tensors, length)
    )


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    data = (GOLDEN / "format1.safetensors").read_bytes()
    path = tmp_path / "w.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    refused(path)


@pytest.mark.parametrize(
    "change",
    [
        tensor("head.bias", data_offsets=[0, 6]),  # where another tensor lies
        tensor("head.bias", data_offsets=[6, 0]),
        tensor("head.bias", data_offsets=[-6, 0]),
        tensor("head.bias", data_offsets=[2**62, 2**62 + 6]),
        tensor("head.bias", data_offsets=[0, 2**64]),
        tensor("head.bias", shape=[2**40]),
        tensor("head.bias", shape=[2**32, 2**32]),
        tensor("head.bias", shape=[-3]),
        tensor("head.bias", shape=[1] * 100_000 + [3]),
        tensor("head.bias", shape=[0, 2**62]),
        tensor("head.bias", dtype="Q7"),
        tensor("head.bias", dtype=["F32"] * 1000),
        lambda header: header.update(
            {"\n".join(["x"] * 10_000): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
        ),
        lambda header: header.update(
            {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
        ),
    ],
)
def test_tensors_that_are_not_what_the_header_says_are_refused(tmp_path: Path, change: Change) -> None:
    header, tensors = golden_header()
    change(header)
    refused(write(tmp_path / "w.safetensors", header, tensors))


def test_a_tensor_that_is_named_twice_is_refused_or_is_one_of_the_two(tmp_path: Path) -> None:
    header, tensors = golden_header()
    text = json.dumps(header).encode()
    second = b', "head.bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}'
    refused(write(tmp_path / "w.safetensors", text[:-1] + second, tensors))


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b'{"a":' * 200_000, b"{", b"null", b"\xff" * 100, b'{"__metadata__": 3}']
)
def test_a_header_that_is_no_json_object_is_refused(tmp_path: Path, text: bytes) -> None:
    refused(write(tmp_path / "w.safetensors", text, b""))


# what it says of itself


@pytest.mark.parametrize("key", ["design", "labels", "preprocess"])
@pytest.mark.parametrize("text", ["", "[" * 1_000_000, '{"a":' * 200_000, "9" * 1_000_000, "null", "[]", '"x"', "{}"])
def test_a_description_that_is_no_json_of_ours_is_refused(tmp_path: Path, key: str, text: str) -> None:
    header, tensors = golden_header()
    header["__metadata__"][key] = text
    refused(write(tmp_path / "w.safetensors", header, tensors))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "pspnot"}, "unknown architecture"),
        ({"architecture": "x" * 1_000_000}, "unknown architecture"),
        ({"architecture": ["pspnet"]}, "unhashable"),
        ({"encoder": "resnot18"}, "unknown encoder"),
        ({"encoder": "x\n" * 100_000}, "unknown encoder"),
        ({"encoder": 18}, ""),
        ({"encoder": "hf-hub:timm/resnet18.a1_in1k"}, "unknown encoder"),
        ({"encoder": "local-dir:/tmp"}, "unknown encoder"),
        ({"encoder": "resnet18./folder/resnet18"}, "unknown encoder"),
        ({"encoder": "resnet18d.hf-hub:timm/resnet18"}, "unknown encoder"),
        ({"encoder": "test_byobnet.no_such_weights"}, ""),
        ({"encoder": "vit_giant_patch14_clip_224", "architecture": "deeplabv3", "output_stride": 32}, "do not fit"),
        ({"encoder": "swinv2_cr_giant_224", "architecture": "fpn", "widths": None}, "do not fit"),
        ({"encoder": "convnext_xxlarge"}, "do not fit"),
        ({"widths": [1_000_000]}, "its design needs (1000000, 128, 1, 1)"),
        ({"widths": [10**30]}, ""),
        ({"widths": [1] * 100_000}, "widths"),
        ({"widths": [1.5]}, ""),
        ({"widths": [-4]}, "widths"),
        ({"widths": "4"}, ""),
        ({"output_stride": 2**70}, "output stride"),
        ({"output_stride": "8"}, ""),
        ({"convention": "mine"}, "unknown convention"),
        ({"encoder_weights": "/etc/passwd"}, "encoder_weights"),
    ],
)
def test_a_design_that_is_not_that_of_the_weights_is_refused_unbuilt(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    header, tensors = golden_header()
    described("design", **changes)(header)
    assert said in refused(write(tmp_path / "w.safetensors", header, tensors))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["x"] * 500_000}, "500000 classes"),
        (
            {"classes": [str(i) for i in range(200)], "colours": [[0, 0, 0]] * 200, "mirrors": []},
            "its design needs (200, 4, 3, 3)",
        ),
        ({"classes": [str(i) for i in range(256)], "colours": [[0, 0, 0]] * 256}, "256 classes"),
        ({"classes": [str(i) for i in range(1_000_000)]}, "its header would be of"),
        ({"classes": []}, "0 classes"),
        ({"classes": 3}, ""),
        ({"classes": ["a", "a", "b"]}, "different names"),
        ({"classes": ["a", "b", None]}, "different names"),
        ({"classes": ["a", "b", "c" * 1_000_000]}, "different names"),
        ({"name": "n" * 1_000_000}, "different names"),
        ({"name": 7}, "different names"),
        ({"colours": [[0, 0, 0]]}, "3 classes with 1 colours"),
        ({"colours": [[0, 0, 256]] * 3}, "colours are"),
        ({"colours": [[0, 0, 0.5]] * 3}, "colours are"),
        ({"colours": [[0, 0]] * 3}, ""),
        ({"mirrors": [["left_pear", "right_pear"]] * 100_000}, "100000 mirrored pairs"),
        ({"mirrors": [["left_pear", "left_pear"]]}, "mirrors are"),
        ({"mirrors": [["left_pear", "plum"]]}, "mirrors are"),
    ],
)
def test_labels_that_can_not_be_are_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    header, tensors = golden_header()
    described("labels", **changes)(header)
    assert said in refused(write(tmp_path / "w.safetensors", header, tensors))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 10**9},
        {"size": MAX_SIZE + 1},
        {"size": 10**400},
        {"size": float("inf")},
        {"size": float("nan")},
        {"size": -1},
        {"mean": [float("nan"), 0, 0]},
        {"mean": [0, 1e9, 0]},
        {"mean": [0] * 1_000_000},
        {"std": [float("inf"), 1, 1]},
        {"std": [1, float("nan"), 1]},
        {"std": [1, 1, 1e-30]},
        {"std": [1, 1, -1]},
        {"std": "abc"},
    ],
)
def test_pictures_are_not_brought_to_what_they_can_not_be(tmp_path: Path, changes: dict[str, object]) -> None:
    header, tensors = golden_header()
    described("preprocess", **changes)(header)
    refused(write(tmp_path / "w.safetensors", header, tensors))


def test_tensors_of_another_shape_or_kind_are_refused_by_name(tmp_path: Path) -> None:
    header, tensors = golden_header()
    name = "head.weight"
    assert header[name]["shape"] == [3, 4, 3, 3]
    tensor(name, shape=[4, 3, 3, 3])(header)
    sentence = refused(write(tmp_path / "turned.safetensors", header, tensors))
    assert "'head.weight': its design needs (3, 4, 3, 3) of torch.float32" in sentence
    tensor(name, shape=[3, 4, 3, 3], dtype="I16")(header)
    sentence = refused(write(tmp_path / "whole.safetensors", header, tensors))
    assert "the file holds (3, 4, 3, 3) of torch.int16" in sentence
    del header["__metadata__"]
    assert "format 'unknown'" in refused(write(tmp_path / "mute.safetensors", header, tensors))
    header["__metadata__"] = {"format": "9" * 1_000_000}
    assert "format '99999999999999999999'" in refused(write(tmp_path / "new.safetensors", header, tensors))


def test_a_torchscript_archive_whose_description_unpacks_to_more_than_any_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.ts", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"w/extra/{METADATA_FILE}", b" " * (MAX_HEADER + 1))
    with pytest.raises(ValueError, match=r"w.ts: .*it describes itself in 4194305 bytes; at most 4194304 are read"):
        checkpoint.load_for_use(tmp_path / "w.ts")


# ONNX


def onnx_file(path: Path, nodes: list[Any], tensors: list[Any], functions: list[Any] | None = None) -> Path:
    """A graph that says of itself what the golden file says; what it makes of the picture is called `logits`."""
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [logits], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions or [])
    helper.set_model_props(model, golden_header()[0]["__metadata__"])
    path.write_bytes(model.SerializeToString())
    return path


def node(operator: str, *inputs: str, output: str = "large", **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(operator, list(inputs), [output], **attributes)


def whole_numbers(name: str, *values: int) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def rest() -> list[Any]:
    """Logits of three classes from a picture and whatever `large` is."""
    return [node("ReduceMax", "large", output="most", keepdims=0), node("Add", "image", "most", output="logits")]


@pytest.fixture
def onnx_ready(tmp_path: Path) -> None:
    """The graph that the others are made of is taken; and what the first one imports is not counted."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "good.onnx", [node("Relu", "image"), *rest()], [])
    assert (
        checkpoint.load_for_use(path).model(torch.ones(1, 3, 40, 50)).tolist() == torch.full((1, 3, 40, 50), 2).tolist()
    )


@pytest.mark.usefixtures("onnx_ready")
@pytest.mark.parametrize("large", ["constant", "expanded", "resized", "tiled", "padded", "doubled", "outer product"])
def test_an_onnx_graph_takes_no_more_memory_than_its_file_lets_expect(tmp_path: Path, large: str) -> None:
    from onnx import TensorProto, helper

    doubled = [node("Concat", *[f"x{i}"] * 2, output=f"x{i + 1}", axis=0) for i in range(24)]
    nodes, tensors = {
        "constant": ([node("ConstantOfShape", "n")], [whole_numbers("n", 600, 1000, 1000)]),
        "expanded": ([node("Expand", "image", "n")], [whole_numbers("n", 200_000, 3, 32, 32)]),
        "resized": (
            [node("Resize", "image", "", "n", mode="nearest")],
            [helper.make_tensor("n", TensorProto.FLOAT, [4], [1, 1, 500, 500])],
        ),
        "tiled": ([node("Tile", "image", "n")], [whole_numbers("n", 200_000, 1, 1, 1)]),
        "padded": ([node("Pad", "image", "n")], [whole_numbers("n", 0, 0, 0, 0, 200_000, 0, 0, 0)]),
        "doubled": (
            [node("Identity", "image", output="x0"), *doubled, node("Identity", "x24")],
            [],
        ),
        "outer product": (
            [
                node("Reshape", "image", "column", output="left"),
                node("Reshape", "image", "row", output="right"),
                node("Concat", *["left"] * 9, output="lefts", axis=0),
                node("Concat", *["right"] * 9, output="rights", axis=1),
                node("MatMul", "lefts", "rights"),
            ],
            [whole_numbers("column", -1, 1), whole_numbers("row", 1, -1)],
        ),
    }[large]
    path = onnx_file(tmp_path / "w.onnx", [*nodes, *rest()], tensors)
    assert path.stat().st_size < 4096
    refused(path, checkpoint.load_for_use)


@pytest.mark.usefixtures("onnx_ready")
def test_a_small_onnx_graph_that_never_ends_is_not_begun(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [node("Identity", "go", output="on"), node("Add", "x", "x", output="y")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    loop = node("Loop", "turns", "true", "image", body=body)
    path = onnx_file(tmp_path / "w.onnx", [loop, *rest()], [whole_numbers("turns", 200_000_000_000), true])
    said = refused(path, checkpoint.load_for_use)
    assert "it has the operator 'Loop', which is not among those that are run" in said


@pytest.mark.usefixtures("onnx_ready")
def test_an_onnx_graph_of_many_slow_steps_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "TRIAL_SECONDS", 0.3)
    wide = [node("Expand", "image", "n", output="x0"), whole_numbers("n", 1000, 3, 32, 32)]
    steps = [node("Erf", f"x{i}", output=f"x{i + 1}") for i in range(1000)]
    path = onnx_file(tmp_path / "w.onnx", [wide[0], *steps, node("Identity", "x1000"), *rest()], wide[1:])
    assert "terminate" in refused(path, checkpoint.load_for_use)


@pytest.mark.usefixtures("onnx_ready")
def test_an_onnx_file_has_its_numbers_inside_and_no_functions_and_no_operators_of_others(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    claimed = TensorProto(name="large", dims=[600, 1000, 1000], data_type=TensorProto.FLOAT, raw_data=b"")
    refused(onnx_file(tmp_path / "claimed.onnx", rest(), [claimed]), checkpoint.load_for_use)
    claimed.data_location = TensorProto.EXTERNAL
    claimed.external_data.add(key="location", value="secret")
    said = refused(onnx_file(tmp_path / "outside.onnx", rest(), [claimed]), checkpoint.load_for_use)
    assert "its tensor has field 13, which faceparse export never writes" in said
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]), whole_numbers("i", 5), [600_000_000]
    )
    said = refused(
        onnx_file(tmp_path / "sparse.onnx", [node("Constant", sparse_value=sparse), *rest()], []),
        checkpoint.load_for_use,
    )
    assert "its attribute has field 22" in said
    inside = [helper.make_node("Identity", ["a"], ["b"])]
    function = helper.make_function("ours", "Mine", ["a"], ["b"], inside, [helper.make_opsetid("", 17)])
    mine = node("Mine", "image", domain="ours")
    said = refused(onnx_file(tmp_path / "function.onnx", [mine, *rest()], [], [function]), checkpoint.load_for_use)
    assert "operator 'Mine'" in said
    relu = node("Relu", "image", domain="ours")
    said = refused(onnx_file(tmp_path / "domain.onnx", [relu, *rest()], []), checkpoint.load_for_use)
    assert "it has the domain 'ours'" in said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x08", "it ends early"),
        (b"\x3a\x7f\x00", "it ends early"),
        (b"\x08" + b"\xff" * 20, "a number of more than ten bytes"),
        (b"\x0b", "a field of the unknown kind 3"),
        (b"\x08\x08" * (MAX_FIELDS + 1), f"it has more than {MAX_FIELDS} fields"),
    ],
)
def test_what_is_no_onnx_file_is_refused_unread(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "w.onnx").write_bytes(data)
    assert said in refused(tmp_path / "w.onnx", checkpoint.load_for_use)


# states of a training


def test_a_training_state_that_unpacks_to_more_than_the_file_is_refused(tmp_path: Path) -> None:
    checkpoint.save_state(tmp_path / "good.pt", {"weights": torch.zeros(1 << 22)})
    assert checkpoint.load_state(tmp_path / "good.pt")["weights"].shape == (1 << 22,)
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "packed.pt", "w") as packed:
        for entry in good.infolist():
            packed.writestr(entry.filename, good.read(entry), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "packed.pt").stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"packed.pt: not a training state"):
        checkpoint.load_state(tmp_path / "packed.pt")


# weights of others


def test_others_weights_that_would_take_more_than_the_file_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1 << 22)}, tmp_path / "good.pth")
    assert read_state(tmp_path / "good.pth")["weight"].shape == (1 << 22,)
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "packed.pth", "w") as packed:
        for entry in good.infolist():
            packed.writestr(entry.filename, good.read(entry), zipfile.ZIP_DEFLATED)
    said = refused(tmp_path / "packed.pth", read_state)
    assert "(its entries are packed, and could be of any size; write it again with torch.save)" in said
    header, tensors = golden_header()
    said = refused(write(tmp_path / "w.safetensors", header, tensors, 2**40), read_state)
    assert f"(its header would be of {2**40} bytes; at most {MAX_HEADER} are read)" in said
    torch.save({"weight": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_state(tmp_path / "old.pth")["weight"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("value", [[1, 2], torch.zeros(3), None])
def test_a_training_state_is_a_table(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w.pt: not a training state"):
        checkpoint.load_state(tmp_path / "w.pt")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_training_state_cut_short_or_changed_is_refused(tmp_path: Path, share: float) -> None:
    checkpoint.save_state(tmp_path / "w.pt", {"epoch": 3, "weights": torch.zeros(100)})
    data = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"w.pt: not a training state"):
        checkpoint.load_state(tmp_path / "w.pt")
