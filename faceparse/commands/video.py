"""Videos and cameras for `test.py`: telling them from pictures, progress, the preview, what went wrong."""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceparse.commands.places import VideoPlace
    from faceparse.cutout import Background
    from faceparse.predictor import Predictor
    from faceparse.video import Answer, Camera, View

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".3gp"}
)
"""What a file is called that is read as a video."""


def video_source(text: str) -> Path | int | None:
    """A video file's path or a camera's number; None for a picture, folder or pattern."""
    path = Path(text)
    if text.isdecimal() and not path.exists():
        return int(text)
    return path if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir() else None


def told_apart(sources: Sequence[str], save_path: Path) -> tuple[list[str], list[Path | int]]:
    """Pictures, folders and patterns of pictures, as they are; and video files and cameras' numbers, each once.

    A pattern such as "clips/*.mp4", where there is no such file, is the videos that match it, without those that an
    earlier run left in `save_path`. Raises FileNotFoundError where none is left.
    """
    pictures: list[str] = []
    videos: list[Path | int] = []
    for text in sources:
        video = video_source(text)
        if video is None:
            pictures.append(text)
        elif isinstance(video, Path) and glob.has_magic(text) and not video.exists():
            videos += _matching(video, Path(os.path.realpath(save_path)))
        else:
            videos.append(video)
    return pictures, list(dict.fromkeys(videos))


def _matching(pattern: Path, saved: Path) -> list[Path]:
    from faceparse.images import matching

    def is_left(path: Path) -> bool:
        if saved not in Path(os.path.realpath(path)).parents:
            return False
        from faceparse.video import is_ours  # only now: it brings torch, which takes seconds

        return is_ours(path)

    found = matching(pattern)
    if not found:
        raise FileNotFoundError(f"{pattern}: no such file, and no video matches it as a pattern")
    new = [path for path in found if not is_left(path)]
    if not new:
        raise FileNotFoundError(f"{pattern}: no video matches it but those of an earlier run")
    return new


def number_from(least: float, below: float) -> Callable[[str], float]:
    """An argparse type: numbers from `least` to below `below`."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = below
        if not least <= value < below:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to below {below}, got {text!r}")
        return value

    return number


def segment_videos(
    places: list[VideoPlace], predictor: Predictor, overlay: bool, background: Background | None, smooth: float
) -> tuple[dict[str, int], list[str]]:
    """Write what is wanted of each video, tell how fast on stderr.

    Mask video -> its frames, and one sentence for each video that can't be read.
    """
    from tqdm import tqdm

    from faceparse import video

    written, problems = {}, []
    for place in places:
        outputs: dict[Path, View] = {place.mask: video.mask_view}
        outputs |= {place.overlay: video.overlay_view} if overlay else {}
        outputs |= {place.cutout: video.cutout_view(background)} if background else {}
        start = time.perf_counter()
        try:
            source = video.open_source(place.source)
            show = preview(source) if isinstance(source, video.Camera) else None
            with tqdm(total=source.count, unit="frame") as bar:

                def progress(answer: Answer, bar: tqdm = bar, show: Callable[[Answer], None] | None = show) -> None:
                    bar.update()
                    if show:
                        show(answer)

                frames = video.segment_video(source, predictor, outputs, smooth, progress)
            if show:
                close_preview()
        except video.UnreadableVideo as error:
            problems.append(str(error))
            continue
        written[str(place.mask)] = frames
        seconds = time.perf_counter() - start
        print(f"{place.mask}: {frames} frames, {frames / seconds:.1f} frames/s on {predictor.device}", file=sys.stderr)
    return written, problems


def preview(camera: Camera) -> Callable[[Answer], None] | None:
    """Shows each answer in a window, where there can be one; the key q stops the camera."""
    import cv2

    from faceparse.video import overlay_view

    reason = no_window(cv2.getBuildInformation())
    if reason:
        print(f"no preview: {reason}; Ctrl-C ends the recording", file=sys.stderr)
        return None

    def show(answer: Answer) -> None:
        cv2.imshow("faceparse (q ends)", cv2.cvtColor(overlay_view(answer), cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) == ord("q"):
            camera.stop()

    return show


def close_preview() -> None:
    """What follows needs no window."""
    import cv2

    cv2.destroyAllWindows()


def no_window(build: str) -> str:
    """Why OpenCV can't open a window here, empty where it can; `build` is its own account of how it was built."""
    if not re.search(r"GUI: +(?!NONE)\w", build):
        return "this OpenCV is headless (pip uninstall opencv-python-headless, then pip install opencv-python)"
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return ""
