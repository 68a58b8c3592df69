"""Who is served worse: scores of the bundled weights by what the held-out pictures show, and by size, turn and pixels.

    python benchmarks/fairness.py --faces_dir data/images --masks_dir data/masks --faces_split SPLIT.csv \\
        --backgrounds_dir BACKGROUNDS --person_dir PERSON

Takes the False rows of the split (for portraits PERSON/split.csv) and groups them by `TRAITS`, which are worked out of
the picture and its true mask, never of the answer (portraits, whose masks know no skin, take what `celebamask` calls
so). A group of fewer than `LEAST` pictures joins its smaller neighbour.
Prints Markdown for each part (`--only`): face and celebamask by trait; person by the portraits' tone and size; heights
and zoom, the face weights on some of the faces at several heights in composed scenes, as bench_zoom.py makes them; and
turns, the same turned in the picture's plane, and with few pixels.

A cell is the score with its 95 % interval from a bootstrap over pictures, then the gap to the trait's largest group and
that gap's interval. In bold is a gap whose interval leaves out 0; with a dagger it does so even when the level is
shared out among all gaps of the table (Bonferroni).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import photos
from benchmarks.bench_zoom import Scene, add_face, wall
from faceparse import images, load, metrics
from faceparse.data.splits import read_split
from faceparse.labels import CELEBAMASK, FACE, FACE_WITH_GLASSES, FOREGROUND
from faceparse.metrics import Confusion
from faceparse.predictor import Predictor

LEAST = 10
"""Pictures of a group, under which it joins a neighbour."""
HAVE_IT = 5
"""Pictures of every group that have a class, for it to count in their mean Dice."""
RUNS = 10
"""Bootstraps of `metrics.RESAMPLES` each."""
LEVEL = 0.05
SEED = 1

ENOUGH = 200
"""Pixels of a part of the skin, under which it has no colour."""
WARM = 3.0
"""The least b* of skin, under which the photo is grey or its light blue, and the angle means nothing."""
MIDDLE = (10, 90)
"""Percentiles of the skin's L* between which its colour is taken: no highlights, no shadows."""
FOREHEAD = (0.75, -0.6, 0.3)
"""Half width, top and bottom of a box around the eyes, in distances of the eyes, downwards from them."""
DARKER, FINER = 10.0, 1.5
"""A beard: skin below the mouth against the cheeks, in L* and chroma together, and times as much fine grain."""

SCENE = (768, 1024)
"""Height and width of a composed scene, pixels."""
HEIGHTS = (0.6, 0.3, 0.15, 0.08, 0.04)
"""Of the face, as a share of the scene's height."""
TURNS = (0, 15, 30, 45, 90)
"""Degrees, to the one side or the other, of a face of `TURNED` of the scene's height."""
TURNED = 0.45
PIXELS = (512, 128, 64, 32)
"""Sides of the faces' pictures, made small before they are asked about."""

CLASSES = len(CELEBAMASK)
HAIR_COLUMN = CELEBAMASK.id("hair")
FACE_COLUMN, LENSES_COLUMN, EYES_COLUMN = range(CLASSES, CLASSES + 3)
"""Columns of the counts of 19-class masks; after the classes come the face, the face with glasses, and the eyes."""

Score = Callable[[np.ndarray], np.ndarray]
"""Sums of counts (..., 5, columns), as `counted` has them -> (...)."""


def where(ids: np.ndarray, *names: str) -> np.ndarray:
    """Where a 19-class mask has one of the classes, bool (H, W)."""
    return np.isin(ids, [CELEBAMASK.id(name) for name in names])


def share(image: np.ndarray, ids: np.ndarray, name: str) -> float:
    """Of the picture's pixels that are of a class."""
    return float(where(ids, name).mean())


