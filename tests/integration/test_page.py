"""The pages in a real browser, against a real server of the tiny model."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from serve.access.keys import ApiKeys, Guard, new_key
from serve.api import Api
from serve.loaded_version import EngineOptions, load_version
from serve.shelf import Shelf, Weighted
from tests.measured import multilabel_validation
from tests.tiny_bundle import make_tiny_bundle
from tests.tiny_shelf import make_tiny_shelf

PREFIX = "/scenes"
COLORS = {"red": (220, 30, 20), "green": (20, 180, 40), "blue": (30, 60, 230)}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return make_tiny_shelf(tmp_path_factory.mktemp("bundles"))


@contextlib.contextmanager
def serving(api: Api) -> Iterator[str]:
    """The address of a server of `api`; below PREFIX it is mounted a second time."""
    app = Starlette(routes=[Mount(PREFIX, app=api), Mount("/", app=api)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url(shelf: Shelf) -> Iterator[str]:
    with serving(Api(shelf)) as address:
        yield address


@dataclass
class Visit:
    """A tab, what it has asked for and what the browser has complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    foreseen: str = ""
    """Pattern of what the browser has to complain of, sooner or later: it writes into its console when it likes."""

    def listen(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._on_console)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def choose(self, *files: Path) -> None:
        self.page.set_input_files("#input", list(files))

    def answered(self, label: str) -> None:
        """Waits for the answer that this label comes first."""
        expect(self.page.locator("#first")).to_have_text(label)


