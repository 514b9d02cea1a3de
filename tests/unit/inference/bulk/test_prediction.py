"""Every image is answered once, as it is answered alone, however often the work was stopped."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scenerec.errors import BundleError, ConfigError, DataError, ModelError, StorageError
from scenerec.inference.bulk.prediction import PredictResult, bundle_sha256, open_asked, output_form, predict_here
from scenerec.inference.bulk.request import FORMS, PredictRequest, Question
from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.predictors.classifier import Classifier
from scenerec.storage import LocalStorage
from tests.colour_set import PER_CLASS, pack_colours
from tests.measured import validation
from tests.tiny_bundle import make_tiny_bundle
from tests.unit.data.conftest import photograph
from tests.unit.inference.predictors.test_embedder import with_head

IMAGES = 23

Ask = Callable[..., PredictRequest]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Noise in which one colour is stronger."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        pixels = rng.integers(0, 150, (14, 18, 3), dtype=np.uint8)
        pixels[:, :, index % 3] += 60
        Image.fromarray(pixels).save(folder / f"{index:02}.{('jpg', 'png')[index % 2]}")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def ask(tmp_path: Path, photos: Path, bundle: Bundle) -> Ask:
    """Makes a request: the photos in parts of 6, in batches of 4."""

    def ask(output: str = "answers", model: Bundle = bundle, **fields: Any) -> PredictRequest:
        asked = {name: fields.pop(name) for name in list(fields) if name in Question.model_fields}
        question = {
            "sources": (str(photos),),
            "model_sha256": bundle_sha256(model),
            "form": output_form(output) or "jsonl",
            "batch_size": 4,
            "images_per_part": 6,
            "top_k": 2,
            **asked,
        }
        return PredictRequest.model_validate(
            {"question": question, "model": model.url, "output": str(tmp_path / output), **fields}
        )

    return ask


def predict(request: PredictRequest, on_progress: Callable[[int, int], None] = lambda *_: None) -> PredictResult:
    return predict_here(request, open_bundle(request.model), on_progress)


def tables(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("part-*"))}


def answers(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for content in tables(folder).values() for line in content.splitlines()]


def test_each_image_is_answered_once_as_it_is_answered_alone(ask: Ask, photos: Path, bundle: Bundle) -> None:
    request = ask()
    result = predict(request)
    assert (result.images, result.answered, result.unreadable, result.parts) == (IMAGES, IMAGES, 0, 4)
    alone, expected = Classifier(bundle), []
    for path in sorted(photos.iterdir()):
        (guesses,) = alone.classify([path.read_bytes()], top_k=2)
        expected.append({"image": str(path), "predictions": [vars(guess) for guess in guesses]})
    assert answers(request.output) == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_answers_do_not_depend_on_the_threads(ask: Ask, threads: int) -> None:
    plain, other = ask("plain", threads=2), ask("other", threads=threads)
    predict(plain)
    predict(other)
    assert tables(other.output) == tables(plain.output)


class StoppedError(Exception):
    pass


def stop_at(images: int) -> Callable[[int, int], None]:
    def on_progress(done: int, total: int) -> None:
        if done >= images:
            raise StoppedError

    return on_progress


def test_what_was_stopped_goes_on_without_a_gap_or_a_repeat(ask: Ask) -> None:
    whole, request = ask("whole"), ask()
    predict(whole)
    with pytest.raises(StoppedError):
        predict(request, stop_at(14))
    begun = tables(request.output)
    assert 0 < len(begun) < 4
    first_seen: list[tuple[int, int]] = []
    result = predict(request, lambda *progress: first_seen.append(progress))
    assert result.parts_before == len(begun)
    assert first_seen[0] == (6 * len(begun), IMAGES), "what was done before does not count as speed"
    assert first_seen[-1] == (IMAGES, IMAGES)
    assert tables(request.output) == tables(whole.output)


def test_what_was_stopped_while_it_listed_lists_again(ask: Ask) -> None:
    request = ask()
    (Path(request.output) / "_plan").mkdir(parents=True)
    (Path(request.output) / "_plan/listing-000000.jsonl").write_text('{"image": "/another.jpg", "size_bytes": 1}\n')
    assert predict(request).answered == IMAGES


def test_a_part_that_was_deleted_is_answered_again(ask: Ask) -> None:
    request = ask()
    predict(request)
    before = tables(request.output)
    (Path(request.output) / "part-000002.jsonl").unlink()
    result = predict(request)
    assert (result.parts_before, tables(request.output)) == (3, before)
    again = predict(request)
    assert (again.parts_before, again.images_per_s, again.answered) == (4, 0, IMAGES)


def test_a_part_of_other_answers_is_refused_by_name(ask: Ask) -> None:
    request = ask()
    predict(request)
    stray = Path(request.output) / "part-000004.jsonl"
    stray.write_text("{}\n")
    with pytest.raises(ConfigError, match=r"part-000004\.jsonl: is no part of these answers, which are 4: delete it"):
        predict(request)
    (Path(request.output) / "_plan/plan.json").unlink()
    with pytest.raises(ConfigError, match=r"has answers \(part-000000\.jsonl\), but not what they answer"):
        predict(request)
    result = predict(ask(overwrite=True))
    assert (result.parts_before, stray.exists()) == (0, False)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"top_k": 3}, r"another --top \(2\)"),
        ({"batch_size": 5}, r"another --batch-size \(4\)"),
        ({"images_per_part": 7}, r"another --images-per-part \(6\)"),
        ({"coordinates": (1.0, 2.0, None)}, "other coordinates: --overwrite"),
        ({"model_sha256": "0" * 64}, r"another model \(.*/bundle\)"),
    ],
)
def test_another_question_is_refused_by_what_differs(ask: Ask, asked: dict[str, Any], named: str) -> None:
    request = ask()
    predict(request)
    before = tables(request.output)
    with pytest.raises(ConfigError, match=rf"answers: has answers to something else: {named}"):
        predict(ask(**asked))
    assert tables(request.output) == before


def test_another_listing_is_refused_by_its_first_image_unless_it_is_kept(ask: Ask, photos: Path) -> None:
    request = ask()
    with pytest.raises(StoppedError):
        predict(request, stop_at(14))
    (photos / "04b.jpg").write_bytes((photos / "04.jpg").read_bytes())
    with pytest.raises(ConfigError, match=r"have changed since they were listed, the first at .*/04b\.jpg: --keep"):
        predict(request)
    assert predict(ask(keep_listing=True)).images == IMAGES
    assert "04b.jpg" not in {Path(each["image"]).name for each in answers(request.output)}
    assert predict(ask(overwrite=True)).images == IMAGES + 1


def test_a_listing_that_became_shorter_is_another_one(ask: Ask, photos: Path) -> None:
    predict(ask())
    (photos / "22.jpg").unlink()
    with pytest.raises(ConfigError, match=r"the first at .*/22\.jpg"):
        predict(ask())


def test_images_that_cannot_be_read_are_listed_and_the_others_answered(ask: Ask, photos: Path) -> None:
    (photos / "03.png").write_bytes(b"")
    (photos / "10.jpg").write_bytes((photos / "10.jpg").read_bytes()[:200])
    for index in range(12, 18):  # a whole part
        (photos / f"{index}.{('jpg', 'png')[index % 2]}").write_text("not an image")
    request = ask()
    result = predict(request)
    assert (result.images, result.answered, result.unreadable) == (IMAGES, IMAGES - 8, 8)
    assert result.unreadable_list == f"{request.output}/_unreadable.csv"
    header, *unreadable = csv.reader(Path(result.unreadable_list).read_text().splitlines())
    assert header == ["image", "reason"]
    assert unreadable[0] == [str(photos / "03.png"), "not a JPEG, PNG, WebP, GIF or BMP image"]
    names = [image for image, _ in unreadable] + [each["image"] for each in answers(request.output)]
    assert sorted(names) == sorted(map(str, photos.iterdir()))
    assert predict(request).unreadable == 8, "they are known when all is there"


def test_an_image_that_went_since_it_was_listed_is_unreadable(ask: Ask, photos: Path) -> None:
    request = ask()
    with pytest.raises(StoppedError):
        predict(request, stop_at(1))
    (photos / "22.jpg").unlink()
    result = predict(ask(keep_listing=True))
    assert (result.answered, result.unreadable) == (IMAGES - 1, 1)
    assert "22.jpg,is gone since it was listed" in Path(f"{request.output}/_unreadable.csv").read_text()


def test_a_folder_that_is_not_seen_makes_no_image_unreadable(ask: Ask, photos: Path) -> None:
    """As on a node that does not share it: all images would else be listed as gone."""
    request = ask()
    with pytest.raises(StoppedError):
        predict(request, stop_at(1))
    photos.rename(photos.with_name("moved"))
    with pytest.raises(StorageError, match=r"photos: is not there, or not seen by this machine"):
        predict(ask(keep_listing=True))
    photos.with_name("moved").rename(photos)
    assert predict(request).answered == IMAGES


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_one_file_is_the_parts_joined_and_nothing_else_is_left(
    ask: Ask, photos: Path, tmp_path: Path, form: str
) -> None:
    parts, request = ask("answers", form=form), ask(f"answers.{form}")
    predict(parts)
    with pytest.raises(StoppedError):
        predict(request, stop_at(14))
    (tmp_path / f"answers.{form}.parts/.part-000003.{form}.x.unfinished").write_text("of a killed process")
    result = predict(request)
    assert result.parts_before > 0
    assert not Path(f"{request.output}.parts").exists()
    if form == "parquet":
        assert pq.read_table(request.output).equals(pq.read_table(parts.output))
    else:
        lines = [line for content in tables(parts.output).values() for line in content.splitlines()]
        header = lines[0]
        assert Path(request.output).read_bytes().splitlines() == (
            [header, *(line for line in lines if line != header)] if form == "csv" else lines
        )
    with pytest.raises(ConfigError, match=rf"answers\.{form}: is there already: --overwrite replaces it"):
        predict(request)
    (photos / "00.jpg").write_text("not an image")
    result = predict(ask(f"answers.{form}", overwrite=True))
    assert (result.answered, result.unreadable_list) == (IMAGES - 1, str(tmp_path / "answers.unreadable.csv"))


def test_the_columns_of_the_tables(ask: Ask) -> None:
    lines, cells, table = ask("a.jsonl"), ask("a.csv"), ask("a.parquet")
    for request in (lines, cells, table):
        predict(request)
    expected = [json.loads(line) for line in Path(lines.output).read_text().splitlines()]
    rows = pq.read_table(table.output).to_pylist()
    assert list(rows[0]) == ["image", "label", "probability", "labels", "probabilities"]
    with Path(cells.output).open(newline="") as file:
        typed = list(csv.DictReader(file))
    assert list(typed[0]) == ["image", "label", "probability", "label_2", "probability_2"]
    for one, row, cell in zip(expected, rows, typed, strict=True):
        labels, probabilities = ([guess[key] for guess in one["predictions"]] for key in ("label", "probability"))
        assert (row["image"], row["labels"], row["probabilities"]) == (one["image"], labels, probabilities)
        assert (row["label"], row["probability"]) == (labels[0], probabilities[0])
        assert [cell["label"], cell["label_2"]] == labels
        assert [float(cell["probability"]), float(cell["probability_2"])] == probabilities


def test_a_packed_set_is_answered_shard_by_shard_with_its_coordinates(ask: Ask, tmp_path: Path) -> None:
    packed = pack_colours(tmp_path / "colours", coordinates=True)
    blind, told = make_tiny_bundle(tmp_path / "blind"), make_tiny_bundle(tmp_path / "told", coordinates=True)
    labels = {}
    for name, model in (("unaware", blind), ("aware", told)):
        request = ask(name, model, sources=(packed,))
        result = predict(request)
        found = answers(request.output)
        assert result.parts == len(list(Path(packed).glob("*.tar"))) > 1
        assert len({each["image"] for each in found}) == len(found) == result.answered == 3 * PER_CLASS
        assert found[0]["image"].startswith(f"{packed}/000000.tar/")
        labels[name] = [each["predictions"][0]["label"] for each in found]
    assert labels["aware"].count("red") == labels["unaware"].count("red") + 2


def test_coordinates_are_told_of_all_images_or_by_their_exif(ask: Ask, photos: Path, tmp_path: Path) -> None:
    (photos / "00.jpg").write_bytes(photograph((80, 0, 0), (20, 0, 0), "N", "W"))
    (photos / "02.jpg").write_bytes(photograph((180, 0, 0), (20, 0, 0), "N", "W"))  # impossible
    located = make_tiny_bundle(tmp_path / "located", coordinates=True)
    request = ask(model=located, coordinates=(-80.0, 170.0, None), coordinates_from_exif=True)
    predict(request)
    labels = {Path(each["image"]).name: each["predictions"][0]["label"] for each in answers(request.output)}
    assert labels.pop("00.jpg") == "green"
    assert set(labels.values()) == {"blue"}


def test_embeddings_go_along_also_of_a_part_without_any(ask: Ask, photos: Path, tmp_path: Path) -> None:
    for index in range(6):
        (photos / f"{index:02}.{('jpg', 'png')[index % 2]}").write_text("not an image")
    headed = with_head(tmp_path / "headed")
    table, lines, plain = (
        ask(name, headed, embeddings=wanted)
        for name, wanted in (("a.parquet", True), ("a.jsonl", True), ("b.jsonl", False))
    )
    for request in (table, lines, plain):
        assert predict(request).answered == IMAGES - 6
    rows = pq.read_table(table.output).to_pylist()
    prepare = Classifier(headed).prepare
    for row in rows:
        np.testing.assert_allclose(
            row["embedding"], prepare(Path(row["image"]).read_bytes()).mean(axis=(0, 1)), rtol=1e-6
        )
    told = [json.loads(line) for line in Path(lines.output).read_text().splitlines()]
    assert [each.pop("embedding") for each in told] == [row["embedding"] for row in rows]
    assert told == [json.loads(line) for line in Path(plain.output).read_text().splitlines()]


def test_the_temperature_counts_and_an_abstaining_model_says_so(ask: Ask, tmp_path: Path) -> None:
    sure, unsure = (
        make_tiny_bundle(tmp_path / name, validation=validation(temperature=3.0, abstain_below=threshold))
        for name, threshold in (("sure", 0.0), ("unsure", 0.6))
    )
    plain, lines, cells, table = ask("plain.jsonl", sure), *(ask(f"a.{form}", unsure) for form in FORMS[::-1])
    for request in (plain, lines, cells, table):
        predict(request)
    told = [json.loads(line) for line in Path(lines.output).read_text().splitlines()]
    (guesses,) = Classifier(unsure).classify([Path(told[0]["image"]).read_bytes()], top_k=2)
    assert told[0]["predictions"] == [vars(guess) for guess in guesses]
    abstained = [each["abstained"] for each in told]
    assert abstained == [each["predictions"][0]["probability"] < 0.6 for each in told]
    assert {*abstained} == {True, False}
    assert pq.read_table(table.output)["abstained"].to_pylist() == abstained
    with Path(cells.output).open(newline="") as file:
        assert [row["abstained"] == "true" for row in csv.DictReader(file)] == abstained
    assert not any(json.loads(line)["abstained"] for line in Path(plain.output).read_text().splitlines())


def test_a_model_that_fails_is_named_with_the_batch(ask: Ask, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (12, 12), (255, 0, 0)).save(photos / "09.png")
    failing = make_tiny_bundle(tmp_path / "failing", fails_on_red=True)
    with pytest.raises(ModelError, match=r"failing: fails on a batch of 2 images from .*/08\.jpg on: "):
        predict(ask(model=failing, batch_size=2))


def test_a_model_that_was_replaced_meanwhile_is_refused(ask: Ask, tmp_path: Path) -> None:
    request = ask()
    make_tiny_bundle(tmp_path / "bundle", scale=0.07)
    with pytest.raises(BundleError, match="is another model than the one that was asked"):
        open_asked(request)


def test_a_shard_that_was_replaced_is_refused(ask: Ask, tmp_path: Path) -> None:
    packed = pack_colours(tmp_path / "colours")
    request = ask(sources=(packed,))
    with pytest.raises(StoppedError):
        predict(request, stop_at(1))
    listing = LocalStorage(Path(request.output))
    key = "_plan/listing-000001.jsonl"
    line = json.loads(listing.get(key))
    listing.put(key, json.dumps({**line, "sha256": "0" * 64}).encode())
    with pytest.raises(DataError, match=r"000001\.tar is not the shard that was listed"):
        predict(ask(sources=(packed,), keep_listing=True))
