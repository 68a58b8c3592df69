"""Coverage-guided fuzzing of what reads files from outside, with atheris (the extra `fuzz`):

    python -m tests.fuzz pictures -max_total_time=300
    python -m tests.fuzz weights -max_total_time=300

A finding is any error but the one that the reader promises; it is written to out/fuzz. Whatever else libFuzzer takes
may follow. New files that reach new code go into out/fuzz, too; the corpus in git stays small.
"""

from __future__ import annotations

import json
import math
import random
import struct
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import atheris

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "format1.safetensors"

with atheris.instrument_imports(include=["PIL", "faceparse"]):
    from PIL import Image

    from faceparse import checkpoint, images

    Image.init()  # all that either imports later is to be watched, too
    checkpoint.load(GOLDEN)

FILE = Path(mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "file"


def pictures(data: bytes) -> None:
    """Every reader of pictures takes it, or says why not."""
    FILE.write_bytes(data)
    for read in (images.read_rgb, images.read_mask, images.size_of, images.is_ours):
        try:
            read(FILE)
        except images.UnreadableImage:
            continue


def weights(data: bytes) -> None:
    """A weights file is loaded, or refused in one sentence.

    Of an odd first byte, what follows is the description alone, with the right length before it and the tensors of the
    golden file behind: few changes of a whole file get that far.
    """
    path = FILE.with_suffix(".safetensors")
    header = data[1:]
    path.write_bytes(struct.pack("<Q", len(header)) + header + TENSORS if data[:1] and data[0] % 2 else header)
    try:
        checkpoint.load(path)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and str(path) in str(error)


ODD = (None, True, 0, -1, 3, 4097, 2**31, 2**63, 10**30, 0.5, math.nan, math.inf, "", "x" * 300, "a\nb", [], {}, [[]])
"""What a value of a description is changed to."""


def twisted(value: Any, rng: random.Random) -> Any:
    """JSON with one value changed, at any depth, also in JSON that is text in JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            return json.dumps(twisted(json.loads(value), rng))
    if not isinstance(value, dict | list) or not value or rng.random() < 0.05:
        return rng.choice(ODD)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if rng.random() < 0.1:
        del value[key]
    else:
        value[key] = twisted(value[key], rng)
    return value


def change(data: bytes, largest: int, seed: int) -> bytes:
    """libFuzzer's own changes, or one in the JSON of a description, which stays JSON."""
    rng = random.Random(seed)
    if data[:1] == b"\1" and rng.random() < 0.7:
        with suppress(ValueError, RecursionError):
            return b"\1" + json.dumps(twisted(json.loads(data[1:]), rng)).encode()[: largest - 1]
    return atheris.Mutate(data, largest)


TARGETS: dict[str, Callable[[bytes], None]] = {"pictures": pictures, "weights": weights}

whole = GOLDEN.read_bytes()
(_length,) = struct.unpack("<Q", whole[:8])
TENSORS = whole[8 + _length :]


def seeds() -> list[bytes]:
    """The golden description, and the whole golden file."""
    return [
        b"\1" + whole[8 : 8 + _length],
        b"\0" + whole,
        b"\1" + json.dumps({"__metadata__": {"format": "1"}}).encode(),
    ]


if __name__ == "__main__":
    name, flags = sys.argv[1], sys.argv[2:]
    warnings.simplefilter("ignore")
    images.MAX_PIXELS = Image.MAX_IMAGE_PIXELS = 1 << 20  # large ones take time, and nothing new happens in them
    found = Path("out/fuzz") / name
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds() if name == "weights" else []):
        (found / f"seed{number}").write_bytes(seed)
    corpus = HERE / name
    given = [str(found), *([str(corpus)] if corpus.is_dir() else [])]
    limits = ["-rss_limit_mb=2000", "-timeout=30", f"-artifact_prefix={found.parent}/"]
    own = {"custom_mutator": change} if name == "weights" else {}
    atheris.Setup([sys.argv[0], *limits, *flags, *given], TARGETS[name], **own)
    atheris.Fuzz()
