import asyncio
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenerec.data.picture import UnknownFormatError
from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.engine import Answer, ClosedError, Engine, ExpiredError, OverloadedError
from tests.patience import PATIENCE_S
from tests.tiny_bundle import IMAGE_SIZE, LABELS, make_tiny_bundle

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}


def photograph(label: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), COLOURS[label]).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    return Classifier(make_tiny_bundle(tmp_path / "bundle"), threads=1)


@pytest.fixture
def engine(classifier: Classifier) -> Iterator[Engine]:
    engine = Engine(classifier, max_batch=4, max_queue=8)
    yield engine
    engine.close()


class Gate:
    """Holds the engine's worker at the network until it is opened."""

    def __init__(self, engine: Engine) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.batch_sizes: list[int] = []
        logits = engine.classifier.model.logits

        def held(images: np.ndarray, *others: np.ndarray | None) -> np.ndarray:
            self.entered.set()
            assert self.opened.wait(PATIENCE_S)
            self.batch_sizes.append(len(images))
            return logits(images, *others)

        engine.classifier.model.logits = held  # type: ignore[method-assign]

    async def wait_until_busy(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_S)


def label_of(answer: Answer) -> str:
    return LABELS[int(answer.probabilities.argmax())]


def test_each_caller_gets_its_own_answer(engine: Engine) -> None:
    asked = ["red", "green", "blue", "blue", "green", "red", "red"]

    async def ask() -> list[Answer]:
        return await asyncio.gather(*(engine.ask(photograph(label)) for label in asked))

    answers = asyncio.run(ask())
    assert [label_of(answer) for answer in answers] == asked
    assert all(answer.probabilities.sum() == pytest.approx(1) for answer in answers)


def test_a_lone_request_does_not_wait_and_a_busy_model_works_in_batches(engine: Engine) -> None:
    gate = Gate(engine)

    async def ask() -> None:
        lone = asyncio.create_task(engine.ask(photograph("red")))
        await gate.wait_until_busy()
        others = [asyncio.create_task(engine.ask(photograph("blue"))) for _ in range(6)]
        await asyncio.sleep(0)
        gate.opened.set()
        answers = await asyncio.gather(lone, *others)
        assert [answer.batch_size for answer in answers] == [1, 4, 4, 4, 4, 2, 2]

    asyncio.run(ask())
    assert gate.batch_sizes == [1, 4, 2]


def test_what_is_too_much_is_refused_at_once_and_the_rest_is_answered(engine: Engine) -> None:
    gate = Gate(engine)

    async def ask() -> list[Answer | BaseException]:
        first = asyncio.create_task(engine.ask(photograph("red")))
        await gate.wait_until_busy()
        waiting = [asyncio.create_task(engine.ask(photograph("green"))) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="8 images are waiting already"):
            await engine.ask(photograph("blue"))
        gate.opened.set()
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    answers = asyncio.run(ask())
    assert len(answers) == 9 and all(isinstance(answer, Answer) for answer in answers)


def test_a_bad_photograph_fails_alone(engine: Engine) -> None:
    async def ask() -> list[Answer | BaseException]:
        contents = [photograph("red"), b"no image", photograph("blue")]
        return await asyncio.gather(*(engine.ask(content) for content in contents), return_exceptions=True)

    red, error, blue = asyncio.run(ask())
    assert isinstance(red, Answer) and isinstance(blue, Answer)
    assert (label_of(red), label_of(blue)) == ("red", "blue")
    assert isinstance(error, UnknownFormatError)


def test_a_request_that_waited_too_long_is_not_computed(engine: Engine) -> None:
    gate = Gate(engine)

    async def ask() -> None:
        first = asyncio.create_task(engine.ask(photograph("red")))
        await gate.wait_until_busy()
        late = asyncio.create_task(engine.ask(photograph("red"), timeout_s=0))
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(ExpiredError):
            await late
        await first

    asyncio.run(ask())
    assert gate.batch_sizes == [1]


def test_prepared_images_are_taken_as_they_are(engine: Engine) -> None:
    image = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), COLOURS["green"], np.uint8)
    answers = asyncio.run(engine.ask_all([image, image[..., ::-1]]))
    assert [label_of(answer) for answer in answers] == ["green", "green"]
    assert all(answer.prepared_s == 0 for answer in answers)


def test_closing_answers_what_waits_and_refuses_what_comes(engine: Engine) -> None:
    async def ask() -> None:
        waiting = [asyncio.create_task(engine.ask(photograph("red"))) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.close)
        assert [label_of(answer) for answer in await asyncio.gather(*waiting)] == ["red"] * 5
        with pytest.raises(ClosedError):
            await engine.ask(photograph("red"))

    asyncio.run(ask())


def test_a_failing_network_is_told_to_its_callers_and_the_engine_goes_on(engine: Engine) -> None:
    logits = engine.classifier.model.logits

    def fail(*_: np.ndarray | None) -> np.ndarray:
        engine.classifier.model.logits = logits  # type: ignore[method-assign]
        raise RuntimeError("out of memory")

    engine.classifier.model.logits = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(engine.ask(photograph("red")))
    assert label_of(asyncio.run(engine.ask(photograph("red")))) == "red"
