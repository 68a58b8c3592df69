"""`test.py`: photos and videos -> masks at their size, cut-outs, and scores where the truth is given."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from faceparse.commands import Parser, finish, whole_from
from faceparse.commands.pictures import Outputs, pictures_at_once, segment_pictures
from faceparse.commands.video import number_from, segment_videos, told_apart
from faceparse.distributed import Ranks, joined
from faceparse.labels import LABEL_SETS, OF_CELEBAMASK

if TYPE_CHECKING:
    from faceparse.commands.places import Place, VideoPlace
    from faceparse.predictor import Predictor

QUALITIES = {"fast": ("none", False), "best": ("auto", True)}
"""What --quality stands for: --zoom and --flip."""

ROWS = {"train": "True or train", "val": "val", "test": "False or test"}
"""The parts of --split, and what its rows call them."""

STDIN = "-"
"""The source that is the one picture on stdin, whose mask goes to stdout."""

NEED_A_FOLDER = ("overlay", "background", "masks_path", "split", "frames", "recursive", "json")
"""Arguments that have no place where stdout is the mask."""


def create_parser() -> Parser:
    """The arguments, paths as `Path`."""
    parser = Parser("segment", "Write the mask of every picture or video, of its own size.")
    flag = parser.add_argument
    flag(
        "sources",
        nargs="*",
        metavar="PATH",
        help="pictures: files or folders; video files; quoted glob patterns of either; a camera by its number, 0 the "
        "first; "
        "or -, a picture on stdin, whose mask goes to stdout",
    )
    flag("--images_path", nargs="+", default=[], metavar="PATH", help="the same, as a flag")
    flag(
        "--weights_path",
        metavar="FILE",
        help="weights, an exported model, or the name of bundled weights: face, celebamask (19 classes), person "
        "(default: the bundled ones that are best for --labels or --classes, face where there is neither)",
    )
    flag("--recursive", action="store_true", help="also the pictures in sub-folders (default: off)")
    flag("--save_path", type=Path, metavar="FOLDER", help="folder for the masks; sub-folders are mirrored")
    flag(
        "--overlay",
        action="store_true",
        help="also write NAME_overlay.jpg, the mask over the picture; several classes get a legend (default: off)",
    )
    flag(
        "--background",
        metavar="WHAT",
        help="also write NAME_cutout, the subject alone before: blur, a colour '#rrggbb', a picture FILE, or nothing, "
        "transparent (PNG; WebM for videos) (default: no cut-out)",
    )
    flag(
        "--blur",
        type=number_from(0, 100),
        default=2.0,
        metavar="PERCENT",
        help="strength of --background blur: standard deviation, of the longer side (default: %(default)s)",
    )
    flag(
        "--smooth",
        type=number_from(0, 1),
        default=0.8,
        metavar="STRENGTH",
        help="videos: how calm the mask is where the picture stands still, 0 (each frame alone) to below 1 "
        "(default: %(default)s)",
    )
    flag("--frames", action="store_true", help="videos: folders of numbered PNGs instead of videos (default: off)")
    flag(
        "--masks_path",
        type=Path,
        metavar="PATH",
        help="true masks with the pictures' stems, 0/255 or class ids: prints scores and writes them to scores.json, "
        "scores.csv and, with the confusion of classes and the worst pictures, scores/ (default: no scores)",
    )
    flag(
        "--split",
        type=Path,
        metavar="CSV",
        help="CSV of rows name,True|False: only the pictures with a False (or test) row (default: all pictures)",
    )
    flag(
        "--part",
        choices=ROWS,
        help="part of --split: val with a run folder's split.csv scores as the training did (default: test)",
    )
    flag(
        "--labels",
        metavar="SET",
        help=f"what to answer: {', '.join(LABEL_SETS)}, or a .json file with classes of your own; 19-class weights "
        f"also answer {', '.join(OF_CELEBAMASK)} (default: the weights' own classes)",
    )
    flag(
        "--classes",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help="one mask of 0 and 255 of some of the weights' classes, for instance hair,l_eye (default: all of them)",
    )
    flag(
        "--zoom",
        choices=("auto", "none"),
        help="pictures: auto finds the faces that are small in a photo and looks again at each; none looks once at the "
        "whole, as videos always do (default: --quality's)",
    )
    flag(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="look in the mirror as well, and take the mean: twice the time (default: --quality's)",
    )
    flag("--quality", choices=QUALITIES, default="fast", help="fast is --zoom none --no-flip, best --zoom auto --flip")
    flag(
        "--batch_size",
        type=whole_from(1),
        default=8,
        metavar="N",
        help="pictures at a time on a GPU; on a CPU it is one in each core (default: %(default)s)",
    )
    flag("--device", help="cpu, cuda, cuda:1, mps ... (default: the fastest that is there)")
    parser.add_summary_flags()
    flag("--verbose", action="store_true", help="name each mask as it is written, and draw no bar (default: off)")
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; `images_path` has all sources, however they were named."""
    parser = create_parser()
    args = parser.read(argv)
    args.images_path = [*args.sources, *args.images_path]
    if not args.images_path:
        parser.error("name the pictures: files, folders or patterns")
    if STDIN in args.images_path:
        surplus = [f"--{name}" for name in ("save_path", *NEED_A_FOLDER) if getattr(args, name)]
        if len(args.images_path) > 1 or surplus:
            others = ", ".join(surplus) or "the other pictures"
            parser.error(f"{STDIN} is one picture on stdin, and stdout its mask; leave out {others}")
    elif args.save_path is None:
        parser.error("--save_path is missing: name a folder for the masks")
    if args.quiet and args.verbose:
        parser.error("give either --quiet or --verbose")
    if args.part and not args.split:
        parser.error("--part is of a split; name it with --split")
    if args.labels and args.classes:
        parser.error("give either --labels or --classes")
    zoom, flip = QUALITIES[args.quality]
    args.zoom = args.zoom or zoom
    args.flip = flip if args.flip is None else args.flip
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command; its exit status is 1 when a picture or a true mask could not be used."""
    return finish(run, parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Segment all pictures, then all videos, alone or with the other processes that torchrun started."""
    with joined(args.device) as ranks:
        if STDIN not in args.images_path:
            return answer(args, ranks)
        if ranks.count > 1:
            raise ValueError(f"{STDIN} is one picture, for one process; leave torchrun out")
        return pipe(args)


