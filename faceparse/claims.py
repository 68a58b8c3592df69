"""What a file of weights claims, compared with what it holds, before what reads it takes memory for that."""

from __future__ import annotations

import zipfile
from pathlib import Path

MAX_HEADER = 1 << 22
"""Most bytes of a file's description of itself; that of the largest models has a tenth of it."""


def check_header(path: Path) -> None:
    """ValueError for a .safetensors file of which the description would take long to read, if it is there at all."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header would be of {length} bytes; at most {MAX_HEADER} are read")


def check_stored(path: Path) -> None:
    """ValueError for an archive that may unpack to more than it is; torch packs nothing. BadZipFile for no archive."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are packed, and could be of any size; write it again with torch.save")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries claim more bytes than it has; write it again with torch.save")
