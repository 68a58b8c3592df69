"""The predictor, around a network simple enough to know its answer: bright is foreground."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from faceparse import bundled, checkpoint, predictor
from faceparse.labels import CELEBAMASK, FACE, HAIR, LABEL_SETS, LabelSet
from faceparse.models import create_model
from faceparse.predictor import Predictor, load
from faceparse.transforms import Preprocess

PLAIN = Preprocess(size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
THREE = LabelSet("three", ("dark", "middle", "bright"), ((0, 0, 0), (0, 255, 0), (255, 0, 0)))

DrawnFace = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


class Brightness(nn.Module):
    """Logits (B, K, H, W): class k is likeliest where the brightness, 0..1, is nearest to k / (K - 1)."""

    def __init__(self, classes: int):
        super().__init__()
        self.register_buffer("levels", torch.linspace(0, 1, classes).view(1, classes, 1, 1))
        self.batches: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.batches.append(len(image))
        return -20 * (image.mean(dim=1, keepdim=True) - self.levels).abs()


def brightness(labels: LabelSet = FACE) -> Predictor:
    return Predictor(Brightness(len(labels)), labels, PLAIN, device="cpu")


def half_white(height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 255
    return image


def test_a_two_class_mask_is_0_and_255_at_the_pictures_size() -> None:
    mask = brightness()(half_white(64, 64))
    assert mask.dtype == np.uint8
    assert mask.shape == (64, 64)
    assert (mask[:, :32] == 0).all()
    assert (mask[:, 32:] == 255).all()


def test_a_mask_of_more_classes_holds_their_ids() -> None:
    image = np.repeat(np.array([0, 128, 255], np.uint8), 20)[None, :, None].repeat(30, 0).repeat(3, 2)
    mask = brightness(THREE)(image)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask[:, ::20][:, :3], np.tile([0, 1, 2], (30, 1)))


@pytest.mark.parametrize("hw", [(1, 1), (1, 500), (40, 3000), (3000, 40), (33, 1000), (64, 64), (7, 5), (1200, 1601)])
def test_every_shape_is_answered_at_its_own_size(hw: tuple[int, int]) -> None:
    image = np.full((*hw, 3), 255, np.uint8)
    two, three = brightness(), brightness(THREE)
    assert np.array_equal(two(image), np.full(hw, 255))
    assert np.array_equal(three(image), np.full(hw, 2))
    assert two.probabilities(image).shape == hw
    assert three.probabilities(image).shape == (3, *hw)


def test_an_edge_stays_where_it_is_when_the_picture_is_larger_than_the_network() -> None:
    mask = brightness()(half_white(900, 1200))
    edges = np.argmax(mask > 0, axis=1)
    assert np.abs(edges - 600).max() <= 1200 / 64 / 2  # half of one pixel of the network


def test_probabilities_are_float32_and_decide_the_mask() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    two, three = brightness(), brightness(THREE)
    foreground, classes = two.probabilities(image), three.probabilities(image)
    assert foreground.dtype == classes.dtype == np.float32
    assert foreground.min() >= 0
    assert foreground.max() <= 1
    assert np.allclose(classes.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(two(image), np.where(foreground > 0.5, 255, 0))
    assert np.array_equal(three(image), classes.argmax(axis=0))


def test_the_probability_of_one_grey_is_the_softmax_by_hand() -> None:
    # brightness 153 / 255 = 0.6: logits -12 and -8, so the foreground has 1 / (1 + e^-4)
    assert brightness().probabilities(np.full((64, 64, 3), 153, np.uint8)) == pytest.approx(
        1 / (1 + np.exp(-4)), abs=1e-5
    )


def test_bands_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).integers(0, 256, (301, 207, 3), dtype=np.uint8)
    whole = [brightness(labels).probabilities(image) for labels in (FACE, THREE)]
    monkeypatch.setattr(predictor, "BAND_VALUES", 1000)
    for labels, expected in zip((FACE, THREE), whole, strict=True):
        assert np.allclose(brightness(labels).probabilities(image), expected, rtol=0, atol=1e-5)  # float32 rounding


def test_a_batch_answers_in_order_and_groups_what_looks_alike() -> None:
    shapes = [(64, 64), (32, 64), (128, 128), (64, 64), (40, 80)]
    model = Brightness(2)
    levels = [0, 255, 255, 0, 255]
    masks = Predictor(model, FACE, PLAIN, "cpu").predict_batch(
        [np.full((*hw, 3), level, np.uint8) for hw, level in zip(shapes, levels, strict=True)]
    )
    assert [mask.shape for mask in masks] == shapes
    assert [int(mask.min()) for mask in masks] == [int(mask.max()) for mask in masks] == levels
    assert model.batches == [3, 2]


def test_a_real_network_answers_the_same_alone_and_in_a_batch(drawn_face: DrawnFace) -> None:
    torch.manual_seed(0)
    real = Predictor(create_model("fpn", "mobilenetv2_100", 19), CELEBAMASK, PLAIN, "cpu")
    pictures = [drawn_face(seed, 80)[0] for seed in range(5)]
    together = real.predict_batch(pictures)
    for picture, mask in zip(pictures, together, strict=True):
        assert (real(picture) != mask).mean() < 1e-3  # sums in another order may turn a pixel on the fence


def test_a_path_a_pillow_image_and_arrays_are_all_taken(tmp_path: Path) -> None:
    rgb = half_white(20, 30)
    path = tmp_path / "photo.png"
    Image.fromarray(rgb).save(path)
    rgba = np.dstack([rgb, np.full((20, 30), 255, np.uint8)])
    expected = brightness()(rgb)
    for picture in (path, str(path), Image.fromarray(rgb), rgb[..., 0], rgba, rgb[:, ::-1][:, ::-1]):
        assert np.array_equal(brightness()(picture), expected)


def test_transparent_parts_count_as_white() -> None:
    rgba = np.zeros((10, 10, 4), np.uint8)
    assert (brightness()(rgba) == 255).all()


class BrightAtTheTop(nn.Module):
    """Logits (B, 2, H, W): the foreground is what is bright in the upper half."""

    def forward(self, image: Tensor) -> Tensor:
        bright = image.mean(dim=1)
        bright[:, image.shape[2] // 2 :] = 0
        return torch.stack([torch.full_like(bright, 10), 20 * bright], dim=1)


# The way from a picture that lies in its file as a camera with this EXIF orientation wrote it to the upright one.
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_pillow_image_is_seen_upright_and_answered_as_it_lies(orientation: int) -> None:
    stored = np.zeros((64, 32), np.uint8)
    stored[:16, :16] = stored[48:, 16:] = stored[16:32, 16:] = 255
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    two = Predictor(BrightAtTheTop(), FACE, PLAIN, device="cpu")
    mask = two(image)
    assert mask.shape == (image.height, image.width)
    assert np.array_equal(two.predict_batch([stored, image])[1], mask)
    assert np.array_equal(two.probabilities(image) > 0.5, mask > 0)
    upright = UPRIGHT[orientation](stored)
    expected = two(np.ascontiguousarray(upright))
    assert expected.any()
    assert not expected[upright.shape[0] // 2 + 2 :].any()
    assert np.array_equal(UPRIGHT[orientation](mask), expected)
    classes = brightness(THREE).probabilities(image)
    assert classes.shape == (3, image.height, image.width)
    assert (classes.argmax(axis=0)[4:12, 4:12] == 2).all()


def test_a_file_is_answered_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: right becomes bottom
    Image.fromarray(half_white(40, 60)).save(tmp_path / "a.png", exif=exif)
    mask = brightness()(tmp_path / "a.png")
    assert mask.shape == (60, 40)
    assert (mask[:20] == 0).all()
    assert (mask[40:] == 255).all()


@pytest.mark.parametrize(
    ("picture", "got"),
    [
        (np.zeros((4, 4, 3), np.float32), "a float32 array of shape (4, 4, 3)"),
        (np.zeros((4, 4, 2), np.uint8), "a uint8 array of shape (4, 4, 2)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "a uint8 array of shape (2, 4, 4, 3)"),
        (np.zeros((0, 4, 3), np.uint8), "an empty array of shape (0, 4, 3)"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_anything_else_is_told_what_was_expected_and_what_came(picture: object, got: str) -> None:
    with pytest.raises(ValueError, match="expected a path, a Pillow image or a uint8 array") as caught:
        brightness()(picture)  # type: ignore[arg-type]
    assert str(caught.value).endswith(f"got {got}")


def test_the_network_runs_in_evaluation_mode_and_keeps_no_gradients() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).train()
    before = model[1].running_mean.clone()
    Predictor(model, FACE, PLAIN, "cpu")(half_white(40, 40))
    assert not model.training
    assert torch.equal(model[1].running_mean, before)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    design = checkpoint.Design("fpn", "mobilenetv2_100")
    state = create_model("fpn", "mobilenetv2_100", 2).state_dict()
    checkpoint.save(path, state, design, FACE, PLAIN, {"data": "none"})
    return path


def test_a_weights_file_is_all_that_load_needs(weights: Path) -> None:
    loaded = load(weights, device="cpu")
    assert loaded.labels is FACE
    assert loaded.preprocess == PLAIN
    assert loaded.about["data"] == "none"
    assert loaded(half_white(30, 50)).shape == (30, 50)


@pytest.mark.parametrize("code", ["lib/faceparse/bundled.py", "checkout/faceparse/bundled.py"])
def test_bundled_weights_have_names(weights: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    root = weights.parent / code.split("/")[0]  # installed they are in the package, in a plain checkout beside it
    folder = root / "faceparse/weights" if "lib" in code else root / "weights"
    folder.mkdir(parents=True)
    (folder / "face.safetensors").write_bytes(weights.read_bytes())
    monkeypatch.setattr(bundled, "__file__", str(weights.parent / code))
    assert bundled.weights_file("face") == (folder / "face.safetensors").resolve()
    assert load(device="cpu").labels is FACE
    assert load("face", device="cpu").labels is FACE


def test_what_is_asked_for_chooses_the_bundled_weights() -> None:
    named = {labels: bundled.best_for(labels).stem for labels in LABEL_SETS}
    assert named == bundled.BEST_FOR
    assert bundled.best_for().stem == "face"
    assert bundled.best_for(None, ["hair", "hat"]).stem == "celebamask"


def test_missing_bundled_weights_are_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="^faec: no such weights file, .* weights; did you mean 'face'\\?$"):
        load("faec")
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "faceparse/bundled.py"))
    with pytest.raises(FileNotFoundError, match="face: the bundled weights are missing; install faceparse anew"):
        load()


def test_a_file_of_any_name_is_no_bundled_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(weights.parent)
    Path("person").write_bytes(weights.read_bytes())
    assert bundled.weights_file("person") == Path("person")
    assert bundled.weights_file("runs/face") == Path("runs/face")


def test_missing_and_foreign_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="foreign"):
        load(foreign)


def test_a_device_that_is_not_there_is_one_sentence(weights: Path) -> None:
    for name in ("tpu9", "cuda:77"):
        with pytest.raises(ValueError, match=f"device '{name}' can't be used here"):
            load(weights, device=name)


def test_a_device_is_chosen_by_itself(weights: Path) -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert load(weights).device.type == expected


class Fixed(nn.Module):
    """The same logits for every pixel: log of (K,) probabilities."""

    def __init__(self, probabilities: list[float]):
        super().__init__()
        self.register_buffer("log_p", torch.tensor(probabilities).log().view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.log_p.expand(len(image), -1, *image.shape[-2:])


def nineteen(**shares: float) -> Fixed:
    """A 19-class model that gives these classes these probabilities, and what is left to the background."""
    probabilities = [1e-9] * 19
    for name, share in shares.items():
        probabilities[CELEBAMASK.id(name)] = share
    probabilities[0] = 1 - sum(shares.values())
    return Fixed(probabilities)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(FACE, 0.6), (HAIR, 0.3), (CELEBAMASK.of_classes(["hair", "nose"]), 0.5)],
    ids=["face", "hair", "hair and nose"],
)
def test_a_19_class_model_answers_a_smaller_set_with_the_sum_of_its_members(answers: LabelSet, expected: float) -> None:
    predictor = Predictor(nineteen(skin=0.4, nose=0.2, hair=0.3), CELEBAMASK, PLAIN, "cpu", answers=answers)
    assert np.allclose(predictor.probabilities(half_white(40, 40)), expected, atol=1e-6)
    mask = predictor(half_white(40, 40))
    assert mask.shape == (40, 40) and (mask == (255 if expected > 0.5 else 0)).all()
    assert predictor.labels.is_binary


def test_a_model_can_not_answer_what_its_classes_do_not_make_up() -> None:
    with pytest.raises(ValueError, match="'hair' can't be made of the classes of 'face'"):
        Predictor(Brightness(2), FACE, PLAIN, "cpu", answers=HAIR)
    with pytest.raises(ValueError, match="has no class 'beard'; choose from: background, skin"):
        CELEBAMASK.of_classes(["beard"])
    with pytest.raises(ValueError, match="no label set 'nose'; choose from: face"):
        load(labels="nose")


def test_a_model_answers_its_own_set_by_name() -> None:
    assert load(labels="face").labels == FACE
    with pytest.raises(ValueError, match="can't be made of"):
        load("face", labels="hair")


@pytest.mark.parametrize(
    ("classes", "hw", "full_hw"), [(19, (32, 24), (600, 411)), (3, (1, 1), (5, 7)), (150, (9, 20), (9, 333))]
)
def test_the_likeliest_class_is_that_of_all_planes_brought_to_full_size(
    classes: int, hw: tuple[int, int], full_hw: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    spots = np.stack([cv2.resize(plane, hw[::-1]) for plane in rng.random((classes, 3, 2), np.float32)])
    for sharpness in (1, 30):  # most tiles may have many winners, or one
        small = spots**sharpness
        full = np.stack([cv2.resize(plane, full_hw[::-1], interpolation=cv2.INTER_LINEAR) for plane in small])
        assert (predictor._likeliest_at(small, full_hw) == full.argmax(axis=0)).mean() > 0.9999  # but for rounding


@pytest.mark.parametrize("full_hw", [(56, 56), (64, 70), (79, 79), (80, 80), (200, 90)])
def test_tiles_and_bands_decide_alike(full_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    small = np.stack([cv2.resize(plane, (56, 56)) for plane in rng.random((19, 6, 6), np.float32)])
    asked = load("celebamask", device="cpu")
    masks = []
    for pay in (0, math.inf):
        monkeypatch.setattr(predictor, "TILES_PAY", pay)
        masks.append(asked.decided(small, full_hw))
    assert len(np.unique(masks[0])) > 3 and (masks[0] == masks[1]).mean() > 0.9999  # but for rounding


def test_a_class_that_is_nowhere_the_likeliest_on_the_small_map_can_be_so_in_between() -> None:
    small = np.array([[[0.5, 0.0]], [[0.4, 0.4]], [[0.0, 0.5]]], np.float32)  # (3, 1, 2): middle .25, .4, .25
    assert predictor._likeliest_at(small, (1, 8)).tolist() == [[0, 0, 0, 1, 1, 2, 2, 2]]


def test_classes_whose_probability_is_no_number_end_in_no_error() -> None:
    small = np.full((3, 4, 4), np.nan, np.float32)
    assert predictor._likeliest_at(small, (9, 9)).tolist() == [[0] * 9] * 9
