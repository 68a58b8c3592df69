"""Pictures made to do harm, many in one run of test.py: none ends it, bad ones are named, good ones are right."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceparse import images, predictor
from faceparse.commands import preprocess
from faceparse.commands import test as command
from faceparse.commands.places import find_places
from faceparse.labels import FACE
from faceparse.predictor import Predictor
from tests import hostile
from tests.test_segment import PLAIN, Brightness

SECONDS = 60.0
"""Of processor time that a picture may take at most."""

MEMORY, PEAK = 64 << 20, 2 << 30
"""Bytes by which the process may be larger in the second half of a run than in the first, in the median; and ever."""


class Watching(Predictor):
    """Bright = face; notes memory and processor time whenever it is asked."""

    def __init__(self) -> None:
        super().__init__(Brightness(2), FACE, PLAIN, "cpu")
        self.bytes: list[int] = []
        self.times = [time.process_time()]

    def small(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.times.append(time.process_time())
        self.bytes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        return super().small(pictures)


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def traps(folder: Path) -> set[str]:
    """Things with a picture's name that are no files; their names."""
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "there.png").symlink_to(folder / "back.png")
    (folder / "back.png").symlink_to(folder / "there.png")
    (folder / "nothing.jpg").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.jpg")  # whoever opens it waits for a writer
    here = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind("socket.png")
    os.chdir(here)
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    made = {"loop.png", "there.png", "back.png", "nothing.jpg", "pipe.jpg", "socket.png", "zero.png"}
    if Path("/proc/self/mem").exists():  # can be opened, can't be read
        (folder / "unreadable.png").symlink_to("/proc/self/mem")
        made.add("unreadable.png")
    if os.geteuid():  # root may read everything
        (folder / "locked.png").write_bytes(hostile.good()["good.png"])
        (folder / "locked.png").chmod(0)
        made.add("locked.png")
    return made


def peak() -> int:
    """Bytes that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def size_by_pillow(path: Path) -> tuple[int, int] | None:
    """(width, height) of an upright picture that Pillow can read; None for any other, and for a bomb."""
    try:
        with Image.open(path) as image:
            most = max(images.SMALL_PIXELS, images.PIXELS_PER_BYTE * path.stat().st_size)
            if image.width * image.height > most:
                return None
            image.load()
            return ImageOps.exif_transpose(image).size
    except Exception:  # whatever it is that is wrong
        return None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
@pytest.mark.filterwarnings("ignore::UserWarning")  # pytest undoes the filter of images.py
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.soak)])
def test_hostile_pictures_are_segmented_or_named_and_good_ones_are_right(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    mutated = dict(hostile.mutated(count, seed=count))
    for files in (hostile.good(), hostile.odd(), hostile.bad(), mutated):
        write(folder, files)
    bad = {*hostile.bad(), *traps(folder)}
    watching, before = Watching(), peak()
    monkeypatch.setattr(predictor, "load", lambda *_: watching)
    assert command.main(["--images_path", str(folder), "--save_path", str(out)]) == 1
    told = capfd.readouterr().err
    masks = masks_of(folder, out)
    assert set(masks) == {*hostile.good(), *hostile.odd(), *mutated, *bad}
    for name in bad:
        assert f"error: {folder / name}: cannot be read as a picture (" in told, name
        assert not masks[name].exists(), name
    for name in hostile.good():
        mask = images.read_mask(masks[name])
        assert mask.shape == hostile.HW and (mask[8:, :28] == 0).all() and (mask[8:, 36:] == 255).all(), name
    for name in (*hostile.odd(), *mutated):
        size = size_by_pillow(folder / name)
        if size is None:
            assert f"error: {folder / name}: cannot be read as a picture (" in told, name
        assert masks[name].exists() == (size is not None), name
        assert size is None or images.size_of(masks[name]) == size[::-1], name
    assert max(np.diff(watching.times)) < SECONDS
    first, second = np.array_split(watching.bytes, 2)
    assert np.median(second) - np.median(first) < MEMORY
    assert peak() <= max(before, PEAK)


def masks_of(folder: Path, out: Path) -> dict[str, Path]:
    """Name of a picture -> its mask, when `out` was empty before the run."""
    places = find_places([str(folder)], False, out.with_name("empty"), None)
    return {place.picture.name: out / place.mask.name for place in places}


def test_a_pattern_follows_no_links_that_lead_upwards(tmp_path: Path) -> None:
    write(tmp_path / "in/x", {"a.png": hostile.good()["good.png"]})
    for name in ("in/x/up", "in/x/up_too", "in/round"):
        (tmp_path / name).symlink_to(tmp_path / "in", target_is_directory=True)
    for pattern in ("in/**/*.png", "in/**", "**/x/*.png", "in/x/**/a*"):
        assert images.list_images(tmp_path / pattern) == [tmp_path / "in/x/a.png"]
    assert images.list_images(tmp_path / "in", recursive=True) == [tmp_path / "in/x/a.png"]


def test_parts_that_are_pipes_or_devices_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "anno"
    write(folder, {"1_skin.png": hostile.good()["good.png"]})
    os.mkfifo(folder / "2_skin.png")
    (folder / "3_skin.png").symlink_to("/dev/zero")
    flags = ["--masks_parts", str(folder), "--output_mask", str(tmp_path / "masks"), "--workers", "1"]
    assert preprocess.main(flags) == 1
    told = capsys.readouterr().err
    for number in (2, 3):
        reason = "cannot be read as a picture (it is a pipe, a socket or a device)"
        assert f"no mask: {folder / f'{number}_skin.png'}: {reason}" in told
    assert [path.name for path in images.list_images(tmp_path / "masks")] == ["1.png"]


def test_a_path_of_300_characters_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{'x' * 296}.jpg"
    assert command.main(["--images_path", str(tmp_path / name), "--save_path", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and name in told and told.count("\n") == 1
