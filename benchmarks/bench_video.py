"""How calm masks of a video are, and how far they lag behind what moves, with smoothing over time and without.

    python benchmarks/bench_video.py --videos clips/*.mkv --sheet sheet.jpg

Flicker, of a subject that stands still: the first frame of each clip, again and again under fresh noise; pixels of the
mask that change from one frame to the next, per 1000 pixels of mask.

Smear, of what moves, fast or slowly: the share of the moving pixels (those that changed by more than 16 of 255 grey
levels in three frames) of which the mask is not that of the frame alone. Lag: how many frames old the masks of the
frame alone are that the mask of the moving pixels is most like.

"everywhere" smooths by the same strength without looking for motion: a plain running average. The sheet shows, for each
clip, what flickers in the still frame, the redder the more often a pixel of the mask changes, and below it the moving
frame with the largest difference between the two ways. A picture in the place of a clip is moved to and fro.

    python benchmarks/bench_video.py --videos clips/*.mkv --speed --size 256

times the way from file to file instead: whole clips, read, answered, smoothed and written, as `test.py` does it without
the start of Python. A frame's CPU time is the sum over all threads.

    python benchmarks/bench_video.py --videos clips/*.mkv --memory 10000 --size 64

tells the peak memory of the process on the way through one long video, made of the clips again and again.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain, count, cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import tell
from faceparse import images, predictor, video
from faceparse.cutout import Background
from faceparse.predictor import Predictor
from faceparse.video import Answer, Frame, Smoother, VideoFile, View

MOVES = 16
"""Grey levels by which a moving pixel changes ..."""
WITHIN = 3
"""... in so many frames, so that slow motion counts too."""
LAGS = 5
"""Frames back that are looked at."""


SWING = 24
"""Frames of a picture's way to and fro."""

OFTEN = 0.2
"""The share of frames in which a pixel changes that is all red on the sheet."""

SETTLED = 200
"""Frames after which everything has been made that is made once."""


class Everywhere(Smoother):
    """A running average: to it no picture differs from the one before."""

    def __call__(self, picture: np.ndarray, small: np.ndarray) -> np.ndarray:
        """As `Smoother`."""
        return super().__call__(np.zeros_like(picture), small)


WAYS = {"none": lambda _: Smoother(0), "by motion": Smoother, "everywhere": Everywhere}
"""Name -> smoother of a strength."""