def ita(image: np.ndarray, skin: np.ndarray) -> float:
    """Individual Typology Angle of the skin, bool (H, W), in a picture, uint8 (H, W, 3) sRGB: degrees, darker is less.

    atan((L* - 50) / b*) of the median pixel (CIELAB, D65), highlights and shadows left out (Chardon et al. 1991). It
    measures the light on the skin as well as the skin. NaN for less than `ENOUGH` pixels and for a b* under `WARM`.
    """
    if np.count_nonzero(skin) < ENOUGH:
        return np.nan
    lab = cv2.cvtColor(image[skin][None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    low, high = np.percentile(lab[:, 0], MIDDLE)
    lightness, _, blue_to_yellow = np.median(lab[(lab[:, 0] >= low) & (lab[:, 0] <= high)], axis=0)
    return float(np.degrees(np.arctan((lightness - 50) / blue_to_yellow))) if blue_to_yellow >= WARM else np.nan


def tone(image: np.ndarray, ids: np.ndarray) -> float:
    return ita(image, where(ids, "skin"))


def yaw(image: np.ndarray, ids: np.ndarray) -> float:
    return photos.yaw(ids)


def forehead_hair(image: np.ndarray, ids: np.ndarray) -> float:
    """Share of a box around and over the eyes that is hair; NaN where the mask lacks an eye."""
    between, step = photos.eyes(ids)
    if np.isnan(between):
        return np.nan
    y, x = np.indices(ids.shape)
    place = (x + 1j * y - between) / step
    side, top, bottom = FOREHEAD
    box = (abs(place.real) < side) & (place.imag > top) & (place.imag < bottom)
    return float(where(ids, "hair")[box].mean())


def beard(image: np.ndarray, ids: np.ndarray) -> float:
    """1 or more where the skin below the mouth is both darker and greyer, and finer in grain, than the cheeks.

    An estimate: the data has no such label. NaN where mouth or nose are missing, or too little of the skin.
    """
    skin, lips, nose = where(ids, "skin"), where(ids, "mouth", "u_lip", "l_lip"), where(ids, "nose")
    if not lips.any() or not nose.any():
        return np.nan
    left, top, width, height = cv2.boundingRect(lips.view(np.uint8))
    y, x = np.indices(ids.shape)
    below = skin & (y > top + height + 0.05 * width) & (abs(x - left - width / 2) < 0.6 * width)
    _, nose_top, _, nose_height = cv2.boundingRect(nose.view(np.uint8))
    cheeks = skin & (y > nose_top) & (y < nose_top + nose_height)
    if min(np.count_nonzero(below), np.count_nonzero(cheeks)) < ENOUGH:
        return np.nan
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    grain = abs(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 2))

    def of(part: np.ndarray) -> tuple[float, float]:
        lightness, *chroma = np.median(lab[part], axis=0)
        return lightness + np.hypot(*chroma), max(float(np.median(grain[part])), 1e-6)

    (cheek_colour, cheek_grain), (colour, own_grain) = of(cheeks), of(below)
    return float(min((cheek_colour - colour) / DARKER, own_grain / cheek_grain / FINER))


@dataclass(frozen=True)
class Trait:
    """A number of a picture, uint8 (H, W, 3) RGB, and its true mask, and the groups that it falls into.

    `groups` are names with the least number that belongs to them, the highest first. NaN belongs to none.
    """

    measure: Callable[[np.ndarray, np.ndarray], float]
    groups: dict[str, float]


TINY = 1e-9
TONES = {"very light": 55.0, "light": 41.0, "intermediate": 28.0, "tan": 10.0, "brown": -30.0, "dark": -90.0}
"""The six usual classes of the angle, degrees."""

TRAITS = {
    "apparent skin tone": Trait(tone, TONES),
    "glasses": Trait(partial(share, name="eye_g"), {"with": TINY, "without": 0}),
    "hat": Trait(partial(share, name="hat"), {"with": TINY, "without": 0}),
    "earring": Trait(partial(share, name="ear_r"), {"with": TINY, "without": 0}),
    "hair over forehead or eyes": Trait(forehead_hair, {"over a tenth": 0.1, "less": 0}),
    "beard or stubble, estimated": Trait(beard, {"seen": 1, "not seen": -np.inf}),
    "head": Trait(yaw, {"profile": 0.25, "half turned": 0.12, "turned a little": 0.05, "frontal": 0}),
}

FACE_GROUPS = {name: trait.groups for name, trait in TRAITS.items()}
PERSON_GROUPS = {
    "apparent skin tone": TONES,
    "the person's share of the picture": {"over half": 0.5, "a third to half": 1 / 3, "under a third": 0.0},
}


def group_of(number: float, groups: dict[str, float]) -> str | None:
    """The first group whose least number is reached; None for NaN."""
    return next((name for name, least in groups.items() if number >= least), None)


def joined(sizes: dict[str, int], least: int = LEAST) -> dict[str, str]:
    """Name of each group -> its name after groups of fewer than `least` have joined the smaller of their neighbours.

    The smallest goes first; of neighbours of one size it is the former. Empty groups vanish without a trace.
    """
    parts = [([name], size) for name, size in sizes.items() if size]
    while len(parts) > 1 and min(size for _, size in parts) < least:
        here = min(range(len(parts)), key=lambda k: parts[k][1])
        there = min((k for k in (here - 1, here + 1) if 0 <= k < len(parts)), key=lambda k: parts[k][1])
        first, second = sorted((here, there))
        both = (parts[first][0] + parts[second][0], parts[first][1] + parts[second][1])
        parts[first : second + 1] = [both]
    return {name: " or ".join(names) for names, _ in parts for name in names}


def grouped(numbers: list[float], groups: dict[str, float], counts: np.ndarray) -> dict[str, np.ndarray]:
    """The counts (pictures, ...) of each group, joined where they are too few; those of NaN are left out."""
    names = [group_of(number, groups) for number in numbers]
    merged = joined({name: names.count(name) for name in groups})
    own = np.array([merged.get(name) for name in names], dtype=object)
    return {name: counts[own == name] for name in dict.fromkeys(merged.values())}


def counted(called: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Of one picture, float64 (5, classes): pixels hit, called, true; IoU, 0 where undefined, and if it is defined."""
    confusion = Confusion(classes)
    confusion.add(called, truth)
    iou = confusion.iou()
    return np.vstack([*confusion.sums(), np.nan_to_num(iou), ~np.isnan(iou)])


def eyes_kept(face: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`counted` within the true eyes of a 19-class mask, for a face answered as 0 and 1: IoU is the share kept."""
    eyes_there = np.uint8(where(truth, "l_eye", "r_eye"))
    return counted(face * eyes_there, eyes_there, 2)


def counted_face(called: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`counted` of a face answered as 0 and 1 against 19 classes: (5, 3), columns background, face, eyes."""
    return np.hstack([counted(called, FACE.table[truth], 2), eyes_kept(called, truth)[:, 1:]])


def counted_parts(called: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`counted` of 19 classes, and of the face, the face with glasses and the eyes as they make them up: (5, 22)."""
    lenses = counted(FACE_WITH_GLASSES.table[called], FACE_WITH_GLASSES.table[truth], 2)
    face = counted_face(FACE.table[called], truth)
    return np.hstack([counted(called, truth, CLASSES), face[:, 1:2], lenses[:, 1:], face[:, 2:]])


def pooled(sums: np.ndarray, column: int) -> np.ndarray:
    return metrics.iou(*np.moveaxis(sums[..., :3, column], -1, 0))


def of_pictures(sums: np.ndarray, column: int) -> np.ndarray:
    return metrics.ratio(sums[..., 3, column], sums[..., 4, column])


def mean_dice(sums: np.ndarray, columns: list[int]) -> np.ndarray:
    return metrics.mean(metrics.dice(*np.moveaxis(sums[..., :3, columns], -2, 0)))


def iou_scores(what: str, column: int) -> dict[str, Score]:
    return {
        f"{what} IoU, pooled": partial(pooled, column=column),
        f"{what} IoU, mean of the pictures": partial(of_pictures, column=column),
    }


def common_classes(groups: Iterable[np.ndarray]) -> list[int]:
    """Classes but the background that `HAVE_IT` pictures of each group have: only of them are mean scores alike."""
    have = [(counts[:, 2, :CLASSES] > 0).sum(axis=0) >= HAVE_IT for counts in groups]
    return [column for column in np.flatnonzero(np.all(have, axis=0)).tolist() if column]


@dataclass(frozen=True)
class Row:
    """A group: score -> float64 (3,), value, lower and upper bound; score -> gap, and the gap of each resample.

    The group that others are held against has no gaps.
    """

    trait: str
    group: str
    pictures: int
    scores: dict[str, np.ndarray]
    gaps: dict[str, tuple[float, np.ndarray]]


def rows_of(trait: str, groups: dict[str, np.ndarray], scores: dict[str, Score], paired: bool = False) -> list[Row]:
    """Scores of each group, and how far it is from the largest one (of equals the first).

    `paired` groups are the same faces in the same order: each resample then has the same of them in all groups.
    """
    reference = max(groups, key=lambda name: len(groups[name]))
    whole = {name: counts.sum(axis=0) for name, counts in groups.items()}
    drawn = {
        name: np.concatenate([metrics.resampled(counts, seed) for seed in range(RUNS * at, RUNS * (at + 1))])
        for at, (name, counts) in zip([0] * len(groups) if paired else range(len(groups)), groups.items(), strict=True)
    }
    rows = []
    for name, counts in groups.items():
        own = {
            key: np.append(score(whole[name]), metrics.interval(score(drawn[name]))) for key, score in scores.items()
        }
        gaps = {
            key: (float(score(whole[name]) - score(whole[reference])), score(drawn[name]) - score(drawn[reference]))
            for key, score in scores.items()
            if name != reference
        }
        rows.append(Row(trait, name, len(counts), own, gaps))
    return rows


def table(rows: list[Row]) -> str:
    """As Markdown, and how many gaps are beyond chance."""
    number = sum(len(row.gaps) for row in rows)
    heads = list(rows[0].scores)
    lines = [f"| | | pictures | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 3)]
    alone = together = 0
    for before, row in zip([None, *rows], rows, strict=False):
        cells = []
        for head in heads:
            value, *bounds = row.scores[head]
            cell = f"{decimal(value)} {span(bounds)}"
            if head in row.gaps:
                gap, drawn = row.gaps[head]
                bounds, strict = metrics.interval(drawn, 1 - LEVEL), metrics.interval(drawn, 1 - LEVEL / number)
                beyond, far_beyond = (bool(low > 0 or high < 0) for low, high in (bounds, strict))
                alone, together = alone + beyond, together + far_beyond
                text = f"{decimal(gap, sign=True)} {span(bounds, sign=True)}"
                cell += f"; **{text}**{'†' if far_beyond else ''}" if beyond else f"; {text}"
            cells.append(cell)
        trait = row.trait if before is None or before.trait != row.trait else ""
        lines.append(f"| {trait} | {row.group} | {row.pictures} | {' | '.join(cells)} |")
    chance = f"{number} gaps, of which chance alone makes about {number * LEVEL:.1f} bold"
    return "\n".join([*lines, "", f"{chance}: {alone} are bold, {together} with a dagger"])


def decimal(number: float, sign: bool = False) -> str:
    text = f"{number:{'+' if sign else ''}.3f}"
    return "-" if np.isnan(number) else text.replace("0.", ".", 1) if abs(number) < 1 else text


def span(bounds: Iterable[float], sign: bool = False) -> str:
    return "[" + ", ".join(decimal(bound, sign) for bound in bounds) + "]"


def held_out(images_dir: Path, masks_dir: Path, split: Path) -> list[tuple[Path, Path]]:
    """Pictures and masks of the False rows."""
    parts = read_split(split)
    return [pair for pair in images.pair_by_stem(images_dir, masks_dir)[0] if parts.get(pair[0].stem) == "test"]


def trait_groups(
    traits: dict[str, dict[str, float]], numbers: dict[str, list[float]], counts: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Trait -> group -> counts, after all of them; without a trait that no picture tells."""
    groups = {name: grouped(numbers[name], own, counts) for name, own in traits.items()}
    return {"all": {"": counts}} | {name: own for name, own in groups.items() if own}


def table_of(
    groups: dict[str, dict[str, np.ndarray]], scores: Callable[[dict[str, np.ndarray]], dict[str, Score]]
) -> str:
    return table([row for name, own in groups.items() for row in rows_of(name, own, scores(own))])


def answered(predictor: Predictor, picture: np.ndarray, kept: Path | None) -> np.ndarray:
    """The mask, ids of the weights' classes, uint8 (H, W): as it is kept, or made, and kept if there is a place."""
    if kept and kept.exists():
        mask = images.read_mask(kept)
    else:
        mask = predictor(picture)
        if kept:
            images.write_mask(kept, mask)
    tick()
    return mask // FOREGROUND if predictor.labels.is_binary else mask


def not_told(numbers: dict[str, list[float]]) -> str:
    """Of how many pictures each trait says nothing."""
    return f"not told: { {name: int(np.isnan(values).sum()) for name, values in numbers.items()} }"


def traits_and_counts(
    args: argparse.Namespace, weights: str, count: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[dict[str, list[float]], np.ndarray]:
    """The number of each of `TRAITS` for each picture, and what `count` makes of each answer and true mask."""
    predictor = load(weights, "cpu")
    numbers: dict[str, list[float]] = {name: [] for name in TRAITS}
    counts = []
    for pair in held_out(args.faces_dir, args.masks_dir, args.faces_split):
        image, ids = images.read_pair(*pair)
        counts.append(count(answered(predictor, image, place(args, weights, pair)), ids))
        for name, trait in TRAITS.items():
            numbers[name].append(trait.measure(image, ids))
    return numbers, np.stack(counts)


def place(args: argparse.Namespace, folder: str, pair: tuple[Path, Path]) -> Path | None:
    """Where an answer is kept; None without `--out`."""
    return args.out / folder / f"{pair[0].stem}.png" if args.out else None


def face_part(args: argparse.Namespace) -> str:
    """The weights `face` on the held-out faces, by trait."""
    numbers, counts = traits_and_counts(args, "face", counted_face)
    groups = trait_groups(FACE_GROUPS, numbers, counts)
    scores = iou_scores("face", 1) | {"eyes kept": partial(pooled, column=2)}
    return f"{table_of(groups, lambda _: scores)}\n{not_told(numbers)}"


def celebamask_part(args: argparse.Namespace) -> str:
    """The weights `celebamask` on the held-out faces, by trait."""

    def scores(groups: dict[str, np.ndarray]) -> dict[str, Score]:
        more = {
            "face with glasses IoU, pooled": partial(pooled, column=LENSES_COLUMN),
            "eyes kept": partial(pooled, column=EYES_COLUMN),
            "mean Dice": partial(mean_dice, columns=common_classes(groups.values())),
        }
        return iou_scores("face", FACE_COLUMN) | iou_scores("hair", HAIR_COLUMN) | more

    numbers, counts = traits_and_counts(args, "celebamask", counted_parts)
    groups = trait_groups(FACE_GROUPS, numbers, counts)
    classes = {name: len(common_classes(own.values())) for name, own in groups.items()}
    return f"{table_of(groups, scores)}\n{not_told(numbers)}\nclasses of the mean Dice: {classes}"


def person_part(args: argparse.Namespace) -> str:
    """The weights `person` on the held-out portraits, by the tone of what `celebamask` calls skin, and by size."""
    predictor, parts = load("person", "cpu"), load("celebamask", "cpu")
    numbers: dict[str, list[float]] = {name: [] for name in PERSON_GROUPS}
    counts = []
    for pair in held_out(args.person_dir / "images", args.person_dir / "masks", args.person_dir / "split.csv"):
        image, mask = images.read_pair(*pair)
        truth = mask > FOREGROUND // 2
        counts.append(counted(answered(predictor, image, place(args, "person", pair)), truth, 2))
        skin = answered(parts, image, place(args, "person_parts", pair))
        for name, number in zip(PERSON_GROUPS, (tone(image, skin), float(truth.mean())), strict=True):
            numbers[name].append(number)
    groups = trait_groups(PERSON_GROUPS, numbers, np.stack(counts))
    return f"{table_of(groups, lambda _: iou_scores('person', 1))}\n{not_told(numbers)}"


Made = Callable[[int, tuple[Path, Path]], tuple[np.ndarray, np.ndarray]]
"""Number of a face, its picture and mask -> picture to ask about, uint8 (H, W, 3) RGB; 1 where the face is, uint8."""


def asked(args: argparse.Namespace, predictor: Predictor, make: Made, folder: str) -> np.ndarray:
    """Counts of `--faces` of the held-out faces, evenly out of all, each as `make` shows it."""
    pairs = list(enumerate(held_out(args.faces_dir, args.masks_dir, args.faces_split)))
    counts = []
    for number, pair in pairs[:: max(1, len(pairs) // args.faces)][: args.faces]:
        picture, truth = make(number, pair)
        counts.append(counted(answered(predictor, picture, place(args, folder, pair)), truth, len(FACE)))
    return np.stack(counts)


def in_scene(
    number: int, pair: tuple[Path, Path], backgrounds: list[Path], height: float, turn: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A face on a wall of photos, which is the same at every height and turn."""
    rng = np.random.default_rng([SEED, number])
    to_side = turn * rng.choice([-1, 1])
    scene = Scene(wall(backgrounds, *SCENE, rng), np.zeros(SCENE, np.uint8), [])
    add_face(scene, *images.read_pair(*pair), height * SCENE[0], rng, (to_side, to_side))
    return scene.picture, np.uint8(scene.faces > 0)


def made_small(number: int, pair: tuple[Path, Path], side: int) -> tuple[np.ndarray, np.ndarray]:
    """A face's picture brought to `side` pixels and back, so that the truth is the same at every size."""
    image, ids = images.read_pair(*pair)
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, ids.shape[::-1], interpolation=cv2.INTER_LINEAR), FACE.table[ids]


def heights_part(args: argparse.Namespace, zoom: str = "none") -> str:
    """The weights `face` on scenes with faces of several heights."""
    predictor, backgrounds = load("face", "cpu", zoom=zoom), images.list_images(args.backgrounds_dir)
    groups = {}
    for height in HEIGHTS:
        make = partial(in_scene, backgrounds=backgrounds, height=height)
        name = f"{height:.0%}, {height * SCENE[0]:.0f} px"
        groups[name] = asked(args, predictor, make, f"heights_{zoom}/{height}")
    return table(rows_of("height of the face", groups, iou_scores("face", 1), paired=True))


def turns_part(args: argparse.Namespace) -> str:
    """The weights `face` on turned faces in scenes, and on pictures of few pixels."""
    predictor, backgrounds = load("face", "cpu"), images.list_images(args.backgrounds_dir)
    large = partial(in_scene, backgrounds=backgrounds, height=TURNED)
    shown = {
        "turned in the picture's plane": {f"{turn}°": partial(large, turn=turn) for turn in TURNS},
        "side of the picture": {f"{side} px": partial(made_small, side=side) for side in PIXELS},
    }
    rows = []
    for name, ways in shown.items():
        groups = {group: asked(args, predictor, make, f"turns/{group}") for group, make in ways.items()}
        rows += rows_of(name, groups, iou_scores("face", 1), paired=True)
    return table(rows)


PARTS = {
    "face": face_part,
    "celebamask": celebamask_part,
    "person": person_part,
    "heights": heights_part,
    "zoom": partial(heights_part, zoom="auto"),
    "turns": turns_part,
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag = parser.add_argument
    flag("--faces_dir", type=Path, required=True, help="pictures of the data set")
    flag("--masks_dir", type=Path, required=True, help="their 19-class masks")
    flag("--faces_split", type=Path, required=True, help="CSV of rows name,True|False")
    flag("--backgrounds_dir", type=Path, required=True, help="photos without people, for the scenes")
    flag("--person_dir", type=Path, required=True, help="folder with images/, masks/ and split.csv of portraits")
    flag("--faces", type=int, default=50, help="faces in the scenes (default: %(default)s)")
    flag("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the parts (default: all)")
    flag("--out", type=Path, help="folder to keep the masks in; a second run goes on from them (default: none)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for name in args.only:
        text = PARTS[name](args)
        print(file=sys.stderr)
        print(f"## {name}\n\n{text}\n", flush=True)
    return 0


def tick() -> None:
    print(".", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