def answer(args: argparse.Namespace, ranks: Ranks) -> int:
    """Write this rank's share of masks and videos; the first rank reports of all of them. The exit status."""
    from faceparse.commands import score_report
    from faceparse.commands.places import find_places, find_video_places
    from faceparse.cutout import Background
    from faceparse.images import check_apart

    pictures, videos = told_apart(args.images_path, args.save_path)
    if videos and (args.masks_path or args.split):
        raise ValueError(f"{videos[0]}: --masks_path and --split are for pictures only; leave the videos out")
    background = Background(args.background, args.blur) if args.background else None
    transparent = background is not None and background.is_transparent
    others = [Path(text) for text in (args.background, args.split, args.labels, args.weights_path) if text]

    def find() -> tuple[list[Place], list[VideoPlace]]:
        places = []
        if pictures:
            cutout_suffix = ".png" if transparent else ".jpg"
            read = [*others, *(video for video in videos if isinstance(video, Path))]
            places = find_places(pictures, args.recursive, args.save_path, args.masks_path, cutout_suffix, read)
        suffixes = ("", "") if args.frames else (".mp4", ".webm" if transparent else ".mp4")
        video_places = find_video_places(videos, args.save_path, *suffixes, places, others)
        if args.masks_path:
            check_apart([*others, *(place.picture for place in places)], score_report.tables(args.save_path))
        return of_part(places, args.split, args.part or "test") if args.split else places, video_places

    places, video_places = ranks.first(find)  # before any other has written a mask
    from faceparse.commands.scoring import Scores  # after the places: torch takes seconds, a wrong path none
    from faceparse.predictor import load

    predictor = load(args.weights_path, args.device, args.labels, args.classes, args.zoom, args.flip)
    scores = Scores(predictor.labels) if args.masks_path else None
    start = time.perf_counter()
    written: dict[str, str] = {}
    problems: list[str] = []
    at_once = pictures_at_once(predictor, args.batch_size)
    mine = places[ranks.share(len(places), at_once)]
    if mine:
        outputs = Outputs(predictor, args.overlay, background, scores)
        written, problems = segment_pictures(mine, outputs, at_once, args.verbose)
    for other_written, other_problems, other_scores in ranks.gathered((written, problems, scores))[1:]:
        written |= other_written
        problems += other_problems
        if scores and other_scores:
            scores.join(other_scores)
    seconds = time.perf_counter() - start
    scored = scores.report() if scores and ranks.is_first else None
    if scores and scored:
        problems += scores.doubts()
        if not args.json:
            print(scored.table())
        scored.save(args.save_path, places, others)
    if places and ranks.is_first:
        report(args.save_path, len(written), seconds, predictor, problems)
    frames: dict[str, int] = {}
    unread: list[str] = []
    my_videos = video_places[ranks.share(len(video_places))]
    if my_videos:
        frames, unread = segment_videos(my_videos, predictor, args.overlay, background, args.smooth)
    for other_frames, other_unread in ranks.gathered((frames, unread))[1:]:
        frames |= other_frames
        unread += other_unread
    if not ranks.is_first:
        return 0
    for problem in unread:
        print(f"error: {problem}", file=sys.stderr)
    if args.json:
        summary = {
            "masks": written,
            "videos": frames,
            "problems": [*problems, *unread],
            "scores": scored.plain() if scored else None,
            "labels": predictor.labels.name,
            "device": str(predictor.device),
            "seconds": round(time.perf_counter() - start, 3),
        }
        print(json.dumps(summary))
    return 1 if problems or unread else 0


