"""A page in the browser that cuts faces, hair and people out of photos; the only file that knows Gradio.

    upload -read_rgb-> picture (H, W, 3) -small-> probabilities (C, h, w) -drawn-> what is downloaded -on_page-> shown

The page shows a smaller copy; the PNG, at the photo's own size, is made when somebody asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from faceparse import images
from faceparse.bundled import BEST_FOR
from faceparse.cutout import Background, over
from faceparse.labels import CELEBAMASK, SAID, label_set
from faceparse.legend import add_legend
from faceparse.predictor import Predictor, load
from faceparse.words import not_installed

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
try:
    import gradio as gr
except ImportError as error:
    raise OSError(f"the page needs Gradio, {not_installed('demo', 'gradio')}") from error

SHOWN = 1280
"""Pixels of the longer side of what the page shows."""

SWEEP, KEPT = 60, 600
"""Seconds from one clearing up to the next, and for which a photo and what was made of it stay on disk at least."""

CHECKS = 48
"""Squares of the checkerboard behind a cut-out, along its longer side."""

PARTS = "parts"
"""The choice of single classes; all others are label sets."""


class Wanted(NamedTuple):
    """What may be cut out: its names on the page and in a sentence, the bundled weights for it, the best first.

    `sure` is the mean probability over the mask from which it is taken to be there.
    """

    label: str
    noun: str
    weights: tuple[str, ...]
    sure: float = 0.8


# Of 100 everyday photos without a main person, 80 of which `person` has learnt from, these limits take 2 for a person,
# and none for a face, hair or parts; of 130 held-out portraits they doubt none.
WANTED = {
    "face": Wanted("Face", "face", ("face", "celebamask")),
    "hair": Wanted("Hair", "hair", ("celebamask",)),
    "person": Wanted("Person", "person", ("person",), sure=0.85),
    "face_with_glasses": Wanted("Face with glasses", "face", ("celebamask",)),
    "celebamask": Wanted("All parts", "part of a face", ("celebamask",)),
    PARTS: Wanted("Some parts …", "", ("celebamask",), sure=0.7),
}
VIEWS = {"transparent": "Cut-out", "blur": "Blurred background", "overlay": "Overlay", "mask": "Mask"}

HERE = "Drop a photo here\nor click to choose one"
START = "Drop a photo, or use the camera."
ABOUT = f"""
# Cut faces, hair and people out of photos
Photos stay on the computer that serves this page, and are deleted there after {KEPT // 60} minutes.
"""
TERMS = "The weights are for non-commercial research only. Mind the law where you use photos of people."
CSS = ".gradio-container { max-width: 1100px !important; margin: auto !important }"
SAVE = """file => { if (file) {
    const link = document.createElement("a");
    [link.href, link.download] = [file.url, file.orig_name];
    link.click();
} }"""
"""What the browser does with a finished PNG."""

Photo = dict[str, str]
"""What the page hands over: `path`, where the upload lies, and `orig_name`, what it is called."""


@cache
def loaded(name: str) -> Predictor:
    """Bundled weights, after a first answer, which takes longer than all others."""
    predictor = load(name)
    predictor.small([np.zeros((256, 256, 3), np.uint8)])
    return predictor


def asked(photo: Photo, wanted: str, parts: list[str], weights: str) -> tuple[np.ndarray, np.ndarray, Predictor]:
    """The photo, uint8 (H, W, 3) RGB, its small probabilities, and who gave them; ValueError says what is wrong."""
    if wanted == PARTS and not parts:
        raise ValueError("Choose one part or more.")
    if not Path(photo["path"]).is_file():
        raise ValueError(f"The photo was deleted after {KEPT // 60} minutes; drop it again.")
    whole = loaded(weights)
    answers = CELEBAMASK.of_classes(parts) if wanted == PARTS else label_set(wanted)
    predictor = Predictor(whole.model, whole.labels, whole.preprocess, answers=answers)
    try:
        picture = images.read_rgb(photo["path"])
    except images.UnreadableImage as error:
        raise ValueError(str(error).replace(photo["path"], photo["orig_name"] or "The photo")) from error
    return picture, predictor.small([picture])[0], predictor


def drawn(view: str, picture: np.ndarray, small: np.ndarray, predictor: Predictor) -> np.ndarray:
    """What is downloaded: a mask, uint8 (H, W), a picture, (H, W, 3) RGB, or a cut-out, (H, W, 4) RGBA.

    `picture` is uint8 (H, W, 3) RGB at any size, `small` what the predictor's method of that name answers.
    """
    if view in ("transparent", "blur"):
        return Background(view).behind(picture, predictor.alpha(picture, small))
    mask, labels = predictor.decided(small, picture.shape[:2]), predictor.labels
    if view == "mask":
        return mask
    shown = images.overlay(picture, mask, labels)
    return shown if labels.is_binary else add_legend(shown, mask, labels)


def on_page(view: np.ndarray, picture: np.ndarray, predictor: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """Before and after, both uint8 (h, w, 3) RGB of one size, of a picture and what `drawn` made of it."""
    labels, (height, width) = predictor.labels, picture.shape[:2]
    if view.ndim == 2 and labels.is_binary:
        view = np.repeat(view[..., None], 3, axis=2)
    elif view.ndim == 2:
        view = add_legend(images.overlay(np.zeros_like(picture), view, labels, opacity=1), view, labels)
    elif view.shape[2] == 4:
        side = max(1, max(height, width) // CHECKS)
        squares = np.add.outer(np.arange(height) // side, np.arange(width) // side) % 2
        view = over(view, np.repeat((255 - 40 * squares)[..., None], 3, axis=2).astype(np.uint8))
    before = view.copy()
    before[:height, :width] = picture
    return before, view


def sentence(probability: np.ndarray, wanted: str, parts: list[str]) -> str:
    """What to tell of an answer, float32 (h, w): how much of the photo it is, or that it is not there."""
    label, noun, _, sure = WANTED[wanted]
    if wanted == PARTS:
        label = noun = " or ".join(SAID[part] for part in parts)
    found = probability[probability > 0.5]
    if not found.size:
        return f"There is no {noun} in this photo."
    if found.mean() < sure:
        return f"There is probably no {noun} in this photo: what is marked is a guess."
    share = found.size / probability.size
    return f"{label.capitalize()}: {max(share, 0.01):.0%} of the photo. Drag the line to compare."


def answer(photo: Photo | None, wanted: str, parts: list[str], view: str, weights: str) -> tuple[object, str, object]:
    """Before and after, a sentence, and whether there is something to download."""
    nothing = gr.Button(interactive=False)
    if photo is None:
        return None, START, nothing
    try:
        picture, small, predictor = asked(photo, wanted, parts, weights)
    except ValueError as error:
        return None, str(error), nothing
    probability = predictor.subject(small)
    said = sentence(probability, wanted, parts)
    if not (probability > 0.5).any():
        return None, said, nothing
    if max(picture.shape) > SHOWN:
        picture = images.resize(picture, images.fitted(picture.shape, SHOWN))
    return on_page(drawn(view, picture, small, predictor), picture, predictor), said, gr.Button(interactive=True)


def png(photo: Photo, wanted: str, parts: list[str], view: str, weights: str) -> tuple[str | None, str]:
    """What is shown as a PNG at the photo's own size: its path, and a sentence; no path where there is a problem."""
    try:
        picture, small, predictor = asked(photo, wanted, parts, weights)
    except ValueError as error:
        return None, str(error)
    labels = predictor.labels if view == "mask" and not predictor.labels.is_binary else None
    file = Path(photo["path"]).with_name(f"{Path(photo['path']).stem}_{VIEWS[view].lower().replace(' ', '_')}.png")
    images.write_mask(file, drawn(view, picture, small, predictor), labels)
    return str(file), f"{file.name}: {picture.shape[1]} x {picture.shape[0]} pixels."


def refit(wanted: str) -> tuple[object, object]:
    """The parts are there to choose where parts are wanted, and such weights as can answer."""
    fitting = WANTED[wanted].weights
    return gr.CheckboxGroup(visible=wanted == PARTS), gr.Radio(list(fitting), value=fitting[0])


def create_page() -> gr.Blocks:
    """The page, and what happens on it."""
    choices = [(choice.label, name) for name, choice in WANTED.items()]
    views, parts_said = ([(label, name) for name, label in table.items()] for table in (VIEWS, SAID))
    with gr.Blocks(title="faceparse", analytics_enabled=False, delete_cache=(SWEEP, KEPT)) as page:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                photo = gr.Image(
                    label="1. Photo",
                    type="filepath",
                    image_mode=None,
                    height=280,
                    buttons=[],
                    placeholder=HERE,
                    elem_id="photo",
                )
                wanted = gr.Radio(choices, value="face", label="2. What to cut out")
                parts = gr.CheckboxGroup(parts_said, value=["hair", "hat"], label="Which parts", visible=False)
                view = gr.Radio(views, value="transparent", label="3. How to show it")
                with gr.Accordion("Weights", open=False):
                    weights = gr.Radio(list(WANTED["face"].weights), value="face", show_label=False, info=TERMS)
            with gr.Column(scale=3, min_width=320):
                result = gr.ImageSlider(label="Before | after", format="jpeg", buttons=[], elem_id="result")
                said = gr.Markdown(START, elem_id="sentence")
                save = gr.Button("Download PNG, full size", variant="primary", interactive=False, elem_id="save")
                file = gr.File(visible=False)
        # Gradio's own preprocessing would open the photo first, and tell of a broken one in words of its own.
        asking = {"inputs": [photo, wanted, parts, view, weights], "preprocess": False, "api_visibility": "private"}
        answering = {"outputs": [result, said, save], "show_progress": "minimal", "trigger_mode": "always_last"}
        gr.on([photo.change, parts.input, view.input, weights.input], answer, **asking, **answering)
        refitted = wanted.input(refit, wanted, [parts, weights], api_visibility="private")
        refitted.success(answer, **asking, **answering)
        save.click(png, outputs=[file, said], **asking).then(None, file, js=SAVE)
    return page


@contextmanager
def serving(host: str, port: int | None, open_browser: bool = False) -> Iterator[str]:
    """The page's address while it is served; what is uploaded lies in a folder of its own, which goes at the end.

    `port` None is the first free one from 7860. Raises OSError where the address can't be had.
    """
    with TemporaryDirectory(prefix="faceparse-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        for name in set(BEST_FOR.values()):
            loaded(name)
        page = create_page()
        try:
            _, url, _ = page.launch(
                inbrowser=open_browser,
                server_name=host,
                server_port=port,
                theme=gr.themes.Default(primary_hue="emerald", font=["system-ui", "sans-serif"]),
                css=CSS,
                footer_links=[],
                prevent_thread_lock=True,
                quiet=True,
                # What the environment could turn on:
                share=False,
                run_history=False,
                enable_monitoring=False,
            )
        except OSError as error:
            raise OSError(f"{host}:{port or '*'} can't be listened on; give another --host or --port") from error
        try:
            yield url
        finally:
            page.close(verbose=False)
