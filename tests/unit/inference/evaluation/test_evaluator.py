import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from scenerec.errors import ConfigError, DataError, ScenerecError
from scenerec.inference.bundles.info import Lineage
from scenerec.inference.evaluation.evaluator import Examiner, Outcome, evaluate, examine_here
from scenerec.inference.evaluation.predictions import Predictions, merge, shares
from scenerec.inference.evaluation.report import write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest, Subject, own_data, run_output
from scenerec.storage import open_storage
from tests.colour_set import CLASSES, PER_CLASS, WRONG, pack_colours
from tests.tiny_bundle import make_tiny_bundle

SAMPLES = len(CLASSES) * PER_CLASS


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    return pack_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    return make_tiny_bundle(tmp_path / "model", labels=CLASSES).url


def request(model: str, data: str, **fields: Any) -> EvaluationRequest:
    return EvaluationRequest.model_validate({"subject": {"target": model}, "data": data, "batch_size": 7, **fields})


def test_an_evaluation_finds_what_was_put_into_the_set(model: str, colours: str) -> None:
    progress: list[tuple[int, int]] = []
    outcome = examine_here(request(model, colours), lambda done, total: progress.append((done, total)))
    (found,) = outcome.evaluations
    assert found.predictor == model
    assert found.samples == SAMPLES
    assert found.top1 == (SAMPLES - WRONG) / SAMPLES
    assert [(pair.label, pair.predicted, pair.count) for pair in found.confusions] == [("a/red", "b/green", WRONG)]
    assert [each.correct for each in found.classes] == [PER_CLASS - WRONG, PER_CLASS, PER_CLASS]
    assert progress == [(done, SAMPLES) for done in (0, 7, 14, 21, 28, 30)]


def test_a_model_that_reads_coordinates_is_told_those_of_the_set(model: str, tmp_path: Path) -> None:
    data = pack_colours(tmp_path / "located", coordinates=True)
    located = make_tiny_bundle(tmp_path / "reads", labels=CLASSES, coordinates=True).url
    outcome = examine_here(request(located, data, other={"target": model}, output=str(tmp_path / "out")))
    reads, sees = outcome.evaluations
    assert (reads.top1, reads.top1_without_coordinates) == (1.0, (SAMPLES - WRONG) / SAMPLES)
    assert (sees.top1, sees.top1_without_coordinates) == ((SAMPLES - WRONG) / SAMPLES, None)
    write_outcome(outcome, str(tmp_path / "out"))
    assert f"without coordinates {100 * (SAMPLES - WRONG) / SAMPLES:.1f}" in (tmp_path / "out/report.html").read_text()
    written = load((tmp_path / "out" / "predictions.safetensors").read_bytes())
    assert (written["predicted_without"] == outcome.predictions[1].predicted).all()
    examiner = Examiner(request(located, data), Subject(target=located))
    halves = merge([examiner.predict(range(14, SAMPLES)), examiner.predict(range(14))])
    assert halves.predicted_without is not None
    assert np.array_equal(halves.predicted_without, outcome.predictions[1].predicted)
    ten = examine_here(request(located, data, crops=10)).evaluations[0]
    assert (ten.top1, ten.top1_without_coordinates) == (1.0, (SAMPLES - WRONG) / SAMPLES)


def test_ten_crops_tell_what_the_centre_alone_finds(model: str, colours: str, tmp_path: Path) -> None:
    one, ten = (examine_here(request(model, colours, crops=crops)) for crops in (1, 10))
    assert one.evaluations[0].top1_center_crop is None
    assert ten.evaluations[0].top1_center_crop == one.evaluations[0].top1
    assert ten.predictions[0].predicted_center is not None
    assert np.array_equal(ten.predictions[0].predicted_center, one.predictions[0].predicted)
    write_outcome(ten, str(tmp_path / "out"))
    assert f"by the centre crop alone {100 * one.evaluations[0].top1:.1f}" in (tmp_path / "out/report.html").read_text()


def test_a_limit_takes_the_first_samples(model: str, colours: str) -> None:
    whole, limited = examine_here(request(model, colours)), examine_here(request(model, colours, limit=11))
    assert limited.evaluations[0].samples == 11
    assert np.array_equal(limited.predictions[0].labels, whole.predictions[0].labels[:11])
    assert examine_here(request(model, colours, limit=1000)).evaluations[0].samples == SAMPLES


def test_ten_crops_of_noise_are_surer_than_one(model: str, colours: str) -> None:
    ten = examine_here(request(model, colours, crops=10, batch_size=20))
    assert ten.evaluations[0].top1 == (SAMPLES - WRONG) / SAMPLES
    assert not np.array_equal(ten.predictions[0].logits, examine_here(request(model, colours)).predictions[0].logits)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_shares_are_worth_the_whole(model: str, colours: str, count: int) -> None:
    asked = request(model, colours)
    examiner = Examiner(asked, asked.subject)

    def in_shares(subject: Subject, samples: int) -> Predictions:
        return merge(examiner.predict(share) for share in reversed(shares(samples, asked.images_per_batch, count)))

    shared, whole = evaluate(asked, in_shares), examine_here(asked)
    for name in ("labels", "ranked", "log_probabilities", "label_log_probabilities", "logits"):
        assert np.array_equal(getattr(shared.predictions[0], name), getattr(whole.predictions[0], name))


