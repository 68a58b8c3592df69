"""Decoded pictures in memory that this process and the workers forked from it share."""

from __future__ import annotations

import mmap
import multiprocessing
from collections.abc import Callable

import numpy as np

Decoded = tuple[np.ndarray, np.ndarray]
"""A picture and its mask: uint8 (H, W, 3) RGB and uint8 (H, W)."""


class PictureCache:
    """Pictures, numbered from 0, as they were first decoded: those that come first, as many as `limit` bytes hold.

    The memory has no file: it is taken as it fills, and gone with the last of its processes, however that ends. Raises
    ValueError where it can't be had, and where workers can't be forked.
    """

    def __init__(self, pictures: int, limit: int):
        if "fork" not in multiprocessing.get_all_start_methods():
            raise ValueError("a cache is shared with forked workers, which this system has not; leave --cache out")
        try:
            self._pixels = np.frombuffer(mmap.mmap(-1, limit), np.uint8)
        except (OSError, OverflowError) as error:
            raise ValueError(f"--cache: this machine can't give {limit} bytes ({error}); ask for less") from error
        table = np.frombuffer(mmap.mmap(-1, 8 * (1 + 3 * pictures)), np.int64)
        self._used, self._places = table[:1], table[1:].reshape(pictures, 3)  # start, height, width; 0 where none is
        self._lock = multiprocessing.get_context("fork").Lock()

    def get(self, number: int, decode: Callable[[], Decoded]) -> Decoded:
        """What `decode` gives for that picture, or gave before: then it can't be written to."""
        with self._lock:
            start, height, width = self._places[number].tolist()
        if not height:
            decoded = decode()
            self._keep(number, *decoded)
            return decoded
        image = self._pixels[start:][: 3 * height * width].reshape(height, width, 3)
        mask = self._pixels[start + image.nbytes :][: height * width].reshape(height, width)
        image.flags.writeable = mask.flags.writeable = False
        return image, mask

    def _keep(self, number: int, image: np.ndarray, mask: np.ndarray) -> None:
        """Unless there is no room, or another worker was faster."""
        with self._lock:
            start = int(self._used[0])
            middle, stop = start + image.nbytes, start + image.nbytes + mask.nbytes
            if stop > len(self._pixels) or self._places[number, 1]:
                return
            self._pixels[start:middle], self._pixels[middle:stop] = image.ravel(), mask.ravel()
            self._places[number], self._used[0] = (start, *mask.shape), stop
