"""`faceparse demo`: what the page answers, what it keeps, and, in a real browser, what people see and download."""

from __future__ import annotations

import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image

from faceparse import images
from faceparse.bundled import BEST_FOR
from faceparse.commands.demo import main
from faceparse.cutout import Background, soft_alpha
from faceparse.labels import CELEBAMASK, label_set
from faceparse.legend import add_legend
from faceparse.predictor import Predictor, load

ROOT = Path(__file__).resolve().parents[1]
ASTRONAUT = ROOT / "examples/astronaut.jpg"


@pytest.fixture
def demo() -> ModuleType:
    """The module, where Gradio is."""
    pytest.importorskip("gradio", reason="the extra 'demo' is not installed")
    from faceparse import demo

    return demo


def uploaded(path: Path) -> dict[str, str]:
    """A photo as the page hands it over."""
    return {"path": str(path), "orig_name": f"my {path.name}"}


def empty_room(path: Path) -> Path:
    """A photo of nobody: a wall, a floor, a window."""
    room = np.full((240, 320, 3), (200, 205, 195), np.uint8)
    room[170:] = (110, 90, 70)
    room[40:120, 200:280] = (150, 190, 230)
    Image.fromarray(room).save(path)
    return path


def huge(path: Path) -> Path:
    """A PNG of few bytes that says that it is 30000 pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"no picture")
    return path


# what is answered


def test_every_choice_has_the_best_weights_first_and_none_that_can_not_answer(demo: ModuleType) -> None:
    assert set(demo.WANTED) == {*BEST_FOR, demo.PARTS}
    for name, choice in demo.WANTED.items():
        wanted = "celebamask" if name == demo.PARTS else name
        assert choice.weights[0] == BEST_FOR[wanted]
        for weights in choice.weights:
            label_set(wanted).members_in(label_set(weights))  # raises ValueError where they can't
    assert tuple(demo.SAID) == CELEBAMASK.classes[1:]
    assert (demo.SAID["eye_g"], demo.SAID["l_lip"], demo.SAID["cloth"]) == ("glasses", "lower lip", "clothes")


@pytest.mark.parametrize(
    ("wanted", "probability", "said"),
    [
        ("face", 0.5, "There is no face in this photo."),
        ("hair", 0.7, "There is probably no hair in this photo: what is marked is a guess."),
        ("person", 0.83, "There is probably no person in this photo: what is marked is a guess."),
        ("hair", 0.83, "Hair: 25% of the photo. Drag the line to compare."),
        ("parts", 0.5, "There is no hat or left eye in this photo."),
        ("parts", 0.75, "Hat or left eye: 25% of the photo. Drag the line to compare."),
    ],
)
def test_the_sentence_tells_how_much_there_is_or_that_there_is_none(
    demo: ModuleType, wanted: str, probability: float, said: str
) -> None:
    answer = np.full((8, 8), 0.1, np.float32)
    answer[:4, :4] = probability
    assert demo.sentence(answer, wanted, ["hat", "l_eye"]) == said


@pytest.mark.parametrize(
    ("make", "wanted", "parts", "said"),
    [
        (empty_room, "face", [], "There is no face in this photo."),
        (empty_room, "hair", [], "There is no hair in this photo."),
        (empty_room, "parts", [], "Choose one part or more."),
        (broken, "face", [], "my a.png: cannot be read as a picture (not a picture of a known format)"),
        (huge, "face", [], "my a.png: cannot be read as a picture (30000x30000 is more than 536870912 pixels)"),
        (Path, "face", [], "The photo was deleted after 10 minutes; drop it again."),
    ],
)
def test_what_can_not_be_shown_is_told_in_a_sentence(
    demo: ModuleType, tmp_path: Path, make: Callable[[Path], Path], wanted: str, parts: list[str], said: str
) -> None:
    photo, weights = uploaded(make(tmp_path / "a.png")), demo.WANTED[wanted].weights[0]
    shown, told, button = demo.answer(photo, wanted, parts, "mask", weights)
    assert (shown, told, button.interactive) == (None, said, False)
    if not said.startswith("There is no"):
        assert demo.png(photo, wanted, parts, "mask", weights) == (None, said)


def test_without_a_photo_it_asks_for_one(demo: ModuleType) -> None:
    assert demo.answer(None, "face", [], "mask", "face")[:2] == (None, "Drop a photo, or use the camera.")


def test_a_photo_held_sideways_is_answered_upright_and_at_its_own_size(demo: ModuleType, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture's top is its right side
    upright = Image.open(ASTRONAUT).resize((1500, 1800))
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert Image.open(tmp_path / "a.png").size == (1800, 1500)
    (before, after), said, _ = demo.answer(uploaded(tmp_path / "a.png"), "face", [], "overlay", "face")
    assert said.startswith("Face: 1")
    assert before.shape == after.shape == (1280, 1067, 3)
    file, said = demo.png(uploaded(tmp_path / "a.png"), "face", [], "mask", "face")
    assert (Path(file).name, said) == ("a_mask.png", "a_mask.png: 1500 x 1800 pixels.")
    assert np.array_equal(images.read_mask(file), load("face")(np.array(upright)))


def test_what_is_shown_stands_beside_the_photo_pixel_for_pixel(demo: ModuleType) -> None:
    picture = images.read_rgb(ASTRONAUT)
    whole = load("celebamask")
    small = whole.small([picture])[0]
    for view in demo.VIEWS:
        made = demo.drawn(view, picture, small, whole)
        before, after = demo.on_page(made, picture, whole)
        assert before.shape == after.shape
        assert before.shape[1] >= 256  # a legend stands at the right
        assert np.array_equal(before[:256, :256], picture)
        assert np.array_equal(before[:, 256:], after[:, 256:])
        outside = after[:10, :10].reshape(-1, 3)  # there is nothing but background in that corner
        expected = {"transparent": {(255, 255, 255), (215, 215, 215)}, "mask": {(0, 0, 0)}}.get(view)
        assert expected is None or set(map(tuple, outside.tolist())) == expected


@pytest.mark.parametrize(("width", "height", "limit"), [(512, 512, 1.0), (4000, 3000, 2.0)])
def test_an_answer_takes_a_fraction_of_a_second_of_a_processor(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], width: int, height: int, limit: float
) -> None:
    Image.open(ASTRONAUT).resize((width, height)).save(tmp_path / "a.jpg")
    for wanted in ("face", "hair", "person", "celebamask"):
        weights, seconds = demo.WANTED[wanted].weights[0], []
        demo.loaded(weights)
        for _ in range(3):
            start = time.process_time()  # of all threads: another program's work does not count
            assert demo.answer(uploaded(tmp_path / "a.jpg"), wanted, [], "transparent", weights)[0] is not None
            seconds.append(time.process_time() - start)
        with capsys.disabled():
            print(f"\n{wanted}, {width}x{height}: {min(seconds):.2f} s of processor time", end="")
        assert min(seconds) < limit


# what is served, and kept


@pytest.fixture
def quick(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module in a hurry: it loads no weights, and forgets after a second."""
    monkeypatch.setattr(demo, "loaded", lambda name: None)
    monkeypatch.setattr(demo, "SWEEP", 1)
    monkeypatch.setattr(demo, "KEPT", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    return demo


def upload(url: str, data: bytes) -> None:
    """Hand over a file as the page does."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    request = urllib.request.Request(f"{url}gradio_api/upload", head + data + b"\r\n--x--\r\n")
    request.add_header("Content-Type", "multipart/form-data; boundary=x")
    urllib.request.urlopen(request).close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_listens_here_alone_and_keeps_nothing(quick: ModuleType, tmp_path: Path) -> None:
    with quick.serving("127.0.0.1", None) as url:
        assert url.startswith("http://127.0.0.1:")
        port = int(url.strip("/").rsplit(":")[-1])
        told = f"127.0.0.1:{port} can't be listened on; give another --host or --port"
        with pytest.raises(OSError, match=told), quick.serving("127.0.0.1", port):
            pass
        if sys.platform == "linux":
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", port), timeout=5)
        upload(url, b"x")
        assert files(tmp_path) != []
        deadline = time.monotonic() + 30
        while files(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert files(tmp_path) == []
        upload(url, b"y")
    assert list(tmp_path.iterdir()) == []


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "faceparse.demo", raising=False)
    assert main([]) == 1
    needed = "error: the page needs Gradio, which is not installed: "
    mend = "pip install '.[demo]' in the folder of faceparse, or pip install gradio\n"
    assert capsys.readouterr().err == needed + mend


# in a browser


class Served(NamedTuple):
    """A page that a process of its own serves, and the folder for what it keeps."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`faceparse demo`, as somebody would start it; in the end it has said nothing and left nothing."""
    folder = tmp_path_factory.mktemp("served")
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "faceparse", "demo"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    try:
        assert said.endswith(" is open until Ctrl-C ends it\n"), said + process.communicate()[0]
        yield Served(said.split()[0], folder)
    finally:
        process.terminate()
        said = process.communicate(timeout=60)[0]
    assert (process.returncode, said) == (0, "closed\n")
    assert files(folder) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium, whose camera sees the astronaut."""
    pytest.importorskip("gradio", reason="the extra 'demo' is not installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives a browser, is not installed")
    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    camera.write_bytes(ASTRONAUT.read_bytes() * 4)
    arguments = [f"--use-file-for-fake-video-capture={camera}", "--use-fake-device-for-media-stream"]
    arguments += ["--use-fake-ui-for-media-stream", "--no-sandbox"]  # the only page is ours
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        except api.Error as error:
            pytest.skip(f"there is no Chromium on this machine: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """The page, open; all that it asks for comes from where it is served, and nothing fails in it."""
    size = {"width": 1140, "height": 770}
    context = browser.new_context(viewport=size, device_scale_factor=1.5, permissions=["camera"])
    context.set_default_timeout(60_000)
    opened, asked, failed = context.new_page(), [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: failed.append(str(error)))
    opened.goto(served.url)
    yield opened
    context.close()
    assert [url for url in asked if not url.startswith((served.url, "data:", "blob:"))] == []
    assert failed == []


def drop(page: Any, photo: Path) -> None:
    page.set_input_files("#photo input[type=file]", photo)


def told(page: Any, sentence: str) -> None:
    """Wait for a sentence, or its beginning."""
    page.locator("#sentence").get_by_text(sentence).wait_for()


def downloaded(page: Any, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click("#save")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def cut(background: str) -> Callable[[Predictor, np.ndarray], np.ndarray]:
    return lambda predictor, picture: Background(background).behind(
        picture, soft_alpha(picture, predictor.subject(predictor.small([picture])[0]))
    )


def covered(predictor: Predictor, picture: np.ndarray) -> np.ndarray:
    mask, labels = predictor(picture), predictor.labels
    view = images.overlay(picture, mask, labels)
    return view if labels.is_binary else add_legend(view, mask, labels)


def test_what_is_downloaded_is_what_the_library_answers(page: Any, tmp_path: Path) -> None:
    picture = images.read_rgb(ASTRONAUT)
    steps = [
        ([], "Face: ", "astronaut_cut-out.png", load(), cut("transparent")),
        (["Hair", "Mask"], "Hair: ", "astronaut_mask.png", load(labels="hair"), Predictor.__call__),
        (
            ["Person", "Blurred background"],
            "Person: ",
            "astronaut_blurred_background.png",
            load(labels="person"),
            cut("blur"),
        ),
        (["All parts", "Mask"], "All parts", "astronaut_mask.png", load("celebamask"), Predictor.__call__),
        (["Overlay"], "All parts", "astronaut_overlay.png", load("celebamask"), covered),
        (
            ["Some parts …", "hat", "clothes"],
            "Hair or clothes: ",
            "astronaut_overlay.png",
            load(classes=["hair", "cloth"]),
            covered,
        ),
    ]
    drop(page, ASTRONAUT)
    for clicks, sentence, name, predictor, expected in steps:
        for label in clicks:
            page.get_by_label(label, exact=True).click()
        told(page, sentence)
        path = downloaded(page, tmp_path)
        told(page, f"{name}: 256 x 256 pixels.")
        assert path.name == name
        assert np.array_equal(np.array(Image.open(path)), expected(predictor, picture)), clicks


def test_a_photo_of_nobody_and_files_that_are_no_photo_get_their_sentence(page: Any, tmp_path: Path) -> None:
    drop(page, empty_room(tmp_path / "room.png"))
    told(page, "There is no face in this photo.")
    assert page.locator("#save").is_disabled()
    page.get_by_label("Hair", exact=True).click()
    told(page, "There is no hair in this photo.")
    for make, reason in ((broken, "not a picture of a known format"), (huge, "30000x30000 is more than")):
        page.locator("#photo").get_by_label("Remove Image").click()
        told(page, "Drop a photo, or use the camera.")
        drop(page, make(tmp_path / f"{make.__name__}.png"))
        told(page, f"{make.__name__}.png: cannot be read as a picture ({reason}")
    page.locator("#photo").get_by_label("Remove Image").click()
    (tmp_path / "note.txt").write_text("hello")
    drop(page, tmp_path / "note.txt")
    page.get_by_text("Invalid file type: note.txt").first.wait_for()
    assert "Traceback" not in page.content()


def test_other_weights_are_picked_in_the_accordion(page: Any, tmp_path: Path) -> None:
    picture = images.read_rgb(ASTRONAUT)
    page.get_by_label("Mask", exact=True).click()
    drop(page, ASTRONAUT)
    told(page, "Face: ")
    page.get_by_role("button", name="Weights").click()
    page.get_by_label("celebamask", exact=True).click()
    answered = np.array(Image.open(downloaded(page, tmp_path)))
    assert np.array_equal(answered, load("celebamask", labels="face")(picture))
    assert not np.array_equal(answered, load("face")(picture))


def both_loaded(page: Any) -> None:
    """Wait for before and after."""
    there = "images => images.length == 2 && images.every(image => image.complete && image.naturalWidth)"
    page.wait_for_function(f"({there})([...document.querySelectorAll('#result img')])")


def test_left_of_the_line_is_the_photo_and_right_of_it_the_answer_wherever_it_is_dragged(page: Any) -> None:
    page.get_by_label("Mask", exact=True).click()
    drop(page, ASTRONAUT)
    told(page, "Face: ")
    both_loaded(page)
    place = page.locator("#result img").first.bounding_box()
    side = round(place["height"])  # of the picture, which is square, in the middle of that place
    place |= {"x": place["x"] + (place["width"] - side) / 2, "width": side, "height": side}
    before = images.read_rgb(ASTRONAUT)
    after = np.repeat(load()(before)[..., None], 3, axis=2)
    before, after = (cv2.resize(view, (side, side)).astype(int) for view in (before, after))

    def apart(line: int) -> list[float]:
        """Mean grey levels between what is seen and what is expected, left and right of the line."""
        shot = Image.open(io.BytesIO(page.screenshot(clip=place, scale="css"))).convert("RGB").resize((side, side))
        halves = ((before, np.s_[60:, : line - 30]), (after, np.s_[60:, line + 30 :]))  # without name and handle
        return [float(np.abs(np.array(shot) - view)[half].mean()) for view, half in halves]

    for share in (0.5, 0.25, 0.8):
        handle = page.locator("#result .icon-wrap").bounding_box()
        page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        page.mouse.down()
        page.mouse.move(place["x"] + share * side, handle["y"], steps=5)
        page.mouse.up()
        deadline = time.monotonic() + 20
        while max(apart(round(share * side))) > 8 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert max(apart(round(share * side))) < 8, share
    assert np.abs(before - after).mean() > 50


def test_the_picture_of_the_page_in_the_docs_is_what_it_looks_like(page: Any, tmp_path: Path) -> None:
    """With `DEMO_JPG=docs/demo.jpg` it is made anew."""
    page.get_by_label("Person", exact=True).click()
    drop(page, ASTRONAUT)
    told(page, "Person: ")
    both_loaded(page)
    path = Path(os.environ.get("DEMO_JPG", tmp_path / "demo.jpg"))
    page.screenshot(path=path, quality=85)
    seen, kept = (images.read_rgb(file).astype(int) for file in (path, ROOT / "docs" / "demo.jpg"))
    assert seen.shape == kept.shape == (1155, 1710, 3)
    assert np.abs(seen - kept).mean() < 12  # letters are another machine's


def test_a_camera_takes_a_photo(page: Any) -> None:
    page.locator("#photo").get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.locator("#photo").get_by_label("capture photo", exact=True).click()
    told(page, "Face: ")


def test_on_a_phone_everything_stands_in_one_column(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    photo, result = page.locator("#photo").bounding_box(), page.locator("#result").bounding_box()
    assert photo["x"] == result["x"]
    assert photo["y"] + photo["height"] < result["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