def pipe(args: argparse.Namespace) -> int:
    """The mask of the picture on stdin, as a PNG on stdout, as `--save_path` would have it in a file."""
    from faceparse import images

    if sys.stdout.isatty():
        raise ValueError("the mask would be written on the screen; send it to a file: > mask.png")
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "picture", Path(folder) / "mask.png"
        source.write_bytes(sys.stdin.buffer.read())
        try:
            picture = images.read_rgb(source)
        except images.UnreadableImage as error:
            raise ValueError(str(error).replace(str(source), "stdin")) from error

        from faceparse.predictor import load  # after the picture: torch takes seconds, a broken one none

        predictor = load(args.weights_path, args.device, args.labels, args.classes, args.zoom, args.flip)
        images.write_mask(out, predictor(picture), None if predictor.labels.is_binary else predictor.labels)
        sys.stdout.buffer.write(out.read_bytes())
    return 0


def of_part(places: list[Place], split: Path, part: str) -> list[Place]:
    """The places whose pictures a split has in that part; ValueError where there are none."""
    from faceparse.data.splits import read_split

    parts = read_split(split)
    kept = [place for place in places if parts.get(place.picture.stem) == part]
    if not kept:
        missing = f"no {ROWS[part]} row for any of the {len(places)} pictures"
        raise ValueError(f"{split}: {missing}; leave --split out for all")
    return kept


def report(save_path: Path, written: int, seconds: float, predictor: Predictor, problems: list[str]) -> None:
    """What was made, how fast, and everything that went wrong, on stderr."""
    rate = written / seconds if seconds else 0.0
    masks = "1 mask" if written == 1 else f"{written} masks"
    print(f"{masks} in {save_path} after {seconds:.1f} s: {rate:.1f} pictures/s on {predictor.device}", file=sys.stderr)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {written} masks", file=sys.stderr)