WRITTEN: dict[str, dict[str, View]] = {
    "mask": {"mask.mp4": video.mask_view},
    "mask, overlay": {"mask.mp4": video.mask_view, "overlay.mp4": video.overlay_view},
    "mask, blurred": {"mask.mp4": video.mask_view, "blurred.mp4": video.cutout_view(Background("blur"))},
}
"""Name -> files to write."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--videos", nargs="+", required=True, metavar="FILE", help="clips of a moving person, or pictures"
    )
    parser.add_argument("--weights_path", metavar="FILE", help="weights (default: the bundled ones)")
    parser.add_argument("--smooth", type=float, default=video.SMOOTH, help="strength (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=4.0, help="deviation in grey levels (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=40, help="frames of a clip at most (default: %(default)s)")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write the sheet (default: none)")
    parser.add_argument("--speed", action="store_true", help="frames/s from file to file, and no more (default: off)")
    parser.add_argument("--memory", type=int, metavar="N", help="peak memory over N frames, and no more (default: off)")
    parser.add_argument("--size", type=int, metavar="PX", help="longer side to the network (default: the weights' own)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    network = predictor.load(args.weights_path, "cpu")
    if args.size:
        network.preprocess = dataclasses.replace(network.preprocess, size=args.size)
    tell(f"{len(args.videos)} clips, {network.preprocess.size} px to the network, smoothing of {args.smooth}", av)
    if args.speed or args.memory:
        if args.speed:
            tell_speed(args.videos, network, args.smooth)
        if args.memory:
            tell_memory(args.videos, network, args.smooth, args.memory)
        return
    figures: dict[str, list[tuple[float, float, int]]] = {name: [] for name in WAYS}
    rows, seconds, seen = [], 0.0, 0
    for path in args.videos:
        start = time.perf_counter()
        frames = list(islice(frames_of(path), args.frames))
        moving = np.array([motion(*pair) for pair in zip(frames, frames[WITHIN:], strict=False)])
        smalls = ask(network, frames)
        seconds, seen = seconds + time.perf_counter() - start, seen + len(frames)
        still = under_noise(frames[0], args.frames, args.noise)
        still_smalls = ask(network, still)
        alone = decide(network, frames, smalls, Smoother(0))
        smoothed, flickering = {}, []
        for name, way in WAYS.items():
            smoothed[name] = masks = decide(network, frames, smalls, way(args.smooth))
            wrong = [differing(masks, alone, moving, back) for back in range(LAGS)]
            still_masks = decide(network, still, still_smalls, way(args.smooth))
            flicker = changing(still_masks)
            figures[name].append((flicker, wrong[0], int(np.argmin(wrong))))
            flickering.append(titled(redder(frames[0], still_masks), f"{name}: flicker {flicker:.2f}"))
        worst = int(np.argmax((smoothed["by motion"] != smoothed["everywhere"]).sum(axis=(1, 2))))
        moved = {name: images.overlay(frames[worst], masks[worst], network.labels) for name, masks in smoothed.items()}
        smearing = [titled(moved[name], f"{name}: smear {100 * found[-1][1]:.2f} %") for name, found in figures.items()]
        rows += [np.hstack(flickering), np.hstack(smearing)]
    print(f"{seen} frames of {len(args.videos)} clips, read and answered at {seen / seconds:.1f} frames/s")
    for name, found in figures.items():
        flicker, wrong_now, lag = np.mean(found, axis=0)
        print(f"{name:10}  flicker {flicker:5.2f} per 1000  smear {100 * wrong_now:5.2f} %  lag {lag:.1f} frames")
    if args.sheet:
        images.write_rgb(args.sheet, np.vstack(rows), quality=90)


def frames_of(path: str) -> Iterator[np.ndarray]:
    """Frames of a clip, uint8 (H, W, 3) RGB; of a picture, what a window sees that swings from side to side in it."""
    if Path(path).suffix.lower() not in images.IMAGE_SUFFIXES:
        yield from (frame.image for frame in VideoFile(path))
        return
    rgb = images.read_rgb(path)
    margin = rgb.shape[1] // 8
    for number in count():
        left = margin + round(margin * math.sin(2 * math.pi * number / SWING))
        yield np.ascontiguousarray(rgb[:, left : left + rgb.shape[1] - 2 * margin])


def redder(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The picture in pale grey, and over it how often each pixel of the masks, uint8 (N, H, W), changed."""
    share = (masks[1:] != masks[:-1]).mean(axis=0, dtype=np.float32)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    shown = np.minimum(1, share / OFTEN)
    return cv2.blendLinear(np.full_like(image, (220, 0, 0)), 128 + grey // 2, shown, 1 - shown)


def titled(view: np.ndarray, title: str) -> np.ndarray:
    strip = np.full((24, view.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, title, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, view])


def tell_speed(videos: list[str], network: Predictor, smooth: float) -> None:
    file_to_file(videos[:1], network, smooth, WRITTEN["mask"])  # the first frames pay for what is made once
    for name, outputs in WRITTEN.items():
        frames, wall, cpu = file_to_file(videos, network, smooth, outputs)
        print(f"{name:14} {frames / wall:6.1f} frames/s  {1000 * cpu / frames:6.1f} ms of CPU a frame, {frames} frames")


def file_to_file(
    videos: list[str], network: Predictor, smooth: float, outputs: Mapping[str, View]
) -> tuple[int, float, float]:
    """Frames, seconds, and seconds of CPU time in all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        paths = {Path(folder, name): view for name, view in outputs.items()}
        frames = sum(video.segment_video(path, network, paths, smooth) for path in videos)
    return frames, time.perf_counter() - wall, time.process_time() - cpu


def tell_memory(videos: list[str], network: Predictor, smooth: float, frames: int) -> None:
    written = 0

    def tell(_: Answer) -> None:
        nonlocal written
        written += 1
        if written in (SETTLED, frames) or written % 2000 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"after {written:6} frames: {peak:.1f} MB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder, "long.mp4")
        with av.open(long, "w") as file:
            stream = file.add_stream("libx264", 30, {"preset": "ultrafast"})
            stream.height, stream.width = next(iter(VideoFile(videos[0]))).image.shape[:2]
            for frame in islice(chain.from_iterable(map(VideoFile, cycle(videos))), frames):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, "rgb24")))
            file.mux(stream.encode(None))
        video.segment_video(long, network, {Path(folder, "overlay.mp4"): video.overlay_view}, smooth, tell)


def ask(network: Predictor, frames: list[np.ndarray]) -> list[np.ndarray]:
    """The unsmoothed probabilities of each frame."""
    timed = (Frame(image, Fraction(0)) for image in frames)
    return [answer.small for answer in video.segment_frames(timed, network, smooth=0)]


def decide(
    network: Predictor, frames: list[np.ndarray], smalls: list[np.ndarray], smoother: Smoother
) -> np.ndarray:  # uint8 (N, H, W)
    sized = [images.resize(image, small.shape[1:]) for image, small in zip(frames, smalls, strict=True)]
    smooth = [smoother(picture, small) for picture, small in zip(sized, smalls, strict=True)]
    return np.array([network.decided(small, frames[0].shape[:2]) for small in smooth])


def under_noise(image: np.ndarray, count: int, deviation: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    noisy = (image + rng.normal(0, deviation, image.shape) for _ in range(count))
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in noisy]


def motion(before: np.ndarray, now: np.ndarray) -> np.ndarray:  # bool (H, W)
    blurred = [cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 2) for frame in (before, now)]
    return cv2.absdiff(*blurred) > MOVES


def changing(masks: np.ndarray) -> float:
    """Pixels that change from frame to frame, per 1000 of the mask."""
    return float(1000 * (masks[1:] != masks[:-1]).sum() / max(1, (masks[1:] > 0).sum()))


def differing(masks: np.ndarray, alone: np.ndarray, moving: np.ndarray, back: int) -> float:
    """The share of the moving pixels whose mask is not that of the frame alone, so many frames back."""
    now = slice(LAGS, None)
    before = slice(LAGS - back, len(alone) - back)
    there = moving[LAGS - WITHIN :]
    return float(((masks[now] != alone[before]) & there).sum() / max(1, there.sum()))


if __name__ == "__main__":
    main()
