"""Cut-outs: soft edges in the subject's own colours, and what is laid behind them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceparse import images
from faceparse.cutout import Background, cut_out, over, soft_alpha
from tests.conftest import draw_face


def plain(colour: tuple[int, int, int], height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


# alpha


def test_the_opacity_is_0_and_1_where_the_network_is_sure() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert (soft_alpha(noise, np.full((24, 32), 0.97, np.float32)) == 1).all()
    assert (soft_alpha(noise, np.full((24, 32), 0.03, np.float32)) == 0).all()


def test_the_edge_lies_where_the_pictures_edge_lies() -> None:
    picture = plain((20, 20, 20), 160, 160)
    picture[:, 80:] = 220
    ramp = np.clip((np.arange(40) - 17.5) / 4, 0, 1)  # over four pixels of the network's, 16 of the picture's
    alpha = soft_alpha(picture, np.tile(ramp, (40, 1)).astype(np.float32))
    assert alpha.shape == (160, 160)
    ramp_again = np.interp(np.arange(160), 4 * np.arange(40) + 1.5, ramp)
    truth = np.arange(160) >= 80
    assert np.abs(alpha[80] - truth).sum() < 0.6 * np.abs(ramp_again - truth).sum()


# the subject's own colours


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255)])
def test_a_soft_edge_has_the_subjects_colour_and_no_halo(background: tuple[int, int, int]) -> None:
    alpha = np.tile(np.clip((np.arange(60) - 25) / 10, 0, 1), (40, 1)).astype(np.float32)
    subject = np.array((200, 120, 80))
    picture = np.round(alpha[..., None] * subject + (1 - alpha[..., None]) * background).astype(np.uint8)
    cutout = cut_out(picture, alpha)
    assert cutout.shape == (40, 60, 4)
    assert cutout[0, 30].tolist()[3] == 128  # half
    assert np.abs(cutout[:, 28:, :3].astype(int) - subject).max() <= 12  # as mixed, half would be off by 40 to 100
    assert (cutout[:, :25] == 0).all()


def test_a_sure_subject_keeps_its_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    alpha = np.zeros((20, 30), np.float32)
    alpha[:, 10:] = 1
    cutout = cut_out(noise, alpha)
    assert np.array_equal(cutout[:, 10:, :3], noise[:, 10:])
    assert (cutout[:, 10:, 3] == 255).all()
    assert (cutout[:, :10] == 0).all()


def test_a_cutout_is_mixed_by_its_opacity() -> None:
    cutout = np.zeros((1, 3, 4), np.uint8)
    cutout[..., :3] = 200
    cutout[0, :, 3] = (0, 51, 255)  # none, a fifth, all
    assert over(cutout, plain((100, 0, 50), 1, 3))[0].tolist() == [[100, 0, 50], [120, 40, 80], [200, 200, 200]]


# backgrounds


def test_a_blurred_background_does_not_take_the_subjects_colours() -> None:
    picture = plain((90, 90, 90), 100, 100)
    alpha = np.zeros((100, 100), np.float32)
    alpha[30:70, 30:70] = 1
    picture[alpha == 1] = (255, 0, 0)
    assert np.abs(Background("blur", 5).behind(picture, alpha).astype(int)[alpha == 0] - 90).max() <= 2


def test_the_blur_grows_with_its_strength_and_0_is_none() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    nobody = np.zeros((100, 200), np.float32)
    assert np.array_equal(Background("blur", 0).behind(noise, nobody), noise)
    contrast = [Background("blur", percent).behind(noise, nobody).std() for percent in (0, 0.5, 2, 8)]
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[-1] < 5


def test_a_scene_is_cropped_and_not_squeezed() -> None:
    scene = np.hstack([plain((255, 0, 0), 20, 10), plain((0, 255, 0), 20, 20), plain((0, 0, 255), 20, 10)])
    assert (images.covering(scene, (10, 10)) == (0, 255, 0)).all()  # 40x20 -> 20x10, of which the middle ten columns
    assert images.covering(scene, (77, 31)).shape == (77, 31, 3)


def test_the_four_backgrounds(tmp_path: Path) -> None:
    images.write_rgb(tmp_path / "scene.png", plain((10, 20, 30), 7, 9))
    alpha = np.zeros((40, 60), np.float32)
    alpha[:, 30:] = 1
    picture = plain((200, 100, 50))
    for kind, left in (
        ("#0a141E", (10, 20, 30)),
        (str(tmp_path / "scene.png"), (10, 20, 30)),
        ("blur", (200, 100, 50)),
    ):
        view = Background(kind).behind(picture, alpha)
        assert (view[:, 30:] == (200, 100, 50)).all(), kind
        assert (view[:, :30] == left).all(), kind
    assert (Background("transparent").behind(picture, alpha)[..., 3] == alpha * 255).all()


def test_a_scene_serves_pictures_of_several_sizes(tmp_path: Path) -> None:
    images.write_rgb(tmp_path / "scene.png", np.hstack([plain((0, 0, 0), 20, 20), plain((255, 255, 255), 20, 20)]))
    background = Background(str(tmp_path / "scene.png"))
    background.behind(plain((9, 9, 9), 40, 2), np.zeros((40, 2), np.float32))
    wide = background.behind(plain((9, 9, 9), 20, 40), np.zeros((20, 40), np.float32))
    assert wide[0, 0].tolist() == [0, 0, 0]
    assert wide[0, 39].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["#12345", "green", "nowhere.jpg", ""])
def test_another_background_is_one_sentence(kind: str) -> None:
    with pytest.raises(ValueError, match="give blur, transparent, #rrggbb or a picture file"):
        Background(kind)


# large photos


def test_a_large_photo_is_cut_out_in_bands_as_a_small_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.write_rgb(tmp_path / "scene.png", np.random.default_rng(1).integers(0, 256, (9, 14, 3), dtype=np.uint8))
    picture = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    ramp = np.tile(np.clip(np.arange(20) / 6 - 1, 0, 1), (28, 1)).astype(np.float32)
    kinds = ("#0a141e", str(tmp_path / "scene.png"), "transparent", "blur")

    def views() -> list[np.ndarray]:
        alpha = soft_alpha(picture, ramp)
        return [Background(kind).behind(picture, alpha) for kind in kinds] + [
            Background("blur", 1).behind(picture, alpha)
        ]

    at_once = views()
    monkeypatch.setattr("faceparse.cutout.BAND_PIXELS", 350)  # seven rows
    in_bands = views()
    monkeypatch.setattr("faceparse.cutout.BEHIND_PIXELS", 3000)  # of 3500: a scene is enlarged band by band
    for whole, banded in zip(at_once + at_once[:2], in_bands + views()[:2], strict=True):
        assert np.abs(whole.astype(int) - banded).max() <= 1


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's")
@pytest.mark.parametrize("words", [[], ["--overlay"], ["--background", "blur"], ["--background", "#204060"]])
def test_a_photo_of_108_megapixels_takes_less_than_1500_mb(tmp_path: Path, words: list[str]) -> None:
    small = draw_face(0, 480)[0][:360]
    images.write_rgb(tmp_path / "photo.jpg", cv2.resize(small, (12000, 9000), interpolation=cv2.INTER_LINEAR))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "photo.jpg"), "--save_path", str(tmp_path / "out"), *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert len(list((tmp_path / "out").iterdir())) == 1 + bool(words)
    assert float(done.stdout.split()[-1]) < 1500


PEAK = """
import sys
from pathlib import Path
import numpy as np
import faceparse
from benchmarks.bench_growth import forget_peak, peak
from faceparse.commands import test

faceparse.load("face", "cpu")(np.zeros((64, 64, 3), np.uint8))
forget_peak()
before = peak()
assert test.main([*sys.argv[1:], "--weights_path", "face", "--device", "cpu"]) == 0
print(peak() - before)
"""
