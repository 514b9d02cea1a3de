import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data import tf_input, torch_input
from scenerec.data.adoption.adopt import Adoption, AdoptRequest, adopt
from scenerec.data.integrity import check_set
from scenerec.data.manifest import Manifest, read_manifest
from scenerec.data.order import EpochOrder, batch_positions
from scenerec.data.packed_image import decode
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.picture import ORIENTATION_TAG, Picture, turn_upright
from scenerec.data.pool import process_runner
from scenerec.data.shard import Sample
from scenerec.data.show import contact_sheet, describe
from scenerec.data.stream import Cursor, TrainingOrder
from scenerec.errors import DataError
from scenerec.storage import LocalStorage
from scenerec.world import World

Encode = Callable[..., bytes]
CLASSES = ("beach", "city", "forest")


def write_shard(path: Path, samples: Iterable[Mapping[str, Any]]) -> Path:
    """Writes a shard as people do: by the package webdataset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path), encoder=False) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def foreign(encode: Encode, tmp_path: Path) -> Path:
    """Four shards of 13 samples each, JPEG, PNG and WebP, with the label in each of three ways, and more."""
    for shard in range(4):
        write_shard(
            tmp_path / "foreign" / f"shard-{shard:02d}.tar",
            (
                {
                    "__key__": f"{'sub/' if shard == 3 else ''}img{13 * shard + index:05d}",
                    ("jpeg", "png", "webp")[index % 3]: encode(
                        13 * shard + index, size=(48, 40), form=("JPEG", "PNG", "WEBP")[index % 3]
                    ),
                    "cls": str(index % 3).encode(),
                    "txt": f" {CLASSES[index % 3]}\n".encode(),
                    "json": json.dumps({"scene": CLASSES[index % 3], "index": index % 3, "url": "x"}).encode(),
                    "seg.png": b"a mask",
                    "pyd": b"cos\nsystem\n(S'false'\ntR.",
                }
                for index in range(13)
            ),
        )
    return tmp_path / "foreign"


def adopted(folder: Path, labels: str = "txt", **more: Any) -> Adoption:
    return adopt(AdoptRequest(shards=(f"{folder}/*",), labels=labels, **more))


def samples(url: Path | str) -> list[Sample]:
    data = open_set(str(url))
    return [sample for index in range(len(data.manifest.shards)) for sample in data.read(index)]


def failure(folder: Path, labels: str = "cls", **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        adopted(folder, labels, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [("cls", ("0", "1", "2")), ("txt", CLASSES), ("json:scene", CLASSES), ("json:index", ("0", "1", "2"))],
)
def test_all_that_webdataset_reads_is_adopted(foreign: Path, labels: str, classes: tuple[str, ...]) -> None:
    found = adopted(foreign, labels)
    assert (found.written, found.samples, found.shards, found.kinds, found.classes) == (True, 52, 4, {}, classes)
    urls = sorted(map(str, foreign.glob("*.tar")))
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False).to_tuple("jpeg;png;webp", "cls"))
    assert [(sample.image, sample.label) for sample in samples(foreign)] == [
        (image, int(label)) for image, label in theirs
    ]


def test_it_is_a_packed_set_like_any_other(foreign: Path) -> None:
    adopted(foreign)
    storage = LocalStorage(foreign)
    manifest = read_manifest(storage)
    assert check_set(storage, manifest).defects == ()
    description = describe(storage, manifest)
    assert (description.class_counts, description.width["p50"]) == ({"beach": 20, "city": 16, "forest": 16}, 48)
    (foreign / "shard-01.tar").write_bytes((foreign / "shard-02.tar").read_bytes())
    assert ["checksum" in defect.problem for defect in check_set(storage, manifest).defects] == [True]


def test_both_frameworks_train_on_it_in_the_order_of_the_epoch(foreign: Path) -> None:
    adopted(foreign, "json:scene")
    data = open_set(str(foreign))
    augment = AugmentConfig(crop_scale=(1, 1), crop_ratio=(1.2, 1.2), flip=False)  # that of all pictures: the whole
    config = DataConfig(train=str(foreign), val=str(foreign), image_size=40, augment=augment)
    order = TrainingOrder(seed=3, lanes=4, global_batch_size=10, epochs=2)
    ours = torch_input.training_input(data, config, order, World(), Cursor(), 1)
    theirs = tf_input.training_input(data, config, order, World(), Cursor(), 1)
    epochs = [EpochOrder(tuple(s.samples for s in data.manifest.shards), order.lanes, order.seed, e) for e in (0, 1)]
    steps = 0
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        shards, places = epochs[step // 5].locate(batch_positions(step % 5, 10))
        meant = [data.read(shard)[place] for shard, place in zip(shards, places, strict=True)]
        assert a.labels.tolist() == b.labels.numpy().tolist() == [sample.label for sample in meant]
        pixels = a.images.permute(0, 2, 3, 1).numpy().astype(int)
        assert np.abs(pixels - b.images.numpy().astype(int)).max() <= 1
        means = [decode(sample.image).mean() for sample in meant]
        assert np.abs(pixels.mean(axis=(1, 2, 3)) - means).max() < 4
        steps += 1
    assert steps == 10


@pytest.fixture
def turned(encode: Encode, tmp_path: Path) -> tuple[PackedSet, PackedSet]:
    """Pictures that are upright by EXIF alone, in each orientation and format; and the same as they are meant."""
    stored, meant = [], []
    for index in range(24):
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = 1 + index % 8
        suffix, form = [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")][index // 8]
        content = encode(index, size=(200, 120) if index % 3 else (60, 90), form=form, exif=exif.tobytes())
        buffer = io.BytesIO()
        Image.fromarray(turn_upright(Picture(content).stored(), 1 + index % 8)).save(buffer, "PNG")
        stored.append({"__key__": f"{index:02d}", suffix: content, "cls": str(index % 2).encode()})
        meant.append({"__key__": f"{index:02d}", "png": buffer.getvalue(), "cls": str(index % 2).encode()})
    for name, pictures in (("turned", stored), ("upright", meant)):
        for shard in range(2):
            write_shard(tmp_path / name / f"{shard}.tar", pictures[shard::2])
    found = [adopted(tmp_path / name, "cls") for name in ("turned", "upright")]
    assert [(each.turned, each.samples, each.kinds) for each in found] == [(21, 24, {}), (0, 24, {})]
    sets = [open_set(each.url) for each in found]
    assert [each.manifest.source.get("turned_by_exif") for each in sets] == ["21", None]
    return sets[0], sets[1]


def test_pictures_are_upright_by_exif_wherever_they_are_read(turned: tuple[PackedSet, PackedSet]) -> None:
    order, augment = TrainingOrder(seed=3, lanes=4, global_batch_size=8, epochs=2), AugmentConfig(color_jitter=0.4)
    config = DataConfig(train=turned[0].url, val=turned[0].url, image_size=64, augment=augment)

    def batches(pipeline: ModuleType, data: PackedSet) -> list[Any]:
        return [
            *pipeline.training_input(data, config, order, World(), Cursor(), 1),
            *pipeline.validation_input(data, config, World(), 7, 1),
            *pipeline.statistics_input(data, config, 3, 5, 2, World(), 1),
        ]

    ours, meant = (batches(torch_input, data) for data in turned)
    theirs = batches(tf_input, turned[0])
    assert len(ours) == len(meant) == len(theirs) == 6 + 4 + 2
    for one, other, tf_one in zip(ours, meant, theirs, strict=True):
        pixels = one.images.permute(0, 2, 3, 1).numpy()
        assert np.array_equal(one.images, other.images) and np.array_equal(pixels, tf_one.images)
        assert (one.colors is None) == (other.colors is None)
        assert one.colors is None or np.array_equal(one.colors, other.colors)
    sheets, shown = ([show(data.storage, data.manifest) for data in turned] for show in (contact_sheet, describe))
    assert np.array_equal(np.asarray(sheets[0]), np.asarray(sheets[1]))
    assert (shown[0].height, shown[0].width) == (shown[1].height, shown[1].width)


def test_several_processes_find_the_same(foreign: Path) -> None:
    adopted(foreign)
    alone = (foreign / "manifest.json").read_bytes()
    request = AdoptRequest(shards=(f"{foreign}/shard-{{00..03}}.tar",), labels="txt", overwrite=True)
    assert adopt(request, process_runner(2)).written
    assert (foreign / "manifest.json").read_bytes() == alone


def test_a_tar_gz_is_read_like_a_tar(foreign: Path) -> None:
    adopted(foreign)
    plain = samples(foreign)
    for path in foreign.glob("*.tar"):
        content = path.read_bytes()
        halves = gzip.compress(content[:5000]) + gzip.compress(content[5000:])
        path.with_suffix(".tar.gz").write_bytes(halves)
        path.unlink()
    adopted(foreign, overwrite=True)
    assert samples(foreign) == plain
    cut = foreign / "shard-00.tar.gz"
    cut.write_bytes(cut.read_bytes()[:-200])
    found = adopted(foreign, overwrite=True)
    assert (found.written, [misfit.detail for misfit in found.misfits]) == (False, ["the tar.gz is truncated"])
    cut.write_bytes(gzip.compress(bytes(50_000_000)))
    assert "inflates to more than 20 times" in adopted(foreign, overwrite=True).misfits[0].detail


def test_classes_come_from_a_list_in_its_order(foreign: Path) -> None:
    names = ("forest", "lake", "city", "beach")
    found = adopted(foreign, classes=names)
    assert (found.classes, found.empty_classes) == (names, 1)
    assert read_manifest(LocalStorage(foreign)).class_counts.tolist() == [16, 0, 16, 20]
    indices = adopted(foreign, "cls", classes=names, overwrite=True)
    assert (indices.classes, indices.empty_classes) == (names, 1)
    assert read_manifest(LocalStorage(foreign)).class_counts.tolist() == [20, 16, 16, 0]
    few = adopted(foreign, "cls", classes=names[:2], overwrite=True)
    assert (few.written, few.kinds) == (False, {"label": 16})
    assert few.misfits[0].detail == "img00002: label 2 is out of range, there are 2 classes"


class TestMisfits:
    @pytest.fixture
    def damaged(self, foreign: Path, encode: Encode) -> Path:
        """The same shards, two more with a misfit of every kind between good samples, and one that was cut off."""
        write_tar(
            foreign / "shard-10.tar",
            [
                ("a.jpg", encode(100)),
                ("a.cls", b"1"),
                ("b.cls", b"1"),
                ("c.jpg", encode(101)),
                ("d.jpg", encode(102)),
                ("d.cls", b"sea urchin"),
                ("a.jpg", encode(103)),
                ("a.cls", b"2"),
                ("e.jpg", encode(104)[:-200]),
                ("e.cls", b"2"),
                ("README", b"no dot"),
                (".DS_Store", b"hidden"),
                ("Z.JPG", encode(106)),
                ("Z.cls", b"2"),
            ],
        )
        write_tar(
            foreign / "shard-11.tar",
            [
                ("g.heic", b"\0\0\0\x18ftypheic"),
                ("g.cls", b"0"),
                ("h.jpg", encode(107, form="TIFF")),
                ("h.cls", b"0"),
                ("i.jpg", encode(108)),
                ("i.png", encode(108, form="PNG")),
                ("i.cls", b"0"),
                ("img.001.jpg", encode(109)),
                ("img.002.jpg", encode(110)),
                ("img.cls", b"0"),
            ],
        )
        whole = (foreign / "shard-03.tar").read_bytes()
        (foreign / "shard-12.tar").write_bytes(whole[: whole.index(b"img00045.jpeg") // 512 * 512])
        return foreign

    def test_each_is_told_of_with_shard_and_key_and_nothing_is_adopted(self, damaged: Path) -> None:
        found = adopted(damaged, "cls", classes=CLASSES)
        assert not found.written
        assert not (damaged / "manifest.json").exists()
        assert found.kinds == {
            "image": 3,
            "label": 2,
            "doubled": 1,
            "unreadable": 1,
            "format HEIC": 1,
            "format TIFF": 1,
            "shard": 1,
        }
        told = {(misfit.shard, misfit.detail.split(":")[0]): misfit.detail for misfit in found.misfits}
        assert [key for _, key in told] == [*"bcdaeghi", "img", "the tar is truncated"]
        assert told["shard-10.tar", "b"] == "b: the image is missing (it has cls)"
        assert told["shard-10.tar", "c"] == "c: the label (c.cls) is missing"
        assert told["shard-10.tar", "d"] == "d: b'sea urchin' is not a class index, nor the name of a class"
        assert told["shard-11.tar", "img"] == "img: the image is missing (it has 001.jpg, 002.jpg, cls)"

    def test_they_can_be_left_out_exactly(self, damaged: Path) -> None:
        found = adopted(damaged, "cls", classes=CLASSES, skip_bad=True)
        assert (found.written, found.samples, found.shards) == (True, 54, 5)
        manifest = read_manifest(LocalStorage(damaged))
        assert manifest.shards[-1].left_out == (1, 2, 3, 4, 5)
        assert manifest.source["left_out_format_HEIC"] == "1"
        assert [sample.key for sample in samples(damaged)][-2:] == ["a", "Z"]
        assert check_set(LocalStorage(damaged), manifest).defects == ()

    def test_what_is_left_out_belongs_to_the_fingerprint(self, damaged: Path) -> None:
        adopted(damaged, "cls", classes=CLASSES, skip_bad=True)
        manifest = read_manifest(LocalStorage(damaged))
        whole = manifest.shards[-1].model_copy(update={"left_out": ()})
        others: list[dict[str, Any]] = [{"labels": "txt"}, {"shards": (*manifest.shards[:-1], whole)}]
        prints = {Manifest.model_validate({**dict(manifest), **other}).fingerprint for other in others}
        assert len({manifest.fingerprint, *prints}) == 3

    def test_a_shard_that_is_not_there_is_one(self, foreign: Path) -> None:
        found = adopt(AdoptRequest(shards=(f"{foreign}/shard-{{00..04}}.tar",), labels="cls"))
        assert (found.written, found.kinds) == (False, {"shard": 1})
        assert (found.misfits[0].shard, found.misfits[0].detail) == ("shard-04.tar", "there is no such object")

    def test_tars_one_behind_the_other_are_no_shard(self, foreign: Path) -> None:
        first, second = (foreign / "shard-00.tar").read_bytes(), (foreign / "shard-01.tar").read_bytes()
        (foreign / "shard-00.tar").write_bytes(first + second)  # readers of tars stop at the end of the first
        assert "is no member of it" in adopted(foreign).misfits[0].detail

    def test_without_labels_the_option_is_named(self, foreign: Path) -> None:
        assert "(img00000.json)" not in failure(foreign, "json:class")
        assert failure(foreign, "json:class").endswith("has no field `class`: --labels says where the class stands")


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (b"[1]", "a.json: has no field `x`"),
        (b"{", "a.json: is not JSON"),
        (b"[" * 100_000, "a.json: is not JSON"),
        (b'{"x": true}', "a.json: `x` is neither a whole number nor text"),
        (b'{"x": 1.5}', "a.json: `x` is neither a whole number nor text"),
        (b'{"x": -1}', "a: label -1 is below 0"),
        (b'{"x": " "}', "a.json: the label is empty"),
        (b'{"x": "a\\nb"}', "a.json: is a text of several lines"),
    ],
)
def test_odd_labels_are_told_of(encode: Encode, tmp_path: Path, label: bytes, told: str) -> None:
    write_tar(tmp_path / "0.tar", [("a.jpg", encode(1)), ("a.json", label)])
    assert told in failure(tmp_path, "json:x")


def test_labels_that_are_no_classes_are_refused(encode: Encode, tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    write_tar(path, [("a.jpg", encode(1)), ("a.cls", b"7"), ("b.jpg", encode(2)), ("b.cls", b"sea")])
    assert "class indices (7) and class names (`sea`): say with --classes FILE" in failure(tmp_path)
    write_tar(path, [("a.jpg", encode(1)), ("a.cls", b"999999999")])
    assert "1,000,000,000 classes, such as 999999999, are more than" in failure(tmp_path)
    write_tar(path, [("a.jpg", encode(1)), ("a.cls", b"Sea"), ("b.jpg", encode(2)), ("b.cls", b"sea")])
    assert "differ in case only" in failure(tmp_path)


class TestDestination:
    def test_two_splits_in_one_folder(self, foreign: Path) -> None:
        for split, part in (("train", "{00..02}"), ("val", "03")):
            request = AdoptRequest(shards=(f"{foreign}/shard-{part}.tar",), labels="txt", split=split)
            assert adopt(request).url == f"{foreign}/{split}"
        moved = foreign.rename(foreign.with_name("moved"))
        assert [len(samples(moved / split)) for split in ("train", "val")] == [39, 13]
        manifest = read_manifest(LocalStorage(moved / "val"))
        assert (manifest.shards_at, manifest.source["split"]) == ("..", "val")
        assert check_set(LocalStorage(moved / "val"), manifest).defects == ()
        assert describe(LocalStorage(moved / "val"), manifest).url == str(moved / "val")

    def test_another_place(self, foreign: Path, tmp_path: Path) -> None:
        adopted(foreign, output=str(tmp_path / "other" / "set"))
        assert not (foreign / "manifest.json").exists()
        assert len(samples(tmp_path / "other" / "set")) == 52
        assert open_set(str(tmp_path / "other" / "set")).url == str(tmp_path / "other" / "set")

    def test_a_set_that_is_there_is_not_lost(self, foreign: Path, scenes: Path) -> None:
        adopted(foreign)
        assert "holds the manifest.json of a set: choose another --output or --split, or --overwrite" in failure(
            foreign
        )
        assert adopted(foreign, "cls", overwrite=True).classes == ("0", "1", "2")
        assert "holds a set that was packed" in failure(foreign, output=f"{scenes}/train", overwrite=True)

    def test_packing_deletes_no_shard_of_somebody_else(self, foreign: Path, scenes_folder: Path) -> None:
        for path in foreign.glob("*.tar"):
            path.rename(path.with_name(f"0000{path.stem[-2:]}.tar"))
        adopted(foreign)
        request = PackRequest(source=scenes_folder, destination=str(foreign), split="val", overwrite=True)
        with pytest.raises(DataError, match="holds shards that somebody else wrote: choose another folder"):
            pack(request)
        assert len(samples(foreign)) == 52


def test_manifests_of_packed_sets_are_as_they_were(scenes: Path) -> None:
    document = json.loads((scenes / "train" / "manifest.json").read_text())
    assert list(document) == ["version", "classes", "shards", "places", "source"]
    assert list(document["shards"][0]) == ["key", "size_bytes", "sha256", "samples", "class_counts"]
