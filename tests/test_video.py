"""Videos and cameras: what is kept of a file, what is written, how calm it is, and how it ends."""

from __future__ import annotations

import errno
import os
import re
import signal
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import faceparse
from faceparse import images, predictor, video
from faceparse.commands import test as command
from faceparse.commands.places import find_video_places
from faceparse.commands.video import no_window, told_apart, video_source
from faceparse.cutout import Background
from faceparse.devices import one_thread_each
from faceparse.labels import FACE, HAIR, LabelSet
from faceparse.parallel import ahead
from faceparse.predictor import Predictor
from faceparse.video import Answer, Camera, Frame, Smoother, UnreadableVideo, VideoFile, segment_frames, segment_video
from tests.test_segment import PLAIN, Brightness

av = pytest.importorskip("av")


@pytest.fixture(autouse=True)
def bright_is_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "load", lambda *_: answering())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def answering(labels: LabelSet = FACE) -> Predictor:
    """A network whose answer is known: bright = face."""
    return Predictor(Brightness(len(labels)), labels, PLAIN, "cpu")


def picture(number: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    """Dark, with a bright bar down the middle and a top row of blocks that tells the number."""
    image = np.full((height, width, 3), 20, np.uint8)
    image[:, width // 4 : width // 2] = 235
    image[: height // 4, width * 3 // 4 :] = 4 * number
    return image


def record(
    path: Path,
    count: int = 12,
    rate: Fraction = Fraction(30),
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    sound: str = "",
    sound_seconds: float = 0.4,
    turn: int = 0,
    times: tuple[int, ...] = (),
    rate_of_sound: int = 48000,
    aspect: Fraction = Fraction(1),
) -> Path:
    """A video of `picture`s, with a tone where `sound` names a codec; `times` are the frames' in units of 1 / rate.

    `aspect` is a pixel's width over its height.
    """
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
        stream.codec_context.sample_aspect_ratio = aspect
        track = file.add_stream(sound, rate_of_sound) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")
            frame.pts, frame.time_base = times[number] if times else number, 1 / rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if track:
            tone = np.sin(np.arange(round(rate_of_sound * sound_seconds)) * 0.05) * 8000
            heard = av.AudioFrame.from_ndarray(np.repeat(tone.astype(np.int16), 2)[None], "s16", "stereo")
            heard.sample_rate, heard.pts, heard.time_base = rate_of_sound, 0, Fraction(1, rate_of_sound)
            file.mux(track.encode(heard))
            file.mux(track.encode(None))
    if turn:
        ask_to_turn(path, turn)
    return path


def ask_to_turn(path: Path, degrees: int) -> None:
    """Let an MP4 ask its player for a turn, counterclockwise, as telephones do: PyAV can from version 18 on."""
    a, b = {90: (0, -1), -90: (0, 1), 180: (-1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    struct.pack_into(">5i", data, data.index(b"tkhd") + 44, a << 16, b << 16, 0, -b << 16, a << 16)
    path.write_bytes(data)


def frames_of(path: Path) -> list[Frame]:
    return list(VideoFile(path))


def segment(source: Path | str, save_path: Path, *flags: str) -> int:
    return command.main(["--images_path", str(source), "--save_path", str(save_path), *flags])


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# what is kept


@pytest.mark.parametrize(
    ("name", "rate", "codec"),
    [
        ("a.mp4", Fraction(30000, 1001), "libx264"),
        ("a.mkv", Fraction(30), "libx264"),
        ("a.avi", Fraction(25), "mpeg4"),
        ("a.webm", Fraction(24), "libvpx-vp9"),
    ],
)
def test_size_rate_and_number_of_frames_are_kept(tmp_path: Path, name: str, rate: Fraction, codec: str) -> None:
    source = record(tmp_path / name, rate=rate, codec=codec)
    assert segment(source, tmp_path / "out", "--overlay", "--background", "#00ff00") == 0
    assert segment(source, tmp_path / "out", "--background", "transparent") == 0
    assert files(tmp_path / "out") == ["a.mp4", "a_cutout.mp4", "a_cutout.webm", "a_overlay.mp4"]
    for file in (tmp_path / "out").iterdir():
        assert VideoFile(file).rate == rate
        frames = frames_of(file)
        assert [frame.time for frame in frames] == [number / rate for number in range(12)]
        assert frames[0].image.shape == (48, 64, 3)
    mask = frames_of(tmp_path / "out/a.mp4")[5].image
    assert (mask[20:, 18:30] > 250).all()
    assert (mask[20:, :14] < 5).all()
    assert (mask[20:, 34:] < 5).all()
    cutout = frames_of(tmp_path / "out/a_cutout.mp4")[5].image
    assert np.abs(cutout[24, 60].astype(int) - (0, 255, 0)).max() <= 4
    assert np.abs(cutout[24, 24].astype(int) - 235).max() <= 8


def test_a_picture_file_is_laid_behind_every_frame(tmp_path: Path) -> None:
    scene = np.full((20, 80, 3), (0, 0, 255), np.uint8)
    scene[:, 40:] = (0, 255, 0)  # of 80x20, scaled to 192x48, the middle 64 columns are seen: half blue, half green
    images.write_rgb(tmp_path / "scene.png", scene)
    source = record(tmp_path / "a.mp4", count=4)
    assert segment(source, tmp_path / "out", "--background", str(tmp_path / "scene.png")) == 0
    assert files(tmp_path / "out") == ["a.mp4", "a_cutout.mp4"]
    frames = [frame.image.astype(int) for frame in frames_of(tmp_path / "out/a_cutout.mp4")]
    assert len(frames) == 4
    for image in frames:
        for column, colour in ((4, (0, 0, 255)), (24, (235, 235, 235)), (60, (0, 255, 0))):
            assert np.abs(image[24, column] - colour).max() <= 8


def test_a_bar_counts_the_frames_of_a_video_and_quiet_hides_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = record(tmp_path / "a.mp4")
    assert segment(source, tmp_path / "out") == 0
    assert re.search(r"100%.* 12/12 .*frame/s", capsys.readouterr().err)
    assert segment(source, tmp_path / "out", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    assert segment(record(tmp_path / "a.mp4", size=(33, 47)), tmp_path / "out", "--background", "transparent") == 0
    assert frames_of(tmp_path / "out/a.mp4")[0].image.shape == (33, 47, 3)
    assert frames_of(tmp_path / "out/a_cutout.webm")[0].image.shape == (33, 47, 3)


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_a_turned_video_is_written_as_it_is_shown(tmp_path: Path, turn: int) -> None:
    assert segment(record(tmp_path / "a.mp4", turn=turn), tmp_path / "out") == 0
    mask = frames_of(tmp_path / "out/a.mp4")[0].image[..., 0]
    upright = np.rot90(picture()[..., 0] > 128, turn // 90)  # FFmpeg turns counterclockwise
    assert mask.shape == upright.shape
    assert ((mask > 128) == upright).mean() > 0.95


@pytest.mark.parametrize(("turn", "size", "aspect"), [(0, (48, 64), Fraction(2)), (90, (64, 48), Fraction(1, 2))])
def test_pixels_that_are_not_square_stay_so_and_a_webm_plays_as_wide(
    tmp_path: Path, turn: int, size: tuple[int, int], aspect: Fraction
) -> None:
    source = record(tmp_path / "a.mp4", turn=turn, aspect=Fraction(2))
    paths = [tmp_path / "mask.mp4", tmp_path / "mask.webm"]
    segment_video(source, answering(), dict.fromkeys(paths, video.mask_view))
    written = [frames_of(path)[5] for path in paths]
    assert [frame.aspect for frame in written] == [aspect, 1]
    assert [frame.image.shape[:2] for frame in written] == [size, (size[0], size[1] * aspect)]
    across = written[1].image[size[0] // 2 :].mean(axis=(0, 2)) > 128
    assert turn or np.flatnonzero(across).tolist() == pytest.approx(range(32, 64), abs=2)  # the bar: second quarter


@pytest.mark.parametrize("aspect", [Fraction(1000), Fraction(1, 1000)])
def test_an_absurd_shape_of_pixels_is_not_believed(tmp_path: Path, aspect: Fraction) -> None:
    assert {frame.aspect for frame in VideoFile(record(tmp_path / "a.mp4", aspect=aspect))} == {1}


def test_the_network_sees_pixels_that_are_not_square_as_a_viewer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = answering(), []
    small = network.small
    monkeypatch.setattr(network, "small", lambda pictures: seen.extend(pictures) or small(pictures))
    (answer,) = segment_frames([Frame(picture(0, 64, 64), Fraction(0), Fraction(2))], network)
    assert seen[0].shape == (32, 64, 3)
    assert answer.mask.shape == (64, 64)
    assert (answer.mask[16:, 16:32] == 255).all()


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = (0, 1, 2, 7, 8, 20)
    source = record(tmp_path / "a.mp4", count=6, rate=Fraction(25), times=times)
    assert segment(source, tmp_path / "out") == 0
    assert [frame.time for frame in frames_of(source)] == [Fraction(time, 25) for time in times]
    written = [float(frame.time) for frame in frames_of(tmp_path / "out/a.mp4")]
    assert written == pytest.approx([time / 25 for time in times], abs=1e-3)


def test_colours_are_kept(tmp_path: Path) -> None:
    """Once written and twice read and written, a colour is itself but for rounding."""
    assert segment(record(tmp_path / "a.mp4"), tmp_path / "once", "--background", "#c8285a") == 0
    assert segment(tmp_path / "once/a_cutout.mp4", tmp_path / "twice", "--overlay") == 0
    for file in ("once/a_cutout.mp4", "twice/a_cutout_overlay.mp4"):
        assert np.abs(frames_of(tmp_path / file)[3].image[30, 60].astype(int) - (200, 40, 90)).max() <= 3


# sound


def packets(path: Path) -> list[bytes]:
    with av.open(path) as file:
        return [bytes(packet) for packet in file.demux(file.streams.audio[0]) if packet.dts is not None]


def seconds_of_sound(path: Path) -> float:
    with av.open(path) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


def test_sound_is_copied_bit_by_bit_and_may_outlast_the_pictures(tmp_path: Path) -> None:
    source = record(tmp_path / "a.mp4", sound="aac", sound_seconds=1.0)  # beside 0.4 s of pictures
    assert segment(source, tmp_path / "out", "--overlay") == 0
    assert packets(tmp_path / "out/a.mp4") == packets(source) == packets(tmp_path / "out/a_overlay.mp4")


@pytest.mark.parametrize(("name", "sound"), [("a.mkv", "pcm_s16le"), ("a.ts", "mp2"), ("a.webm", "libopus")])
def test_sound_that_the_other_file_can_not_hold_is_coded_anew(tmp_path: Path, name: str, sound: str) -> None:
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    source = record(tmp_path / name, sound=sound, codec=codec)
    assert segment(source, tmp_path / "out", "--background", "transparent") == 0
    for file in ("a.mp4", "a_cutout.webm"):
        assert seconds_of_sound(tmp_path / "out" / file) == pytest.approx(0.4, abs=0.06)


def test_broken_sound_is_told_and_costs_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(_: object) -> Iterator[None]:
        raise av.error.InvalidDataError(1, "Invalid data")
        yield

    source = record(tmp_path / "a.mp4", sound="aac")
    monkeypatch.setattr(video._Sound, "_copied", breaking)
    with pytest.raises(UnreadableVideo, match="a.mp4: its sound is broken and ends early"):
        segment_video(source, answering(), {tmp_path / "mask.mp4": video.mask_view})
    assert len(frames_of(tmp_path / "mask.mp4")) == 12


# transparency and frames


def test_a_transparent_video_has_an_alpha(tmp_path: Path) -> None:
    assert segment(record(tmp_path / "a.mp4"), tmp_path / "out", "--background", "transparent") == 0
    with av.open(tmp_path / "out/a_cutout.webm") as file:
        stream = file.streams.video[0]
        assert b"\x53\xc0\x81\x01" in (tmp_path / "out/a_cutout.webm").read_bytes()[:1000]  # AlphaMode: 1
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own leaves alpha out
        decoder.extradata = stream.codec_context.extradata
        frame = next(frame for packet in file.demux(stream) for frame in decoder.decode(packet))
    alpha = frame.to_ndarray(format="rgba")[..., 3]
    assert (alpha[20:, 20:28] > 245).all()
    assert (alpha[20:, 40:] < 10).all()


def test_frames_are_numbered_pngs_and_those_of_a_longer_video_go(tmp_path: Path) -> None:
    flags = ("--frames", "--background", "transparent")
    assert segment(record(tmp_path / "a.mp4", count=5), tmp_path / "out", *flags) == 0
    assert segment(record(tmp_path / "a.mp4", count=3), tmp_path / "out", *flags) == 0
    folders = {"a": (48, 64), "a_cutout": (48, 64)}
    assert files(tmp_path / "out") == [f"{folder}/00000{number}.png" for folder in folders for number in (1, 2, 3)]
    assert set(np.unique(images.read_mask(tmp_path / "out/a/000002.png"))) == {0, 255}
    with images.Image.open(tmp_path / "out/a_cutout/000003.png") as cutout:
        assert cutout.mode == "RGBA"
        assert np.asarray(cutout)[24, 24, 3] == 255
        assert np.asarray(cutout)[24, 60, 3] == 0


@pytest.mark.parametrize(("kind", "suffix", "mode"), [("transparent", "png", "RGBA"), ("blur", "jpg", "RGB")])
def test_pictures_get_cut_outs_too(tmp_path: Path, kind: str, suffix: str, mode: str) -> None:
    images.write_rgb(tmp_path / "in/a.png", picture())
    for _ in range(2):  # the second time, with the first one's files beside the input
        assert segment(tmp_path / "in", tmp_path / "in", "--background", kind) == 0
    assert files(tmp_path / "in") == ["a.png", "a_mask.png", f"a_mask_cutout.{suffix}"]
    with images.Image.open(tmp_path / f"in/a_mask_cutout.{suffix}") as cutout:
        assert (cutout.size, cutout.mode) == ((64, 48), mode)


# how it ends


class Breaking:
    """A source of frames that ends in an error."""

    rate, count, sound = Fraction(30), None, None

    def __init__(self, error: BaseException, after: int = 5):
        self.error, self.after = error, after

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.after):
            yield Frame(picture(number), number / self.rate)
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UnreadableVideo("a.mp4: breaks off")])
def test_what_ends_early_leaves_whole_files_of_the_frames_until_then(tmp_path: Path, error: BaseException) -> None:
    outputs = {tmp_path / "mask.mp4": video.mask_view, tmp_path / "overlay.webm": video.overlay_view}
    with pytest.raises(type(error)):
        segment_video(Breaking(error), answering(), outputs)
    for path in outputs:
        assert len(frames_of(path)) == 5
    assert files(tmp_path) == ["mask.mp4", "overlay.webm"]


def test_ctrl_c_keeps_picture_and_sound_of_the_same_length(tmp_path: Path) -> None:
    source = record(tmp_path / "a.mp4", count=30, sound="aac", sound_seconds=1.0)
    seen: list[Answer] = []

    def stop(answer: Answer) -> None:
        seen.append(answer)
        if len(seen) == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_video(source, answering(), {tmp_path / "mask.mp4": video.mask_view}, progress=stop)
    assert len(frames_of(tmp_path / "mask.mp4")) == 15
    assert seconds_of_sound(tmp_path / "mask.mp4") == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk"), UnreadableVideo("a.mp4: holds no frame")])
def test_without_a_frame_there_is_no_file(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        segment_video(Breaking(error, after=0), answering(), {tmp_path / "mask.mp4": video.mask_view})
    assert files(tmp_path) == []


@pytest.mark.parametrize("side", ["network", "view", "full disk", "progress"])
def test_whatever_fails_is_raised_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    calls = []

    def failing(*_: object) -> np.ndarray:
        calls.append(side)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, side)
        return np.zeros((1, 48, 64), np.float32) if side == "network" else np.zeros((48, 64), np.uint8)

    source, network = record(tmp_path / "a.mp4"), answering()
    if side == "network":
        monkeypatch.setattr(network, "small", lambda _: [failing()])
    if side == "full disk":
        monkeypatch.setattr(av.container.OutputContainer, "mux", failing, raising=False)
    outputs = {tmp_path / "mask.mp4": failing if side == "view" else video.mask_view}
    progress = failing if side == "progress" else lambda _: None
    with pytest.raises(OSError, match=side):
        segment_video(source, network, outputs, progress=progress)
    assert files(tmp_path) == ["a.mp4"]


class Counting:
    """A source of frames that counts them, and does something as it makes number `at`."""

    rate, count, sound = Fraction(30), None, None

    def __init__(self, frames: int = 12, at: int = -1, act: Callable[[], None] = lambda: None):
        self.frames, self.at, self.act = frames, at, act
        self.made = threading.Semaphore(0)

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.frames):
            if number == self.at:
                self.act()
            self.made.release()
            yield Frame(picture(number), number / self.rate)


def test_ctrl_c_while_the_network_works_ends_with_the_frames_that_are_written(tmp_path: Path) -> None:
    source = Counting(at=5, act=lambda: os.kill(os.getpid(), signal.SIGINT))
    written: list[Answer] = []
    with pytest.raises(KeyboardInterrupt):
        segment_video(source, answering(), {tmp_path / "mask.mp4": video.mask_view}, progress=written.append)
    assert len(frames_of(tmp_path / "mask.mp4")) in (len(written), len(written) + 1)
    assert 3 <= len(written) <= 5


class Leaving:
    """A stand-in camera whose user presses Ctrl-C while it takes frame number `at`."""

    def __init__(self, at: int):
        self.at, self.given, self.is_open = at, 0, True

    def isOpened(self) -> bool:
        return self.is_open

    def get(self, _: int) -> float:
        return 30

    def read(self) -> tuple[bool, np.ndarray]:
        if self.given + 1 == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        self.given += 1
        return True, picture(self.given)

    def release(self) -> None:
        self.is_open = False


EVERYTHING = ("--overlay", "--background", "transparent")


def test_ctrl_c_ends_a_recording_with_every_frame_that_the_camera_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = Leaving(at=5)
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: camera)
    monkeypatch.setattr("faceparse.commands.video.no_window", lambda _: "there is no display")
    assert segment("0", tmp_path, *EVERYTHING) == 130
    assert capsys.readouterr().err.endswith("interrupted; what was finished is kept\n")
    assert (camera.given, camera.is_open) == (4, False)
    kinds = [re.sub(r"\d{2,}", "N", name) for name in files(tmp_path)]
    assert kinds == ["camera0_N_N.mp4", "camera0_N_N_cutout.webm", "camera0_N_N_overlay.mp4"]
    assert [len(frames_of(path)) for path in tmp_path.iterdir()] == [4, 4, 4]


def test_ctrl_c_ends_the_command_with_every_frame_of_the_file_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, drawn, mask_view = record(tmp_path / "a.mp4"), [], video.mask_view

    def leaving(answer: Answer) -> np.ndarray:
        drawn.append(answer)
        if len(drawn) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return mask_view(answer)

    monkeypatch.setattr(video, "mask_view", leaving)
    assert segment(source, tmp_path / "out", *EVERYTHING) == 130
    assert capsys.readouterr().err.endswith("interrupted; what was finished is kept\n")
    assert files(tmp_path / "out") == ["a.mp4", "a_cutout.webm", "a_overlay.mp4"]
    assert [len(frames_of(path)) for path in (tmp_path / "out").iterdir()] == [4, 4, 4]


# side by side


def test_frames_keep_their_order_and_the_next_one_is_made_while_one_is_written(tmp_path: Path) -> None:
    source = Counting()
    seen: list[Fraction] = []

    def progress(answer: Answer) -> None:
        if not seen:
            source.made.acquire()
        seen.append(answer.frame.time)
        assert len(seen) == source.frames or source.made.acquire(timeout=10)  # though this one is at work

    assert segment_video(source, answering(), {tmp_path / "mask.mp4": video.mask_view}, progress=progress) == 12
    assert seen == [Fraction(number, 30) for number in range(12)]


def test_few_frames_are_held_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = []

    def progress(answer: Answer) -> None:
        alive.append(weakref.ref(answer.frame.image))
        most.append(sum(image() is not None for image in alive))

    segment_video(record(tmp_path / "a.mp4", 50), answering(), {tmp_path / "b": video.mask_view}, progress=progress)
    assert max(most) == 1  # of those written


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_as_many_items_as_threads_are_made_ahead_and_no_more(threads: int) -> None:
    taken: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(9):
            taken.append(number)
            yield number

    coming = ahead(items(), lambda number: 10 * number, threads)
    assert taken == []
    assert next(coming) == 0
    assert list(coming) == [10, 20, 30, 40, 50, 60, 70, 80]
    coming = ahead(items(), lambda number: 10 * number, threads)
    taken.clear()
    assert [next(coming), next(coming)] == [0, 10]
    coming.close()  # which waits for those in the making
    assert taken == list(range(2 + threads))


def test_items_come_in_order_though_the_later_ones_are_made_sooner() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.2 / (1 + number))
        return number

    assert list(ahead((number for number in range(6)), slow_at_first, 3)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("unplugged")])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_turn(error: BaseException, threads: int) -> None:
    def items() -> Generator[int, None, None]:
        yield from (0, 1)
        raise error

    def fails_at_one(number: int) -> int:
        if number == 1:
            raise error
        return number

    coming = ahead(items(), lambda number: number, threads)
    assert [next(coming), next(coming)] == [0, 1]
    with pytest.raises(type(error)):
        next(coming)
    coming = ahead((number for number in range(9)), fails_at_one, threads)
    assert next(coming) == 0
    with pytest.raises(type(error)):
        next(coming)


def test_a_video_that_is_left_early_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, ended, before = VideoFile(record(tmp_path / "a.mp4")), [], threading.active_count()
    frames = source.frames

    def watched() -> Generator[Frame, None, None]:
        try:
            yield from frames()
        finally:
            ended.append(True)

    monkeypatch.setattr(source, "frames", watched)
    for answer in segment_frames(source, answering()):
        assert answer.frame.time == 0
        break
    assert ended == [True]
    assert threading.active_count() == before


def broken_file(path: Path, how: str) -> Path:
    if how == "no frame":
        return record(path, count=0)
    if how == "only sound":
        with av.open(path, "w") as file:
            track = file.add_stream("aac", 48000)
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), "s16", "stereo")
            heard.sample_rate = 48000
            file.mux(track.encode(heard))
            file.mux(track.encode(None))
        return path
    path.write_bytes({"empty": b"", "no video": b"not a video" * 100}.get(how, record(path).read_bytes()[:900]))
    return path