def test_a_share_that_is_missing_at_an_end_is_noticed(model: str, colours: str) -> None:
    asked = request(model, colours)
    examiner = Examiner(asked, asked.subject)
    for samples in (range(0, 29), range(1, 30)):
        with pytest.raises(ScenerecError, match="29 of 30 samples were evaluated"):
            evaluate(asked, lambda subject, count, samples=samples: examiner.predict(samples))  # type: ignore[misc]


def test_two_models_are_compared_over_the_same_images(model: str, colours: str, tmp_path: Path) -> None:
    other = make_tiny_bundle(tmp_path / "other", scale=-0.05, labels=CLASSES).url
    outcome = examine_here(request(model, colours, other={"target": other}))
    assert outcome.comparison is not None
    assert outcome.comparison.only_a == SAMPLES - WRONG
    assert outcome.comparison.only_b == WRONG  # the weakest colour, of images whose label is wrong
    assert outcome.comparison.p_value < 1e-6
    assert [each.predictor for each in outcome.evaluations] == [model, other]


def test_the_files_hold_what_was_found(model: str, colours: str, tmp_path: Path) -> None:
    outcome = examine_here(request(model, colours, other={"target": model}, output=str(tmp_path / "out")))
    write_outcome(outcome, str(tmp_path / "out"))
    names = ["evaluation.json", "predictions-b.safetensors", "predictions.safetensors", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    found = json.loads((tmp_path / "out" / "evaluation.json").read_bytes())
    assert found == json.loads(json.dumps(outcome.as_dict()))
    assert found["evaluation"]["top1"] == outcome.evaluations[0].top1
    assert found["comparison"]["sentence"] == "A and B are right on the same images."
    assert found["data"]["fingerprint"] == outcome.data.manifest.fingerprint
    written = load((tmp_path / "out" / "predictions.safetensors").read_bytes())
    assert np.array_equal(written["logits"].argmax(axis=1), outcome.predictions[0].predicted)


def outcome_error(model: str, data: str) -> str:
    with pytest.raises(DataError) as caught:
        examine_here(request(model, data))
    return str(caught.value)


def test_a_set_of_other_classes_is_refused(colours: str, tmp_path: Path) -> None:
    renamed = make_tiny_bundle(tmp_path / "renamed", labels=("a/red", "b/leaf", "c/sky")).url
    assert f"label 1 is 'b/leaf', and class 1 of {colours} is 'b/green'" in outcome_error(renamed, colours)
    fewer = pack_colours(tmp_path, CLASSES[:2])
    assert f"has 3 labels, and {fewer} has 2 classes" in outcome_error(renamed, fewer)


def test_names_are_compared_as_they_are_meant(tmp_path: Path) -> None:
    data = pack_colours(tmp_path, ("caf\u00e9", "green", "living room"))
    spelled = make_tiny_bundle(tmp_path / "spelled", labels=("cafe\u0301", "green ", "living\u00a0room")).url
    assert examine_here(request(spelled, data)).evaluations[0].samples == 3 * PER_CLASS


def test_a_target_names_its_own_validation_set(tmp_path: Path) -> None:
    config = {"data": {"train": "s3://scenes/train", "val": "s3://scenes/val"}}
    folder = open_storage(str(tmp_path))
    folder.put("run/config.yaml", b"data: {train: s3://scenes/train, val: s3://scenes/val}")
    folder.put("run/checkpoints/step-000000012/state.json", json.dumps({"config": config}).encode())
    lineage = Lineage(
        framework="torch", arch=None, source="x", route="torch", config=config, scenerec="0.1.0", exported_at="now"
    )
    make_tiny_bundle(tmp_path / "bundle", lineage=lineage)
    make_tiny_bundle(tmp_path / "foreign")
    for target in ("run", "run/checkpoints/step-000000012", "bundle"):
        assert own_data(str(tmp_path / target)) == "s3://scenes/val"
    for target in ("foreign", "model.tflite"):
        with pytest.raises(ConfigError, match=f"{target}: does not name a validation set: give one with --data SET"):
            own_data(str(tmp_path / target))
    with pytest.raises(ConfigError, match="nowhere: no run, checkpoint or bundle is there"):
        own_data(str(tmp_path / "nowhere"))


def test_evaluations_of_a_run_go_to_its_folder(model: str, colours: str, tmp_path: Path) -> None:
    open_storage(str(tmp_path)).put("run/config.yaml", b"")
    run = str(tmp_path / "run")
    fingerprint = examine_here(request(model, colours)).data.manifest.fingerprint
    assert run_output(request(run, colours)) == f"{run}/evaluations/packed-{fingerprint[:8]}"
    assert run_output(request(run, colours, crops=10)) == f"{run}/evaluations/packed-{fingerprint[:8]}-10crops"
    assert run_output(request(model, colours)) is None


def test_the_command_asks_for_the_same() -> None:
    plain = EvaluationRequest(subject=Subject(target="s3://runs/a b"), data="/val")
    assert plain.command == "scenerec evaluate 's3://runs/a b' --data /val"
    other = Subject(target="/b", framework="tensorflow")
    full = plain.model_copy(update={"other": other, "crops": 10, "workers": 4, "output": "/out"})
    assert full.command == (
        "scenerec evaluate 's3://runs/a b' --data /val --crops 10 --compare /b --compare-framework tensorflow "
        "--workers 4 --output /out"
    )


def test_outcomes_know_the_time(model: str, colours: str) -> None:
    outcome: Outcome = examine_here(request(model, colours))
    assert outcome.finished_at.endswith("+00:00")
    assert outcome.as_dict()["other"] is None
