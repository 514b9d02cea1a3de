from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load

from scenerec.errors import ModelError, ScenerecError
from scenerec.inference.evaluation.predictions import (
    Clock,
    ImageBatch,
    Predictions,
    from_logits,
    merge,
    predict,
    shares,
)
from scenerec.inference.predictors.predictor import Predictor, softmax

CLOCK = Clock(0, 1, 0, 0)


class MeanColours(Predictor):
    """A network whose logits are the means of the channels."""

    name, labels, image_size, eval_crop_ratio = "means", (), 4, 1.0

    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        return images.mean(axis=(1, 2), dtype=np.float32)


def batches(sizes: list[int], crops: int = 1) -> Iterator[ImageBatch]:
    rng = np.random.default_rng(0)
    for size in sizes:
        yield ImageBatch(rng.integers(0, 256, (size * crops, 4, 4, 3), dtype=np.uint8), rng.integers(0, 3, size))


def part(samples: range, predictor: str = "model") -> Predictions:
    """Answers that carry their sample's index as label."""
    logits = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    labels = np.arange(samples.start, samples.stop) % 4
    return from_logits(predictor, samples.start, labels, logits[samples.start : samples.stop], True, CLOCK)


def test_batches_become_one_answer() -> None:
    seen: list[int] = []
    found = predict(MeanColours(), batches([4, 4, 2]), 7, 1, True, seen.append)
    expected = [MeanColours().logits(batch.images) for batch in batches([4, 4, 2])]
    assert found.logits is not None and np.array_equal(found.logits, np.concatenate(expected))
    assert seen == [4, 4, 2]
    assert found.samples == range(7, 17)
    assert found.predictor == "means"
    assert found.clock.model_images == 6  # without the first batch
    assert np.exp(found.log_probabilities).sum(axis=1) == pytest.approx(np.ones(10), abs=1e-5)


def test_crops_are_averaged_image_by_image() -> None:
    found = predict(MeanColours(), batches([3, 1], crops=10), 0, 10, False)
    assert found.logits is None
    logits = np.concatenate([MeanColours().logits(batch.images) for batch in batches([3, 1], crops=10)])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean = (exponents / exponents.sum(axis=1, keepdims=True)).reshape(4, 10, 3).mean(axis=1)
    assert found.confidence == pytest.approx(mean.max(axis=1), rel=1e-4)


@pytest.mark.parametrize("crops", [1, 10])
def test_a_temperature_changes_probabilities_alone(crops: int) -> None:
    """Ten crops' probabilities are averaged at the temperature, too; the figures at temperature 1 lie beside."""

    class Warm(MeanColours):
        temperature, abstain_below = 40.0, 0.5

    cold, warm = (predict(each, batches([6, 3], crops), 0, crops, True) for each in (MeanColours(), Warm()))
    logits = np.concatenate([Warm().logits(batch.images) for batch in batches([6, 3], crops)])
    expected = softmax(logits, 40.0).reshape(9, crops, 3).mean(axis=1)
    assert warm.confidence == pytest.approx(expected.max(axis=1), rel=1e-4)
    if crops == 1:  # the average of several may rank them otherwise
        assert np.array_equal(warm.ranked, cold.ranked)
        assert warm.unscaled_log_probabilities is not None
        assert np.array_equal(warm.unscaled_log_probabilities[:, 0], cold.log_probabilities[:, 0])
        assert np.array_equal(warm.unscaled_log_probabilities[:, 1], cold.label_log_probabilities)
    assert (cold.unscaled_log_probabilities, cold.abstain_below, warm.abstain_below) == (None, None, 0.5)


def test_logits_that_are_no_numbers_and_of_other_classes_are_refused() -> None:
    class Diverged(MeanColours):
        def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
            return np.full((len(images), 3), np.nan, np.float32)

    with pytest.raises(ModelError, match="means: gives logits that are not numbers"):
        predict(Diverged(), batches([2]), 0, 1, True)
    with pytest.raises(ModelError, match="means: gives 3 logits, and the set has 5 classes"):
        predict(MeanColours(), batches([2]), 0, 1, True, classes=5)


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 30))
def test_shares_cover_the_set_and_end_with_batches(samples: int, batch_size: int, count: int) -> None:
    cuts = shares(samples, batch_size, count)
    assert 1 <= len(cuts) <= count
    assert [index for cut in cuts for index in cut] == list(range(samples))
    assert all(len(cut) > 0 and cut.start % batch_size == 0 for cut in cuts)
    assert max(map(len, cuts)) - min(map(len, cuts)) < 2 * batch_size


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 30), st.randoms())
def test_a_merge_does_not_depend_on_the_cuts(samples: int, batch_size: int, count: int, random: Random) -> None:
    parts = [part(cut) for cut in shares(samples, batch_size, count)]
    random.shuffle(parts)
    merged, whole = merge(parts), part(range(samples))
    for name in ("labels", "ranked", "log_probabilities", "label_log_probabilities", "logits"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name))


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ([range(0, 5), range(7, 9)], "samples 5 to 6 were evaluated not at all"),
        ([range(0, 5), range(3, 9)], "samples 3 to 4 were evaluated twice"),
        ([range(0, 5), range(0, 5)], "samples 0 to 4 were evaluated twice"),
        ([], "there is nothing to evaluate"),
    ],
)
def test_gaps_and_overlaps_are_refused(cuts: list[range], message: str) -> None:
    with pytest.raises(ScenerecError, match=message):
        merge(map(part, cuts))


def test_answers_of_two_models_do_not_merge() -> None:
    with pytest.raises(ScenerecError, match="both step-1 and step-2 answered, as the run went on meanwhile"):
        merge([part(range(3), "step-1"), part(range(3, 5), "step-2")])


def test_clocks_span_all_shares() -> None:
    assert Clock(5, 8, 10, 1.0) + Clock(4, 6, 20, 3.0) == Clock(4, 8, 30, 4.0)


def test_predictions_are_written_as_safetensors(tmp_path: Path) -> None:
    written = part(range(4, 9)).to_bytes({"classes": "4"})
    assert np.array_equal(load(written)["logits"], part(range(4, 9)).logits)
    (tmp_path / "p.safetensors").write_bytes(written)
    with safe_open(str(tmp_path / "p.safetensors"), "numpy") as file:
        assert file.metadata() == {"classes": "4", "first": "4"}
