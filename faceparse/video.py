"""Video: a file or a camera in, masks out, calm over time and frame by frame, so that memory stays flat.

    Frame, uint8 (H, W, 3) RGB -> probabilities (C, h, w) -> smoothed over time -> Answer -> views -> files

Of a file, frames are decoded in a thread and answered in others, one a core, while one is smoothed and written.
Frames are upright: a turn that the file asks of its player is done to the pixels. Needs PyAV, the extra `video`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np

from faceparse import images
from faceparse.cutout import Background
from faceparse.devices import MOST_AT_ONCE, one_thread_each
from faceparse.parallel import ahead
from faceparse.predictor import Predictor
from faceparse.words import not_installed

try:
    import av
    from av.video.reformatter import Colorspace
except ImportError as error:
    raise OSError(f"videos need PyAV, {not_installed('video', 'av')}") from error

SMOOTH = 0.8
"""How much of the answer for a pixel that stands still comes from the frames before."""
CHANGE = 6.0
"""Grey levels, after a blur, at which a pixel has moved enough that the frames before count for little (1/e)."""

MISSING, SECONDS = 0.05, 1
"""A file is cut short that lacks more than both, a share of the length that it announces and seconds."""

MOST_STRETCHED = 4
"""A pixel's width over its height, or the other way round, beyond which a file is not believed."""

BT709, LIMITED = 1, 1
"""FFmpeg's numbers for the colours of HD video and their range, which written files are in and say so."""


class UnreadableVideo(ValueError):
    """A file or camera that is missing, is no video, or breaks off; the message names it and the reason."""


@dataclass(frozen=True)
class Frame:
    """A picture, uint8 (H, W, 3) RGB, its time in seconds since the start, and a pixel's width over its height."""

    image: np.ndarray
    time: Fraction
    aspect: Fraction = Fraction(1)


class Source(Protocol):
    """Where frames come from: `rate` in frames/s, `count` (about) and the file with the sound, where known."""

    rate: Fraction
    count: int | None
    sound: Path | None

    def __iter__(self) -> Iterator[Frame]: ...


