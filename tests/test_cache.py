"""Decoded pictures are kept within the memory given, shared by the workers, and change no result."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from faceparse import checkpoint, images
from faceparse.commands.train import main as train
from faceparse.commands.train_flags import size_in_bytes
from faceparse.data.batches import BatchesWithHands, TrainingFaces, Wild
from faceparse.data.cache import Decoded, PictureCache
from faceparse.data.folder import TrainingData, find_hands, find_pairs
from faceparse.labels import FACE
from faceparse.transforms import Augment, Preprocess
from tests.conftest import draw_face, draw_faces
from tests.test_training import SMALL

PICTURE = 4 * 64 * 64
"""Bytes of a picture of 64 pixels a side and its mask."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight faces with their masks, and a hand."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_faces(folder, 8)
    images.write_rgb(folder / "hands/images/0.png", np.full((20, 20, 3), 180, np.uint8))
    images.write_mask(folder / "hands/masks/0.png", np.pad(np.full((14, 14), 255, np.uint8), 3))
    return folder


def plain(value: int, side: int = 4) -> Decoded:
    return np.full((side, side, 3), value, np.uint8), np.full((side, side), value, np.uint8)


def never() -> Decoded:
    raise AssertionError("decoded again")


def test_pictures_are_kept_until_the_memory_is_full_and_the_others_decoded_each_time() -> None:
    cache = PictureCache(3, limit=2 * 4 * 16 + 63)  # a picture of 4x4 and its mask are 64 bytes: two fit
    for number in range(3):
        assert cache.get(number, lambda value=number: plain(value + 7))[1][0, 0] == number + 7
    for number in range(2):
        image, mask = cache.get(number, never)
        assert image.shape == (4, 4, 3) and (image == number + 7).all() and (mask == number + 7).all()
    assert cache.get(2, lambda: plain(50))[1][0, 0] == 50
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 1


def test_a_picture_too_large_for_what_is_left_leaves_room_for_smaller_ones() -> None:
    cache = PictureCache(2, limit=100)
    cache.get(0, lambda: plain(1, side=6))  # 144 bytes
    cache.get(1, lambda: plain(2))
    assert (cache.get(1, never)[0] == 2).all()
    assert (cache.get(0, lambda: plain(3, side=6))[0] == 3).all()


def test_what_a_forked_worker_decodes_all_have() -> None:
    cache = PictureCache(1, limit=64)
    worker = multiprocessing.get_context("fork").Process(target=lambda: cache.get(0, lambda: plain(9)))
    worker.start()
    worker.join()
    assert (cache.get(0, never)[0] == 9).all()


def test_a_cache_larger_than_the_machine_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="can't give"):
        PictureCache(1, 1 << 62)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # a machine of few cores is told so
@pytest.mark.parametrize(("room", "workers"), [(16, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("soft", [False, True])
def test_batches_are_the_same_bits_with_and_without_a_cache(drawn: Path, room: int, workers: int, soft: bool) -> None:
    pairs = find_pairs(drawn / "faces", drawn / ("masks" if soft else "ids"), FACE, soft)
    data = TrainingData(pairs, pairs, hands=find_hands(drawn / "hands"), backgrounds=[draw_face(9, 50)[0]])
    preprocess = Preprocess(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def two_epochs(cache: PictureCache | None, workers: int) -> list[torch.Tensor]:
        faces = TrainingFaces(data, FACE, Augment(32), preprocess, Wild(0.4, 0.4, 0.4), soft, cache)
        draws = BatchesWithHands(8, 0, batch_size=4, hands=2, seed=0)
        how = "fork" if workers else None
        loader = DataLoader(
            faces,
            batch_sampler=draws,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context=how,
        )
        values = []
        for draws.epoch in range(2):
            values += [value for batch in loader for value in batch]
        return values

    cached, decoded = two_epochs(PictureCache(8, room * PICTURE), workers), two_epochs(None, 0)
    assert len(cached) == 8 and all(map(torch.equal, cached, decoded))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_training_with_a_cache_gives_the_weights_of_one_without(drawn: Path) -> None:
    data = ["--faces_dir", str(drawn / "faces"), "--masks_dir", str(drawn / "masks")]
    hands = ["--fahand_dir", str(drawn / "faces"), "--mahand_dir", str(drawn / "masks"), "--hand_ratio", "0.5"]
    trained = []
    for name, more in (("without", []), ("with", ["--cache", "100K", "--workers", "2"])):
        run = ["--epochs", "2", "--weights_dir", str(drawn / name)]
        assert train([*data, *hands, *SMALL, *run, *more]) == 0
        trained.append(checkpoint.load(drawn / name / "last.safetensors").model.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_large_photos_are_halved_as_far_as_every_zoom_begins_and_smaller_ones_stay() -> None:
    augment = Augment(64, scale=(0.6, 1.6))
    photo, mask = np.zeros((600, 800, 3), np.uint8), np.zeros((600, 800), np.uint8)
    photo[:, 400:], mask[:, 400:] = 200, 3
    small, small_mask = augment.shrink(photo, mask)  # 64 / 800 * 1.6 = .128, .256, .512, and 1.024 is enough
    assert small.shape == (75, 100, 3) and small_mask.shape == (75, 100)
    assert (small[:, 50:] == 200).all() and (small[:, :50] == 0).all()
    assert (small_mask[:, 50:] == 3).all() and (small_mask[:, :50] == 0).all()
    assert augment.shrink(photo[:100, :170], mask[:100, :170])[0].shape == (100, 170, 3)  # 64 / 170 * 1.6 = .602


def test_moving_a_shrunk_photo_is_moving_the_photo_where_no_more_halves_are_asked_for() -> None:
    augment = Augment(64, scale=(1.5, 1.6))
    photo, mask = (np.repeat(np.repeat(x, 8, 0), 8, 1) for x in draw_face(1, 100))
    moved, moved_mask = augment.move(photo, mask, np.random.default_rng(3))
    again, again_mask = augment.move(*augment.shrink(photo, mask), np.random.default_rng(3))
    assert (moved == again).all() and (moved_mask == again_mask).all()


def test_memory_is_given_in_bytes_with_a_unit() -> None:
    assert [size_in_bytes(text) for text in ("0", "512", "64K", "500M", "4G", "1.5G")] == [
        0,
        512,
        65_536,
        524_288_000,
        4_294_967_296,
        1_610_612_736,
    ]


@pytest.mark.parametrize("text", ["", "G", "4GB", "-1G", "some"])
def test_any_other_memory_is_refused(drawn: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(["--faces_dir", "x", "--masks_dir", "x", "--weights_dir", "x", f"--cache={text}"])
    assert "--cache" in capsys.readouterr().err