@pytest.mark.parametrize("how", ["empty", "no video", "cut short", "no frame", "only sound", "missing"])
def test_a_broken_file_is_one_sentence_and_the_others_are_done(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    if how != "missing":
        broken_file(bad, how)
    good = record(tmp_path / "good.mp4", count=2)
    flags = ["--images_path", str(bad), str(good), "--save_path", str(tmp_path / "out")]
    assert command.main(flags) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {bad}: ")
    assert files(tmp_path / "out") == ["good.mp4"]


def test_a_file_that_is_cut_short_leaves_its_frames_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = record(tmp_path / "whole.mkv", count=30, rate=Fraction(5), codec="mpeg4"), tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert segment(whole, tmp_path / "out") == 0
    assert segment(cut, tmp_path / "out") == 1
    assert re.search(rf"error: {cut}: breaks off after \d\.\d of the 6\.0 s", capsys.readouterr().err)
    assert 0 < len(frames_of(tmp_path / "out" / "cut.mp4")) < 25


def test_torch_has_its_threads_back_when_the_last_of_several_videos_is_done() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    one, other = one_thread_each(), one_thread_each()
    assert (one.__enter__(), other.__enter__()) == (3, 3)
    one.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    other.__exit__(None, None, None)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(threads)


def test_sound_of_a_rate_that_the_new_file_has_not_is_brought_to_one_that_it_has(tmp_path: Path) -> None:
    source = record(tmp_path / "a.mkv", sound="pcm_s16le", rate_of_sound=192000)
    segment_video(source, answering(), {tmp_path / "b.mp4": video.mask_view})
    with av.open(tmp_path / "b.mp4") as file:
        assert file.streams.audio[0].rate == 48000


def test_scores_are_for_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment(record(tmp_path / "a.mp4"), tmp_path / "out", "--masks_path", str(tmp_path)) == 1
    assert "--masks_path and --split are for pictures only" in capsys.readouterr().err


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name in \.mp4 or \.webm, or one without suffix"):
        segment_video(record(tmp_path / "a.mp4"), answering(), {tmp_path / "b.gif": video.mask_view})


def test_without_pyav_the_mend_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = record(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "faceparse.video")
    monkeypatch.delattr(faceparse, "video")
    assert segment(source, tmp_path / "out") == 1
    assert "pip install '.[video]' in the folder of faceparse, or pip install av\n" in capsys.readouterr().err


# names


def test_what_is_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "1").mkdir()
    named = {"a.MOV": Path("a.MOV"), "0": 0, "1": None, "a.jpg": None, "*.png": None, "folder.mp4": None, "-1": None}
    assert {text: video_source(text) for text in named} == named