@pytest.fixture
def visit(browser: BrowserContext) -> Iterator[Visit]:
    """Whose browser must have complained of nothing in the end but what was foreseen."""
    made = Visit(browser.new_page())
    made.listen()
    yield made
    made.page.close()
    assert [each for each in made.complaints if not (made.foreseen and re.search(made.foreseen, each))] == []
    assert bool(made.complaints) == bool(made.foreseen)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a file of one colour, wider than high."""
    folder = tmp_path_factory.mktemp("pictures")

    def make(color: str) -> Path:
        file = folder / f"{color}.jpg"
        Image.new("RGB", (96, 64), COLORS[color]).save(file)
        return file

    return make


@pytest.mark.parametrize("prefix", ["/", f"{PREFIX}/"])
def test_a_picture_gets_labels_bars_and_latency_and_nothing_is_asked_of_others(
    visit: Visit, url: str, prefix: str, picture: Callable[[str], Path]
) -> None:
    page = visit.page
    page.goto(url + prefix)
    expect(page.locator("#model")).to_have_value("tiny")
    visit.choose(picture("blue"))
    visit.answered("blue")

    expect(page.locator("#version")).to_have_text("tiny, version 2")
    rows = page.locator("#bars li")
    expect(rows).to_have_count(3)
    shares = [float(text.split()[0].lstrip("<")) for text in rows.locator(".percent").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 50
    for row, share in zip(rows.all(), shares, strict=True):
        bar, track = row.locator(".bar"), row.locator(".track")
        expect(bar).to_have_attribute("style", re.compile(r"width: [1-9\d]"))  # they grow from nothing
        # The animation is over when the bar is as long as its row says; the shortest ones are kept visible.
        page.wait_for_function(
            "([bar, track, share]) => bar.clientWidth >= track.clientWidth * share / 100 - 2",
            arg=[bar.element_handle(), track.element_handle(), share],
        )
    assert re.fullmatch(r"[\d.]+ ms", page.locator("#round-trip").inner_text())
    expect(page.locator(".legend")).to_contain_text(re.compile(r"Decoding\s*[\d.]+ ms"))

    asked = [urlsplit(each) for each in visit.requests if not each.startswith(("data:", "blob:"))]
    assert {each.netloc for each in asked} == {urlsplit(url).netloc}
    assert {each.path for each in asked} == {prefix, f"{prefix}v1/models", f"{prefix}v1/models/tiny:predict"}


def test_several_pictures_are_answered_and_walked_through_by_keys(
    visit: Visit, url: str, picture: Callable[[str], Path]
) -> None:
    page = visit.page
    page.goto(url)
    visit.choose(*map(picture, COLORS))
    expect(page.locator("#pictures .caption")).to_have_text(list(COLORS))
    visit.answered("red")
    page.keyboard.press("ArrowRight")
    visit.answered("green")
    page.locator("#pictures button").nth(2).focus()
    page.keyboard.press("Enter")
    visit.answered("blue")
    page.keyboard.press("ArrowLeft")
    visit.answered("green")
    expect(page.locator("#pictures button").nth(1)).to_be_focused()
    page.click("#clear")
    expect(page.locator("#start")).to_be_visible()


def test_a_file_that_is_no_picture_gets_the_servers_line(
    visit: Visit, url: str, tmp_path: Path, picture: Callable[[str], Path]
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    visit.foreseen = "status of 415"  # what the browser itself writes of any such answer
    page = visit.page
    page.goto(url)
    visit.choose(notes)
    expect(page.locator("#failure")).to_have_text("not a JPEG, PNG, WebP, GIF or BMP image")
    expect(page.locator("#blank")).to_be_visible()
    visit.choose(picture("red"))
    visit.answered("red")
    expect(page.locator("#picture")).to_be_visible()


def test_the_heat_map_lies_on_the_picture_and_goes_away(visit: Visit, url: str, picture: Callable[[str], Path]) -> None:
    page = visit.page
    page.goto(url)
    visit.choose(picture("green"))
    visit.answered("green")
    heat = page.locator("#heat")
    expect(heat).to_be_hidden()
    page.get_by_role("switch", name="Heat map").check()
    expect(heat).to_be_visible()
    expect(page.locator("#saw")).to_contain_text("green")
    page.wait_for_function("() => document.getElementById('heat').naturalWidth == 8")

    around, inside = page.locator("#picture").bounding_box(), heat.bounding_box()
    assert around and inside
    assert inside["width"] == pytest.approx(inside["height"], abs=1)
    assert inside["x"] + inside["width"] / 2 == pytest.approx(around["x"] + around["width"] / 2, abs=1)
    assert inside["y"] + inside["height"] / 2 == pytest.approx(around["y"] + around["height"] / 2, abs=1)

    page.get_by_role("slider", name="Opacity of the heat map").fill("40")
    expect(heat).to_have_css("opacity", "0.4")
    page.get_by_role("switch", name="Heat map").uncheck()
    expect(heat).to_be_hidden()
    assert sum("explain=cam" in each for each in visit.requests) == 1


def test_pictures_can_be_dropped_pasted_and_taken(visit: Visit, url: str) -> None:
    page = visit.page
    page.goto(url)
    transfer = """async color => {
        const canvas = new OffscreenCanvas(40, 40), context = canvas.getContext("2d");
        context.fillStyle = color;
        context.fillRect(0, 0, 40, 40);
        const transfer = new DataTransfer();
        transfer.items.add(new File([await canvas.convertToBlob()], color + ".png", { type: "image/png" }));
        return transfer;
    }"""
    page.dispatch_event("body", "drop", {"dataTransfer": page.evaluate_handle(transfer, "#00f")})
    visit.answered("blue")
    page.evaluate(
        f"""async () => dispatchEvent(new ClipboardEvent("paste", {{
            clipboardData: await ({transfer})("#f00"), cancelable: true
        }}))"""
    )
    visit.answered("red")
    page.click("#use-camera")
    page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    page.click("#shoot")
    expect(page.locator("#camera")).to_be_hidden()
    expect(page.locator("#file")).to_contain_text("camera")
    expect(page.locator("#pictures .caption").nth(2)).to_have_text(re.compile("red|green|blue"))
    assert page.evaluate("document.getElementById('video').srcObject.active") is False


def test_a_model_that_reads_coordinates_is_told_them_in_no_address(
    visit: Visit, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = make_tiny_bundle(tmp_path / "located", coordinates=True)
    shelf = Shelf()
    shelf.replace({"located": [Weighted(load_version("located", "1", bundle, EngineOptions()), 1.0)]})
    with serving(Api(shelf)) as url:
        page, visit.foreseen = visit.page, "status of 400"  # of the refused one
        page.goto(url)
        visit.choose(picture("red"))
        visit.answered("red")
        page.fill("#lat", "80,5")
        page.fill("#lon", "-20")
        page.click("#ask-where")
        visit.answered("green")  # to which latitude adds
        page.fill("#lat", "180")
        page.press("#lat", "Enter")
        expect(page.locator("#failure")).to_contain_text("lat is not between -90 and 90 degrees")
        page.fill("#lat", "")
        page.fill("#lon", "")
        page.click("#ask-where")
        visit.answered("red")
        visit.choose(picture("blue"))
        visit.answered("blue")
        assert not [request for request in visit.requests if "lat" in urlsplit(request).query]


def test_a_model_of_several_labels_says_all_that_it_gives_or_that_there_is_none(
    visit: Visit, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    measured = multilabel_validation((0.9, 0.8, 0.9))  # of red, green and blue
    bundle = make_tiny_bundle(tmp_path / "labels", task="multilabel", multilabel_validation=measured)
    shelf = Shelf()
    shelf.replace({"labels": [Weighted(load_version("labels", "1", bundle, EngineOptions()), 1.0)]})
    for name, colour in (("yellow", (250, 240, 20)), ("black", (0, 0, 0))):
        Image.new("RGB", (96, 64), colour).save(tmp_path / f"{name}.png")
    with serving(Api(shelf)) as url:
        page = visit.page
        page.goto(url)
        visit.choose(tmp_path / "yellow.png", tmp_path / "black.png")
        visit.answered("red, green")
        expect(page.locator("#bars .given .label")).to_have_text(["red", "green"])
        shares = [float(text.split()[0].lstrip(">")) for text in page.locator("#bars .percent").all_inner_texts()]
        assert sum(shares) > 200  # each by itself
        expect(page.locator("#pictures .caption")).to_have_text(["red, green", "No label"])
        page.locator("#pictures button").nth(1).click()
        visit.answered("No label")
        expect(page.locator(".chips")).to_have_text("none is probable enough")
        expect(page.locator("#bars .given")).to_have_count(0)
        assert page.locator("#bars li").count() == 3


def test_a_model_without_classes_says_how_many_numbers_it_gives(
    visit: Visit, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    shelf, bundle = Shelf(), make_tiny_bundle(tmp_path / "numbers", task="embedding")
    shelf.replace({"numbers": [Weighted(load_version("numbers", "1", bundle, EngineOptions()), 1.0)]})
    with serving(Api(shelf)) as url:
        visit.page.goto(url)
        visit.choose(picture("red"), picture("blue"))
        visit.answered("3 numbers")
        expect(visit.page.locator("#pictures .caption")).to_have_text(["3 numbers"] * 2)


def test_a_server_with_keys_is_told_one(visit: Visit, shelf: Shelf, picture: Callable[[str], Path]) -> None:
    key, entry = new_key("tests")
    with serving(Api(shelf, Guard(ApiKeys(keys=(entry,))))) as url:
        page, visit.foreseen = visit.page, "status of 401"
        page.goto(url)
        visit.choose(picture("red"))
        page.get_by_label("API key", exact=False).fill("sk-wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#notice-text")).to_have_text("this API key is not known here")
        page.get_by_label("API key", exact=False).fill(key)
        page.keyboard.press("Enter")
        visit.answered("red")
        expect(page.locator("#key-form")).to_be_hidden()
        expect(page.locator("#notice")).to_be_hidden()
        assert page.evaluate("Object.values(sessionStorage)") == [key]
        assert page.evaluate("localStorage.length") == 0
        assert not any(key in each for each in visit.requests)


def test_the_policy_keeps_foreign_scripts_and_requests_out(visit: Visit, url: str) -> None:
    page, visit.foreseen = visit.page, "Content Security Policy|violates"
    page.goto(url)
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.intruded = true";
            document.body.append(script);
        }"""
    )
    assert page.evaluate("window.intruded === undefined")
    assert page.evaluate("fetch('http://127.0.0.2:9/').then(() => 'sent', error => error.name)") == "TypeError"


def test_the_description_is_readable(visit: Visit, url: str) -> None:
    page = visit.page
    page.goto(f"{url}/docs")
    operations = page.evaluate(
        """fetch("openapi.json").then(response => response.json()).then(document =>
            Object.values(document.paths).reduce((sum, item) => sum + ("get" in item) + ("post" in item), 0))"""
    )
    expect(page.locator(".operation")).to_have_count(operations)
    predict = page.locator("#predict")
    expect(predict).to_have_attribute("open", "")
    expect(predict).to_contain_text(f"curl '{url}/v1/models/tiny:predict?top_k=5'")
    expect(predict).to_contain_text("too_many_pixels")
    page.locator("#listModels summary").first.click()
    expect(page.locator("#listModels")).to_contain_text(f"curl {url}/v1/models")
    page.click("#home")
    expect(page.locator("#start")).to_be_visible()