class VideoFile:
    """The frames of a video file, upright and at their times. Raises `UnreadableVideo`, also as it is read.

    A time is taken for that of a whole frame where the file, which counts in ticks, is within a tick of it. The next
    frame is decoded while the caller works on this one.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        with _readable(self.path), av.open(self.path) as file:
            stream = self._stream(file)
            self.rate = stream.guessed_rate or stream.average_rate or Fraction(30)
            seconds = (stream.duration or 0) * (stream.time_base or 0) or Fraction(file.duration or 0, av.time_base)
            self.count: int | None = stream.frames or round(seconds * self.rate) or None
            self._announced = seconds if stream.duration or len(file.streams) == 1 else None  # sound may be longer
            self.sound = self.path if file.streams.audio else None

    def __iter__(self) -> Iterator[Frame]:
        return ahead(self.frames(), lambda frame: frame)

    def frames(self) -> Generator[Frame, None, None]:
        """As iterating, but each frame is decoded when it is asked for."""
        with _readable(self.path), av.open(self.path) as file:
            stream = self._stream(file)
            stream.thread_type = "AUTO"
            start, tick = Fraction(file.start_time or 0, av.time_base), stream.time_base or 1 / self.rate
            aspect = _believed(stream.sample_aspect_ratio)
            number = -1
            for number, frame in enumerate(file.decode(stream)):
                moment = number / self.rate if frame.pts is None else frame.pts * tick - start
                whole = round(moment * self.rate) / self.rate
                turns = round(frame.rotation / 90)
                image = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                at = whole if abs(moment - whole) <= tick else moment
                yield Frame(image, at, 1 / aspect if turns % 2 else aspect)
            if number < 0:
                raise UnreadableVideo(f"{self.path}: holds no frame; record or download it anew")
            end = moment + 1 / self.rate
            if self._announced and self._announced - end > max(SECONDS, MISSING * self._announced):
                seconds = f"{float(end):.1f} of the {float(self._announced):.1f} s that it announces"
                raise UnreadableVideo(f"{self.path}: breaks off after {seconds}; the frames until then are whole")

    def _stream(self, file: av.container.InputContainer) -> av.VideoStream:
        if not file.streams.video:
            raise UnreadableVideo(f"{self.path}: holds no picture, only {file.format.long_name}")
        return file.streams.video[0]


def _believed(aspect: Fraction | None) -> Fraction:
    """A pixel's width over its height as a file says it; 1 where it says nothing, or what can't be."""
    return aspect if aspect and Fraction(1, MOST_STRETCHED) <= aspect <= MOST_STRETCHED else Fraction(1)


def is_ours(path: Path) -> bool:
    """Whether the file carries `images.MARK`: a video that was written here."""
    try:
        with _readable(path), av.open(path) as file:
            return images.MARK in (file.metadata.get("comment"), file.metadata.get("COMMENT"))  # as MP4 and WebM say it
    except UnreadableVideo:
        return False


class Camera:
    """The frames of a camera, 0 the first, at the times at which they come; it goes on until it is unplugged.

    Frames that come while nobody asks are dropped by the camera. A path or an address plays a recording or a stream in
    a camera's place. Raises `UnreadableVideo` where there is no such camera or it gives no picture.
    """

    count: int | None = None
    sound: Path | None = None

    def __init__(self, source: int | str):
        self.name = f"camera {source}"
        self._stopped = False
        silence = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel  # OpenCV 4, 5
        silence(0)  # ten lines of its own on a missing camera
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise UnreadableVideo(
                f"{self.name}: can't be opened; see that it is plugged in and no other program uses it"
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate if rate > 0 else 30).limit_denominator(1001)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self) -> Generator[Frame, None, None]:
        """As iterating; closing it lets the camera go."""
        start = None
        try:
            while not self._stopped:
                there, bgr = self._capture.read()
                if not there:
                    break
                now = time.monotonic()
                start = now if start is None else start
                yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), Fraction(now - start))
        finally:
            self._capture.release()
        if start is None:
            raise UnreadableVideo(f"{self.name}: gives no picture; see whether another program uses it")

    def stop(self) -> None:
        """End with the frame at hand, as if the camera had been unplugged."""
        self._stopped = True


def open_source(source: str | os.PathLike[str] | int) -> Source:
    """A video file by its path, a camera by its number. Raises `UnreadableVideo`."""
    return Camera(source) if isinstance(source, int) else VideoFile(source)


@dataclass(frozen=True)
class Answer:
    """A frame with its probabilities, `small`, float32 (C, h, w) as `Predictor.small` answers them."""

    frame: Frame
    small: np.ndarray
    predictor: Predictor

    @cached_property
    def mask(self) -> np.ndarray:
        """uint8 (H, W): 0 and 255 for a two-class label set, else class ids."""
        return self.predictor.decided(self.small, self.frame.image.shape[:2])

    @cached_property
    def alpha(self) -> np.ndarray:
        """Opacity of all but the background, float32 (H, W) in 0..1, with soft edges."""
        return self.predictor.alpha(self.frame.image, self.small)


class Smoother:
    """Answers that are calm where the picture stands still, and new where it moves.

    Each answer is mixed with the one before, pixel by pixel: by `strength`, 0 to below 1, where nothing changed between
    the two frames, and by less the more did, so that what moves leaves no trail. Raises ValueError for other strengths.
    """

    def __init__(self, strength: float = SMOOTH):
        if not 0 <= strength < 1:
            raise ValueError(f"smoothing of {strength}: expected 0 (none) to below 1")
        self.strength = strength
        self._seen: np.ndarray | None = None
        self._answer: np.ndarray | None = None

    def __call__(self, picture: np.ndarray, small: np.ndarray) -> np.ndarray:
        """float32 (C, h, w), smoothed, of the next frame: uint8 (h, w, 3) RGB and its float32 (C, h, w)."""
        seen = cv2.GaussianBlur(picture, (0, 0), 1.5)  # noise is no motion
        if self._answer is not None and self._seen is not None and self._answer.shape == small.shape:
            change = cv2.absdiff(seen, self._seen).max(axis=2)
            change = cv2.dilate(change, np.ones((7, 7), np.uint8))  # inside a moving hand too, which is of one colour
            keep = self.strength * np.exp(-((change / np.float32(CHANGE)) ** 2))
            small = small + keep * (self._answer - small)
        self._seen, self._answer = seen, small
        return small


def segment_frames(
    frames: Iterable[Frame], predictor: Predictor, smooth: float = SMOOTH
) -> Generator[Answer, None, None]:
    """The answer to each frame, in order; `smooth` is the strength of a `Smoother`, 0 for none.

    for answer in segment_frames(VideoFile("clip.mp4"), predictor): show(answer.frame.image, answer.mask)
    """
    return _calmed(map(partial(_asked, predictor), frames), predictor, smooth)


Asked = tuple[Frame, np.ndarray, np.ndarray]
"""A frame, small as the network sees it, uint8 (h, w, 3) RGB, and its answer alone, float32 (C, h, w)."""


def _asked(predictor: Predictor, frame: Frame) -> Asked:
    height, width = frame.image.shape[:2]
    shown_hw = height, round(width * frame.aspect)  # a face that is stored squeezed is none that was trained on
    picture = images.resize(frame.image, predictor.preprocess.network_hw(*shown_hw))
    return frame, picture, predictor.small([picture])[0]


def _calmed(asked: Iterable[Asked], predictor: Predictor, smooth: float) -> Generator[Answer, None, None]:
    smoother = Smoother(smooth)
    for frame, picture, small in asked:
        yield Answer(frame, smoother(picture, small), predictor)


View = Callable[[Answer], np.ndarray]
"""What a file shows of an answer: uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA."""


def mask_view(answer: Answer) -> np.ndarray:
    """The mask, 0 and 255, uint8 (H, W); several classes in their colours, uint8 (H, W, 3) RGB."""
    labels = answer.predictor.labels
    return answer.mask if labels.is_binary else np.array(labels.colours, np.uint8)[answer.mask]


def overlay_view(answer: Answer) -> np.ndarray:
    """The mask over the frame, uint8 (H, W, 3) RGB."""
    return images.overlay(answer.frame.image, answer.mask, answer.predictor.labels)


def cutout_view(background: Background) -> View:
    """The subject before a background: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA where that is transparent."""
    return lambda answer: background.behind(answer.frame.image, answer.alpha)


def segment_video(
    source: str | os.PathLike[str] | int | Source,
    predictor: Predictor,
    outputs: Mapping[str, View] | Mapping[Path, View],
    smooth: float = SMOOTH,
    progress: Callable[[Answer], None] = lambda _: None,
) -> int:
    """Write views of every frame of a video file or camera; how many frames there were.

        segment_video("clip.mp4", faceparse.load(), {"mask.mp4": mask_view, "overlay.mp4": overlay_view})

    Each path is a `.mp4`, a `.webm` (which can be transparent) or, without a suffix, a folder of numbered PNGs. Videos
    have the source's size, frame times, pixels that are not square (not a `.webm`, which gets as much wider) and first
    sound track. `progress` gets each answer as it is written. Ctrl-C and a source that breaks off leave whole files of
    the frames until then, and are raised again. Raises `UnreadableVideo`, ValueError for other suffixes and for
    strengths that `Smoother` does not take, and OSError.
    """
    video = open_source(source) if isinstance(source, str | os.PathLike | int) else source
    count = 0
    with ExitStack() as stack:
        writers = [(stack.enter_context(_writer(Path(path), video)), view) for path, view in outputs.items()]
        ask: Callable[[Frame], Asked] = partial(_asked, predictor)
        frames = video.frames() if isinstance(video, VideoFile | Camera) else (frame for frame in video)
        if isinstance(video, Camera):  # which is to show what is now, and to end with the frame at hand
            asked: Iterable[Asked] = map(ask, stack.enter_context(closing(frames)))
        else:
            cores = stack.enter_context(one_thread_each())
            threads = min(cores, MOST_AT_ONCE) if predictor.device.type == "cpu" else 1
            asked = stack.enter_context(closing(ahead(frames, ask, threads)))
        for answer in _calmed(asked, predictor, smooth):
            for write, view in writers:
                write(view(answer), answer.frame)
            count += 1
            progress(answer)
    return count


# how files are written


Write = Callable[[np.ndarray, Frame], None]
"""Takes a view of a frame, and the frame for its time and the shape of its pixels."""


@dataclass(frozen=True)
class Coding:
    """How a kind of file holds pictures and sound: codecs by FFmpeg's names, and the sound that is copied as it is.

    `keeps_aspect`: whether PyAV can tell the file the shape of its pixels; where not, they are made square.
    """

    codec: str
    options: Mapping[str, str]
    sound: str
    copied: tuple[str, ...]
    keeps_aspect: bool


CODINGS = {
    ".mp4": Coding(
        "libx264",
        {"crf": "16", "preset": "veryfast"},
        "aac",
        ("aac", "mp3", "ac3", "eac3", "opus", "alac"),
        keeps_aspect=True,
    ),
    ".webm": Coding(
        "libvpx-vp9",
        {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"},
        "libopus",
        ("opus", "vorbis"),
        keeps_aspect=False,
    ),
}
"""Suffix -> coding."""


def _writer(path: Path, source: Source) -> AbstractContextManager[Write]:
    """A function that writes the next frame; the video, or the folder of PNGs, is whole when the block ends."""
    if not path.suffix:
        return _folder_writer(path)
    if path.suffix not in CODINGS:
        raise ValueError(
            f"{path}: expected a name in {' or '.join(CODINGS)}, or one without suffix for a folder of PNGs"
        )
    return _video_writer(path, CODINGS[path.suffix], source)


@contextmanager
def _folder_writer(folder: Path) -> Iterator[Write]:
    count = 0

    def write(image: np.ndarray, _: Frame) -> None:
        nonlocal count
        count += 1
        images.write_mask(folder / f"{count:06}.png", image)

    yield write
    for left in folder.glob("[0-9]" * 6 + ".png"):  # of a longer video, written here before
        if int(left.stem) > count and images.is_ours(left):
            left.unlink()


@contextmanager
def _video_writer(path: Path, coding: Coding, source: Source) -> Iterator[Write]:
    broken: KeyboardInterrupt | UnreadableVideo | None = None
    with images.written_whole(path) as beside, av.open(beside, "w") as file:
        stream = cast(av.VideoStream, file.add_stream(coding.codec, source.rate, dict(coding.options)))
        # fine enough for the times of a camera, and whole numbers for frames at the rate
        file.metadata["comment"] = images.MARK
        tick = Fraction(1, source.rate.numerator * max(1, 12000 // source.rate.numerator))
        stream.codec_context.time_base = tick
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = BT709
        stream.codec_context.color_range = LIMITED
        sound = _Sound(source.sound, file, coding) if source.sound else None
        last = -1

        def write(image: np.ndarray, of: Frame) -> None:
            nonlocal last
            if last < 0:
                _set_shape(stream, image, of.aspect, coding.keeps_aspect)
            frame = av.VideoFrame.from_ndarray(image, _NUMPY_FORMATS[image.shape[2:]])
            frame = frame.reformat(stream.width, stream.height, stream.pix_fmt, dst_colorspace=Colorspace.ITU709)
            last = max(last + 1, round(of.time / tick))
            frame.pts, frame.time_base = last, tick
            file.mux(stream.encode(frame))
            if sound:
                sound.mux_until(of.time)

        try:
            yield write
        except (KeyboardInterrupt, UnreadableVideo) as error:
            if last < 0:
                raise
            broken = error
        if sound:
            sound.finish((last + 1) * tick if broken else None)
            broken = broken or sound.broken
        file.mux(stream.encode(None))
    if broken:  # now that the file has its name
        raise broken


_NUMPY_FORMATS = {(): "gray", (3,): "rgb24", (4,): "rgba"}


def _set_shape(stream: av.VideoStream, image: np.ndarray, aspect: Fraction, keeps_aspect: bool) -> None:
    stream.height, stream.width = image.shape[:2]
    if keeps_aspect:
        stream.codec_context.sample_aspect_ratio = aspect
    else:
        stream.width = round(stream.width * aspect)
    if image.shape[2:] == (4,):
        stream.pix_fmt = "yuva420p"
        stream.metadata["alpha_mode"] = "1"
    else:  # halved colours need even sides
        stream.pix_fmt = "yuv420p" if stream.height % 2 == stream.width % 2 == 0 else "yuv444p"


class _Sound:
    """The first sound track of a video on its way into another, as far as the pictures have come.

    Copied as it is where the other kind of file can hold it, coded anew where not.
    """

    def __init__(self, path: Path, output: av.container.OutputContainer, coding: Coding):
        self._path, self._output = path, output
        self._file = av.open(path)
        self._track = self._file.streams.audio[0]
        self._start = Fraction(self._file.start_time or 0, av.time_base)
        if self._track.codec_context.name in coding.copied:
            self._out = output.add_stream_from_template(self._track)
            self._packets = self._copied()
        else:
            rates = av.Codec(coding.sound, "w").audio_rates
            rate = self._track.rate if self._track.rate in (rates or ()) else 48000
            self._out = cast(av.AudioStream, output.add_stream(coding.sound, rate))
            self._packets = self._coded()
        self._next: av.Packet | None = None
        self.broken: UnreadableVideo | None = None  # why the sound ends before the pictures do

    def mux_until(self, moment: Fraction | None) -> None:
        """Write what begins before `moment`, None for everything."""
        try:
            self._next = self._next or next(self._packets, None)
            while self._next and (moment is None or (self._next.dts or 0) * self._next.time_base < moment):
                self._output.mux(self._next)
                self._next = next(self._packets, None)
        except av.error.InvalidDataError:  # the pictures go on
            self.broken = UnreadableVideo(f"{self._path}: its sound is broken and ends early; the pictures are whole")
            self._next, self._packets = None, iter(())

    def finish(self, moment: Fraction | None) -> None:
        """Write what begins before `moment`, None for everything, and no more."""
        self.mux_until(moment)
        self._file.close()

    def _copied(self) -> Iterator[av.Packet]:
        for packet in self._file.demux(self._track):
            if packet.dts is None or packet.pts is None:  # the end
                continue
            shift = round(self._start / (packet.time_base or 1))
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, self._out
            yield packet

    def _coded(self) -> Iterator[av.Packet]:
        for frame in self._file.decode(self._track):
            if frame.pts is not None:
                frame.pts -= round(self._start / (frame.time_base or 1))
            yield from self._out.encode(frame)
        yield from self._out.encode(None)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What FFmpeg says of a broken file becomes `UnreadableVideo`."""
    try:
        yield
    except av.FFmpegError as error:
        raise UnreadableVideo(f"{path}: cannot be read as a video ({error.strerror})") from error