def test_a_pattern_is_the_videos_that_match_but_not_those_of_an_earlier_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [record(tmp_path / name, count=2) for name in ("a [1].mp4", "b.mp4")]
    clips.append(record(tmp_path / "c.webm", count=2, codec="libvpx-vp9"))
    pattern, deep = str(tmp_path / "*.mp4"), str(tmp_path / "**" / "*.webm")
    assert told_apart([str(clips[0]), pattern, "0", pattern], tmp_path) == ([], [clips[0], clips[1], 0])
    flags = ["--images_path", pattern, deep, "--save_path", str(tmp_path), "--background", "transparent"]
    for _ in range(2):  # the second finds the masks and cut-outs of the first
        assert command.main(flags) == 0
        masks = ["a [1]_mask.mp4", "b_mask.mp4", "c.mp4"]
        cutouts = ["a [1]_mask_cutout.webm", "b_mask_cutout.webm", "c_cutout.webm"]
        assert files(tmp_path) == sorted([*masks, *cutouts, *(clip.name for clip in clips)])
    capsys.readouterr()
    assert segment(tmp_path / "x*.mp4", tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "x*.mp4: no such file, and no video matches it as a pattern" in line


def test_no_video_is_written_over_an_input_or_another(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("a.mp4", "a.mov", "a_mask.mp4")]
    places = find_video_places(sources, tmp_path)
    assert [place.mask.name for place in places] == ["a.mp4.mp4", "a.mov.mp4", "a_mask_mask.mp4"]
    outputs = [path for place in places for path in (place.mask, place.overlay, place.cutout)]
    assert len({*outputs, *sources}) == 12


# calm


SMALL = np.full((32, 32, 3), 100, np.uint8)


def test_what_stands_still_is_mixed_with_the_answer_before() -> None:
    smoother = Smoother(0.75)
    one, zero = np.ones((1, 32, 32), np.float32), np.zeros((1, 32, 32), np.float32)
    assert (smoother(SMALL, one) == one).all()
    assert smoother(SMALL, zero) == pytest.approx(0.75 * one)
    assert smoother(SMALL, zero) == pytest.approx(0.75 * 0.75 * one)


def test_what_moves_is_new_at_once() -> None:
    smoother = Smoother(0.75)
    moved = SMALL.copy()
    moved[:, 16:] += 50
    smoother(SMALL, np.ones((1, 32, 32), np.float32))
    answer = smoother(moved, np.zeros((1, 32, 32), np.float32))[0]
    assert answer[:, 16:].max() < 0.01
    assert answer[:, :6] == pytest.approx(0.75)


def test_no_smoothing_is_each_frame_alone() -> None:
    smoother = Smoother(0)
    smoother(SMALL, np.ones((1, 32, 32), np.float32))
    assert (smoother(SMALL, np.zeros((1, 32, 32), np.float32)) == 0).all()


def test_a_video_that_changes_its_size_starts_anew() -> None:
    frames = [Frame(picture(0, *size), Fraction(0)) for size in ((48, 64), (64, 48))]
    assert [answer.mask.shape for answer in segment_frames(frames, answering())] == [(48, 64), (64, 48)]


@pytest.mark.parametrize("strength", [-0.1, 1, 5])
def test_strengths_are_from_0_to_below_1(strength: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 0"):
        Smoother(strength)
    with pytest.raises(SystemExit):
        segment("0", tmp_path, "--smooth", str(strength))


def test_the_commands_default_is_the_librarys() -> None:
    args = command.parse_args(["--images_path", "0", "--save_path", "out"])
    assert (args.smooth, args.blur) == (video.SMOOTH, Background("blur").blur)


def test_memory_stays_flat() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def frames() -> Iterator[Frame]:
        for number in range(50):
            image = picture(number)
            alive.append(weakref.ref(image))
            yield Frame(image, Fraction(number))

    most = 0
    for answer in segment_frames(frames(), answering(HAIR)):
        assert answer.mask.shape == (48, 64)
        most = max(most, sum(image() is not None for image in alive))
    assert most <= 3


# cameras


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A stand-in for every camera: a recording of so many frames."""
    opened = cv2.VideoCapture

    def plug_in(count: int) -> None:
        recording = record(tmp_path / "recorded.mp4", count=count) if count else tmp_path / "nothing.mp4"
        monkeypatch.setattr(cv2, "VideoCapture", lambda _: opened(str(recording)))

    return plug_in


def test_a_camera_is_recorded_until_it_is_unplugged(
    tmp_path: Path,
    camera: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    camera(8)
    monkeypatch.setattr("faceparse.commands.video.no_window", lambda _: "there is no display")
    assert segment("0", tmp_path / "out") == 0
    assert "no preview: there is no display" in capsys.readouterr().err
    (mask,) = (tmp_path / "out").glob("camera0_*.mp4")
    frames = frames_of(mask)
    assert len(frames) == 8
    assert (frames[4].image[20:, 20:28] > 250).all()
    times = [frame.time for frame in frames]
    assert times == sorted(set(times))  # those of the clock


def test_the_preview_shows_each_frame_and_q_ends_it(
    tmp_path: Path, camera: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera(8)
    shown: list[np.ndarray] = []
    monkeypatch.setattr("faceparse.commands.video.no_window", lambda _: "")
    monkeypatch.setattr(cv2, "imshow", lambda _, view: shown.append(view), raising=False)
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 3 else -1, raising=False)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append(shown[0]), raising=False)
    assert segment("0", tmp_path / "out") == 0
    (mask,) = (tmp_path / "out").glob("camera0_*.mp4")
    assert len(frames_of(mask)) == len(shown[:-1]) == 3
    assert shown[0].shape == (48, 64, 3)


def test_a_recorded_stream_goes_through_the_cameras_reader(tmp_path: Path) -> None:
    frames = list(Camera(str(record(tmp_path / "a.mp4", count=4))))
    assert len(frames) == 4
    assert frames[0].time == 0
    assert np.abs(frames[0].image.astype(int) - picture()).mean() < 5


def test_no_camera_is_one_sentence(
    tmp_path: Path, camera: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    camera(0)
    assert segment("3", tmp_path / "out") == 1
    assert "error: camera 3: can't be opened" in capsys.readouterr().err


def test_why_there_is_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "headless" in no_window("  GUI:                           NONE\n  Media I/O:")
    assert no_window("  GUI:                           QT5\n") == "there is no display"
    monkeypatch.setenv("DISPLAY", ":0")
    assert no_window("  GUI:                           QT5\n") == ""
