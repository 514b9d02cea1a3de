import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenerec.inference.predictors.classifier import Classifier
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.watch.changes import Thresholds
from scenerec.inference.watch.frames import Frame, picture_frames
from scenerec.inference.watch.watcher import Watcher
from tests.tiny_bundle import make_tiny_bundle

AT_ONCE = Thresholds(enter=0.6, leave=0.4, dwell_s=0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", scale=0.02).folder


def watcher(bundle: Path) -> Watcher:
    from scenerec.inference.bundles.bundle import open_bundle

    return Watcher(predictor_of(open_bundle(str(bundle)), threads=1), 0, AT_ONCE)


@pytest.mark.parametrize("height, width", [(48, 64), (1, 1), (333, 77), (7, 200), (360, 640)])
def test_a_frame_is_answered_as_the_same_photograph_is(bundle: Path, height: int, width: int) -> None:
    from scenerec.inference.bundles.bundle import open_bundle

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    photograph = io.BytesIO()
    Image.fromarray(pixels).save(photograph, "PNG")
    (guesses,) = Classifier(open_bundle(str(bundle))).classify([photograph.getvalue()], top_k=3)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    frames = [Frame(0, 0.0, 0.0, pixels), Frame(1, 0.1, 0.1, bgr, "BGR")]
    for answer in watcher(bundle).watch(frames):
        expected = {guess.label: guess.probability for guess in guesses}
        found = dict(zip(("red", "green", "blue"), answer.probabilities.tolist(), strict=True))
        assert found == expected


def test_frames_that_did_not_come_count_as_skipped(bundle: Path) -> None:
    red = np.full((8, 8, 3), (240, 10, 10), np.uint8)
    watching = watcher(bundle)
    answers = list(watching.watch(Frame(number, number / 25, 0.0, red) for number in (0, 1, 5, 6)))
    assert [answer.skipped for answer in answers] == [0, 0, 3, 0]
    assert [answer.scene for answer in answers] == [0] * 4
    assert [answer.change is not None for answer in answers] == [True, False, False, False]
    assert watching.timing.summary().skipped == 3


def test_pictures_are_frames_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        Image.new("RGB", (5, 4), (250, 10, 10)).save(tmp_path / name)
    (tmp_path / "b.png").write_text("not an image")
    left_out: list[str] = []
    names = [str(tmp_path / f"{name}.png") for name in "abc"]
    frames = picture_frames(names, lambda name: Path(name).read_bytes(), 10, lambda name, _: left_out.append(name))
    assert [(frame.number, frame.time_s, frame.pixels.shape) for frame in frames] == [
        (0, 0.0, (4, 5, 3)),
        (2, 0.2, (4, 5, 3)),
    ]
    assert left_out == names[1:2]
