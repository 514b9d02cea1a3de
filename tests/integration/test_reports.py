"""The reports in a real browser: on a phone, at night, with long names and many classes."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, Page

from scenerec.config.tune import TuneConfig
from scenerec.inference.evaluation.evaluator import Outcome, examine_here
from scenerec.inference.evaluation.metrics import ClassAccuracy
from scenerec.inference.evaluation.report import render as render_evaluation
from scenerec.inference.evaluation.request import EvaluationRequest
from scenerec.search.report import render as render_search
from tests.colour_set import pack_colours
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_search import search_document
from tests.unit.search.test_report import some_trials

LONG = (
    *("a/airport_terminal/international", "amphitheatre-outdoor-in-the-old-town"),
    "z/Donaudampfschifffahrtsgesellschaftskapitänskajüte",
)
PHONE_PX = 390
SPACE = {
    "model.arch": ["shufflenet_v2_x0_5", "mobilenet_v3_small", "efficientnet_b0"],
    "optimize.lr": {"log_uniform": [0.0003, 0.03]},
    "optimize.schedule": ["cosine", "step", "constant"],
    "optimize.step_gamma": {"uniform": [0.05, 0.5], "when": {"optimize.schedule": "step"}},
    "data.image_size": [32, 64, 96],
    "optimize.weight_decay": {"log_uniform": [1e-5, 0.1]},
    "framework": ["torch", "tensorflow"],
}
BOXES = """all => all.map(each => {
    const box = each.getBoundingClientRect();
    return [box.left, box.top, box.right, box.bottom];
})"""


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("evaluation")
    data, model = pack_colours(folder / "set", LONG), make_tiny_bundle(folder / "model", labels=LONG).url
    other = make_tiny_bundle(folder / "other", scale=-0.05, labels=LONG).url
    request = {"subject": {"target": model}, "other": {"target": other}, "data": data}
    return examine_here(EvaluationRequest.model_validate(request))


def with_classes(outcome: Outcome, count: int) -> Outcome:
    """The same with so many classes in the list of classes."""
    right = [index % 101 for index in range(count)]
    classes = [
        ClassAccuracy(f"c/class_{index}_outdoor", 100, each, each, each / 100) for index, each in enumerate(right)
    ]
    return replace(outcome, evaluations=[replace(each, classes=tuple(classes)) for each in outcome.evaluations])


@pytest.mark.parametrize("classes", [3, 365])
@pytest.mark.parametrize("width", [PHONE_PX, 900, 1280])
def test_an_evaluation_fits_the_screen_and_names_can_be_read(
    page: Page, outcome: Outcome, width: int, classes: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.set_content(render_evaluation(with_classes(outcome, classes) if classes > 3 else outcome))
    assert page.evaluate("document.documentElement.scrollWidth") == width
    names = page.eval_on_selector_all(".classes th", BOXES)
    assert len(names) == min(classes, 30)
    assert all(right - left > 120 and bottom - top < 80 for left, top, right, bottom in names), names
    assert all(left >= 0 and right <= width for left, _, right, _ in page.eval_on_selector_all("p, h2, img", BOXES))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_trial_and_label_of_a_search_can_be_seen(page: Page, scheme: str) -> None:
    config = TuneConfig.model_validate(search_document(search=SPACE, objective=["val_top1", "latency_ms"]))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_content(render_search(config, some_trials(config, 60)))

    background = luminance(page.eval_on_selector("section", "each => getComputedStyle(each).backgroundColor"))
    colours = "all => [...new Set(all.map(each => getComputedStyle(each).stroke))]"
    strokes = page.eval_on_selector_all(".flow, .curve", colours)
    assert len(strokes) >= 6
    for stroke in strokes:
        light, dark = sorted((luminance(stroke), background), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, f"{stroke}: WCAG 1.4.11 asks for 3 to 1"

    labels, plates = page.eval_on_selector_all("svg .tick", BOXES), page.eval_on_selector_all("svg .plate", BOXES)
    chart = page.eval_on_selector_all("svg:has(.plate)", BOXES)[0]
    assert len(labels) == len(plates) > 20
    for label, plate in zip(labels, plates, strict=True):
        assert plate[0] <= label[0] and label[2] <= plate[2], "no line runs through it"
        assert chart[0] <= label[0], "nothing of it is cut off"


def luminance(colour: str) -> float:
    """Relative luminance of an rgb(...) (WCAG 2.2)."""
    shares = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_search_fits_a_phone(page: Page) -> None:
    config = TuneConfig.model_validate(search_document(search=SPACE))
    page.set_viewport_size({"width": PHONE_PX, "height": 800})
    page.set_content(render_search(config, some_trials(config, 20)))
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE_PX
