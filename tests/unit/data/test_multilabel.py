"""Packed sets whose samples have any number of labels: what is written, read, shown, compared, grown and adopted."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from scenerec.data.adoption.adopt import AdoptRequest, adopt
from scenerec.data.contents import read_contents
from scenerec.data.diff import diff_sets
from scenerec.data.labels import OWN_MULTI_RULE, Labels
from scenerec.data.manifest import Manifest, read_manifest
from scenerec.data.mixed_set import mix
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.packing.add import Addition, AddRequest
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.quality.sources import packed_parts
from scenerec.data.show import contact_sheet, describe
from scenerec.data.stream import validation_batches
from scenerec.data.synthetic_multilabel import draw_collages
from scenerec.errors import DataError
from scenerec.storage import open_storage
from tests.multilabel_set import COPIES, IMAGES, LABELS, pack_labelled_colours


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> PackedSet:
    return open_set(pack_labelled_colours(tmp_path_factory.mktemp("labelled")))


def test_shards_hold_lists_of_class_indices_and_the_manifest_says_so(colours: PackedSet) -> None:
    manifest = colours.manifest
    assert (manifest.labels, manifest.is_multilabel, manifest.classes) == (OWN_MULTI_RULE, True, LABELS)
    assert manifest.samples == IMAGES
    assert manifest.class_counts.tolist() == [IMAGES // 2] * 3
    with tarfile.open(fileobj=io.BytesIO(colours.storage.get(manifest.shards[0].key))) as tar:
        members = {name.partition(".")[2]: tar.extractfile(name) for name in tar.getnames()[:2]}
    assert json.load(members["labels.json"]) == list(colours.read(0)[0].label)  # type: ignore[arg-type]
    found = [sample.label for shard in range(len(manifest.shards)) for sample in colours.read(shard)]
    assert sorted(found) == sorted([(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)] * COPIES)


def test_batches_have_a_number_for_each_label(colours: PackedSet) -> None:
    batches = list(validation_batches(colours, 8, 1.0, 7))
    labels = np.concatenate([batch.labels for batch in batches])
    assert (labels.dtype, labels.shape) == (np.float32, (IMAGES, 3))
    expected = [sample.label for shard in range(len(colours.manifest.shards)) for sample in colours.read(shard)]
    assert [tuple(np.flatnonzero(row).tolist()) for row in labels] == expected


def test_labels_of_nothing_are_rows_of_no_label() -> None:
    labelling = Labels(OWN_MULTI_RULE, ("a", "b"))
    assert labelling.array([]).shape == (0, 2)
    assert labelling.array([(), (1,)]).tolist() == [[0, 0], [0, 1]]
    assert Labels("cls", ("a", "b")).array([]).shape == (0,)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"3", "is no list"),
        (b"[1, 2.5]", "neither a whole"),
        (b"[5]", "out of range"),
        (b'["c"]', "not a class"),
        (b"", "JSON"),
    ],
)
def test_labels_that_are_none_are_refused(content: bytes, problem: str) -> None:
    labelling = Labels(OWN_MULTI_RULE, ("a", "b"))
    with pytest.raises(ValueError, match=problem):
        labelling.index(labelling.value(content))
    assert labelling.index(labelling.value(b'["b", 0, "b"]')) == (0, 1)


def test_a_manifest_whose_counts_cannot_be_is_refused(colours: PackedSet) -> None:
    document = colours.manifest.model_dump(mode="json")
    document["shards"][0]["class_counts"]["0"] = document["shards"][0]["samples"] + 1
    with pytest.raises(ValidationError, match="class_counts has"):
        Manifest.model_validate(document)
    document = {**colours.manifest.model_dump(mode="json"), "labels": "cls"}
    with pytest.raises(ValidationError, match="add up to"):
        Manifest.model_validate(document)


def test_it_is_packed_to_the_same_bytes_and_complete_at_once(tmp_path: Path) -> None:
    draw_collages(tmp_path / "raw", classes=3, train=8, val=4, size=32)
    request = PackRequest(source=tmp_path / "raw", destination=str(tmp_path / "packed"))
    said: list[str] = []
    first, again = pack(request, say=said.append), pack(request)
    other = pack(request.model_copy(update={"destination": str(tmp_path / "other")}))
    assert [split.split for split in first.splits] == ["train", "val"]
    assert all(split.complete_before for split in again.splits)
    manifests = [read_manifest(open_storage(split.url)) for split in (first.splits[0], other.splits[0])]
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert "8 images with" in said[1]


def test_show_lists_each_label_and_the_sheet_has_a_row_for_each(colours: PackedSet) -> None:
    described = describe(colours.storage, colours.manifest)
    assert (described.samples, described.class_counts) == (IMAGES, dict.fromkeys(LABELS, IMAGES // 2))
    assert contact_sheet(colours.storage, colours.manifest, per_class=2, thumb=16).height > 3 * 16


def test_diff_names_the_labels_that_changed(colours: PackedSet, tmp_path: Path) -> None:
    source = Path(colours.url).parent / "images"
    table = (source / "labels.csv").read_text().replace("7-0.png,red;green;blue", "7-0.png,red")
    (source / "corrected.csv").write_text(table)
    pack(PackRequest(source=source / "corrected.csv", destination=str(tmp_path / "corrected")))
    changes = diff_sets(colours.url, str(tmp_path / "corrected")).samples
    assert changes is not None
    assert [(each.before.class_name, each.after.class_name) for each in changes if each.before and each.after] == [
        ("blue;green;red", "red")
    ]


def test_images_are_added_and_those_that_are_there_left_out(tmp_path: Path) -> None:
    url = pack_labelled_colours(tmp_path)
    source = tmp_path / "images"
    (source / "0-0.png").rename(source / "copy.png")
    (source / "7-0.png").write_bytes((source / "6-0.png").read_bytes()[:-20])
    (source / "more.csv").write_text("path,labels\ncopy.png,\n1-0.png,red;blue;night\n")
    request = AddRequest(source=source / "more.csv", destination=url)
    with pytest.raises(DataError, match="class `night` is not in"):
        Addition(request)
    addition = Addition(request.model_copy(update={"new_classes": True}))
    addition.read_known()
    (result,) = addition.pack()
    assert (result.added, result.problems, result.new_classes) == (0, {"duplicate": 2}, ("night",))
    (source / "one.csv").write_text("path,label\n1-0.png,red\n")
    with pytest.raises(DataError, match=r"has one label an image, and .* several"):
        Addition(request.model_copy(update={"source": source / "one.csv"}))


def test_shards_of_others_are_adopted_by_a_list_in_their_json(colours: PackedSet, tmp_path: Path) -> None:
    names = ("blue", "green", "red")
    with tarfile.open(tmp_path / "theirs-0.tar", "w") as tar:
        for sample in colours.read(0):
            assert isinstance(sample.label, tuple)
            document = json.dumps({"tags": [names[index] for index in sample.label]}).encode()
            for suffix, content in (("png", sample.image), ("json", document)):
                info = tarfile.TarInfo(f"{sample.key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    adopted = adopt(AdoptRequest(shards=(str(tmp_path / "theirs-0.tar"),), labels="json:tags[]"))
    theirs = open_set(adopted.url)
    assert theirs.manifest.is_multilabel
    assert [sample.label for sample in theirs.read(0)] == [sample.label for sample in colours.read(0)]


def test_what_asks_for_one_class_refuses_it(colours: PackedSet) -> None:
    with pytest.raises(DataError, match="trained on alone"):
        mix([(colours, 1.0), (replace(colours), 1.0)])
    with pytest.raises(DataError, match="several labels an image, and what is looked for"):
        packed_parts(colours.url)
    assert len(list(read_contents([(colours, shard) for shard in colours.manifest.shards]))) > 1
