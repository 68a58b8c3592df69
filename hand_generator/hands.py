"""Read hands from a folder of crops, or cut them out of whole frames; picture and mask have equal stems."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from faceparse import images
from hand_generator.paste import Hand

MIN_SHARE = 0.001
"""Smallest part of a frame that counts as a hand; what is less is a speck of the mask."""

MARGIN = 8
"""Pixels of the frame left around a hand that is cut out of it."""


def pairs_in(images_dir: Path, masks_dir: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pictures with the mask of their stem, and a sentence for each picture or mask without its partner.

    Raises FileNotFoundError, as `images.list_images`.
    """
    pairs, alone = images.pair_by_stem(images_dir, masks_dir)
    stems = {path.stem for path, _ in pairs}
    faults = [f"{path}: no mask {path.stem}.* in {masks_dir}" for path in alone]
    masks_alone = [path for path in images.list_images(masks_dir) if path.stem not in stems]
    faults += [f"{path}: no picture {path.stem}.* in {images_dir}" for path in masks_alone]
    return pairs, faults


def read_hands(image_path: Path, mask_path: Path, from_frames: bool = False) -> list[Hand]:
    """The one hand of a crop, or every separate hand of a whole frame, from top to bottom.

    Raises `images.UnreadableImage`, and ValueError naming the file when there is no hand, when a hand fills the whole
    picture and so has no outline, and when picture and mask differ in size.
    """
    image, mask = images.read_pair(image_path, mask_path)
    where = mask > mask.max() // 2  # right for 0/1, 0/255 and masks that went through JPEG
    hands = _cut_out(image, where, image_path.stem) if from_frames else [Hand(image, where, image_path.stem)]
    if not where.any() or not hands:
        raise ValueError(f"{mask_path}: the mask is empty, there is no hand in {image_path.name}")
    if any(hand.mask.all() and hand.mask.size == mask.size for hand in hands):
        raise ValueError(f"{mask_path}: the hand is as large as the picture, so it has no outline to cut along")
    return hands


def _cut_out(image: np.ndarray, where: np.ndarray, name: str) -> list[Hand]:
    """Each connected part of `where`, bool (H, W), as a crop of its own whose mask leaves the other hands out."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(where.view(np.uint8), connectivity=8)
    least = MIN_SHARE * where.size
    large = [part for part in range(1, count) if stats[part, cv2.CC_STAT_AREA] >= least]
    return [_crop(image, parts == part, stats[part, :4], f"{name}_{n}") for n, part in enumerate(large, start=1)]


def _crop(image: np.ndarray, where: np.ndarray, box: np.ndarray, name: str) -> Hand:
    """The part of a frame within `box` (x, y, width, height) and `MARGIN` around it."""
    x, y, width, height = (int(value) for value in box)
    window = np.s_[max(0, y - MARGIN) : y + height + MARGIN, max(0, x - MARGIN) : x + width + MARGIN]
    return Hand(image[window], np.ascontiguousarray(where[window]), name)
