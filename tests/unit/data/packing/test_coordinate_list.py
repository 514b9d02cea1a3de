"""Coordinates beside the images of a set: from a table, or from EXIF."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scenerec.data.coordinates import Coordinates
from scenerec.data.manifest import read_manifest
from scenerec.data.packing.add import Addition, AddRequest
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.coordinate_list import locate
from scenerec.data.packing.layouts import read_raw_set
from scenerec.data.packing.pack import PackOptions, PackRequest, pack
from scenerec.data.packing.raw_set import RawSet
from scenerec.data.shard import Sample, read_shard
from scenerec.errors import DataError
from scenerec.storage import LocalStorage
from tests.unit.data.conftest import photograph

Encode = Callable[..., bytes]
WriteTree = Callable[[Mapping[str, bytes | str]], Path]
HEADER = "file,latitude,longitude,time\n"


@pytest.fixture
def source(encode: Encode, write_tree: WriteTree) -> Path:
    names = ["train/sea/1.jpg", "train/sea/2.jpg", "train/city/1.jpg", "val/sea/3.jpg", "val/city/4.jpg"]
    return write_tree({name: encode(seed) for seed, name in enumerate(names)})


def table(source: Path, rows: str, header: str = HEADER) -> Path:
    path = source.parent / "table.csv"
    path.write_text(header + rows)
    return path


def located(raw: RawSet) -> dict[str, Coordinates]:
    images = (image for images in raw.splits.values() for image in images)
    return {image.path: image.coordinates for image in images if image.coordinates}


def failure(source: Path, rows: str, header: str = HEADER) -> str:
    with pytest.raises(DataError) as caught:
        locate(read_raw_set(source), table(source, rows, header))
    message = str(caught.value)
    assert "\n" not in message and not re.search(r"151\.2|33\.8|95\.5", message)
    return message.replace(str(source.parent), "")


def samples(folder: Path) -> list[Sample]:
    manifest = read_manifest(LocalStorage(folder))
    return [
        sample
        for shard in manifest.shards
        for sample in read_shard((folder / shard.key).read_bytes(), shard, manifest.labelling, shard.key)
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_name_images_by_their_path_or_its_end(source: Path, separator: str) -> None:
    rows = (
        "train/sea/1.jpg,-33.86,151.21,2023-07-02T12:00\n./sea/2.jpg,1,2,\ncity\\1.jpg,3,4\n"
        "3,5,6,2024-01-01\nval/city/4.jpg,,,\n"
    )
    written = (HEADER + rows).replace(",", separator)
    raw = locate(read_raw_set(source), table(source, written, header=""))
    assert located(raw) == {
        "train/sea/1.jpg": Coordinates(-33.86, 151.21, 0.5),
        "train/sea/2.jpg": Coordinates(1, 2),
        "train/city/1.jpg": Coordinates(3, 4),
        "val/sea/3.jpg": Coordinates(5, 6, 0),
    }
    assert raw.remarks == ("coordinates of 4 of 5 images, from table.csv",)


def test_columns_go_by_other_names_and_in_any_order(source: Path) -> None:
    raw = locate(read_raw_set(source), table(source, "2,2.jpg,1\n", header="Lng,Filename,LAT\n"))
    assert located(raw) == {"train/sea/2.jpg": Coordinates(1, 2)}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("3.jpg,95.5,120\n", "line 2: latitude is not between -90 and 90 degrees: correct it"),
        (
            "3.jpg,1,2\n2.jpg,1,2\n4.jpg,151.2,-33.8\n",
            "line 4: latitude is not between -90 and 90 degrees: are latitude and longitude swapped?",
        ),
        (
            "3.jpg,151.2,-33.8\n2.jpg,1,2\n4.jpg,151.2,-33.8\n",
            "table.csv: latitude and longitude are swapped: 2 of 3 rows",
        ),
        ("3.jpg,1,-180.5\n", "line 2: longitude is not between -180 and 180 degrees"),
        ("3.jpg,south,2\n", "line 2: latitude is not a number of degrees"),
        ("3.jpg,inf,2\n", "line 2: latitude is not a number of degrees"),
        ("3.jpg,1,\n", "line 2: latitude and longitude come together or not at all"),
        ("3.jpg,,,2024-06-21\n", "line 2: time is given without latitude and longitude"),
        ("3.jpg,1,2,21.6.2024\n", "line 2: time is not an ISO date such as 2024-06-21"),
        (",1,2\n", "line 2: file is empty"),
        ("3.jpg,1,2\n4.jpg,1,2\nsea/3.jpg,1,2\n", "line 4: val/sea/3.jpg stands twice, first in line 2"),
        ("1.jpg,1,2\n", "line 2: 1.jpg may be train/city/1.jpg, train/sea/1.jpg: write its whole path"),
        (
            "3.jpg,1,2\n7.jpg,1,2\nsky/3.jpg,1,2\n",
            "table.csv: not in /source: 7.jpg (line 3), sky/3.jpg (line 4): correct these rows, or remove them",
        ),
        ("3.jpg,,\n4.jpg,,,\n", "table.csv: has coordinates of none of the 5 images in /source"),
        ("", "table.csv: has coordinates of none of the 5 images in /source"),
    ],
)
def test_impossible_rows_are_told_by_line_and_not_by_value(source: Path, rows: str, expected: str) -> None:
    assert expected in failure(source, rows)


def test_a_table_without_the_columns_and_one_beside_a_list_that_has_them(source: Path, encode: Encode) -> None:
    assert "no column `latitude`: the first line must name file and latitude" in failure(source, "1,2\n", "file,x\n")
    (source / "set.csv").write_text("path,label,latitude,longitude\ntrain/sea/1.jpg,sea,1,2\n")
    with pytest.raises(DataError, match="the list of images has coordinates itself: leave --coordinates out"):
        locate(read_raw_set(source / "set.csv"), table(source, "1.jpg,1,2\n"))


def test_zero_and_zero_are_told(source: Path) -> None:
    raw = locate(read_raw_set(source), table(source, "3.jpg,1,2\n4.jpg,0,0\n"))
    assert raw.remarks[1].startswith("warning: 1 image is at 0, 0, where programs put what they do not know")
    assert "line 3 of table.csv" in raw.remarks[1]


def test_rows_of_another_split_are_passed_over_where_one_is_packed(source: Path) -> None:
    rows = "train/sea/1.jpg,1,2\nval/sea/3.jpg,3,4\nelsewhere.jpg,5,6\n"
    raw = locate(read_raw_set(source, choices=Choices(split="train")), table(source, rows), strict=False)
    assert located(raw) == {"train/sea/1.jpg": Coordinates(1, 2)}
    assert raw.remarks[-1] == "2 rows of table.csv are of images that are not packed"


def test_they_are_packed_and_added_and_are_part_of_what_a_set_is(source: Path, encode: Encode, tmp_path: Path) -> None:
    rows = "train/sea/1.jpg,-33.86,151.21\ntrain/city/1.jpg,1,2,2023-07-02T12:00\nval/sea/3.jpg,3,4\n"

    def packed(name: str, rows: str) -> PackRequest:
        options = PackOptions(shard_mb=0.01)
        path = table(source, rows) if rows else None
        return PackRequest(source=source, destination=str(tmp_path / name), coordinates=path, options=options)

    train, val = pack(packed("set", rows)).splits
    assert (train.samples, train.coordinates, val.coordinates) == (3, 2, 1)
    assert sorted(filter(None, (sample.coordinates for sample in samples(tmp_path / "set/train")))) == [
        Coordinates(-33.86, 151.21),
        Coordinates(1, 2, 0.5),
    ]
    assert pack(packed("set", rows)).splits[0].complete_before
    with pytest.raises(DataError, match="holds another packed data set, or this one with other options"):
        pack(packed("set", rows.replace("151.21", "151.22")))
    pack(packed("without", ""))
    manifests = [read_manifest(LocalStorage(tmp_path / name / "train")) for name in ("set", "without")]
    assert manifests[0].fingerprint != manifests[1].fingerprint
    assert [manifest.coordinates for manifest in manifests] == [2, 0]
    assert '"coordinates"' not in (tmp_path / "without" / "train" / "manifest.json").read_text()

    more = source.parent / "more"
    (more / "sea").mkdir(parents=True)
    (more / "sea" / "5.jpg").write_bytes(encode(5))
    more_rows = source.parent / "more.csv"
    more_rows.write_text("key,lat,lon\n5,7,8\n")
    request = AddRequest(source=more, destination=str(tmp_path / "set" / "train"), coordinates=more_rows)
    (added,) = Addition(request).pack()
    assert (added.added, added.coordinates) == (1, 1)
    assert read_manifest(LocalStorage(tmp_path / "set" / "train")).coordinates == 3
    assert Coordinates(7, 8) in [sample.coordinates for sample in samples(tmp_path / "set/train")]


class TestExif:
    @pytest.fixture
    def photos(self, encode: Encode, write_tree: WriteTree) -> Path:
        return write_tree(
            {
                "sea/1.jpg": photograph((33, 51, 36), (151, 12, 36), "S", "E", "2023:07:02 12:00:00", seed=1),
                "sea/2.jpg": photograph((133, 51, 36), (151, 12, 36), "S", "E", seed=2),
                "city/3.jpg": encode(3),
            }
        )

    def request(self, photos: Path, tmp_path: Path, coordinates: Path | None = None) -> PackRequest:
        options = PackOptions(coordinates_from_exif=True)
        destination = str(tmp_path / "packed")
        return PackRequest(source=photos, destination=destination, coordinates=coordinates, options=options)

    def test_they_are_taken_and_the_exif_is_taken_out(self, photos: Path, tmp_path: Path) -> None:
        (result,) = pack(self.request(photos, tmp_path)).splits
        assert (result.samples, result.coordinates, result.stripped) == (3, 1, 2)
        assert result.problems == {"coordinates": 1}
        listed = (tmp_path / "packed" / "problems.jsonl").read_text()
        assert "sea/2.jpg" in listed and "EXIF: latitude is not between -90 and 90 degrees" in listed
        assert "133" not in listed and "151" not in listed
        (found,) = filter(None, (sample.coordinates for sample in samples(tmp_path / "packed")))
        assert found == Coordinates(pytest.approx(-33.86), pytest.approx(151.21), 0.5)
        assert not any(b"Exif" in sample.image for sample in samples(tmp_path / "packed"))

    def test_a_table_goes_before(self, photos: Path, tmp_path: Path) -> None:
        pack(self.request(photos, tmp_path, table(photos, "1.jpg,1,2\n3.jpg,3,4\n")))
        found = sorted(filter(None, (sample.coordinates for sample in samples(tmp_path / "packed"))))
        assert found == [Coordinates(1, 2), Coordinates(3, 4)]

    def test_a_set_in_which_no_photograph_has_any_is_refused(self, photos: Path, tmp_path: Path) -> None:
        (photos / "sea" / "1.jpg").unlink()
        with pytest.raises(DataError, match="none of the 2 images has a place in its EXIF"):
            pack(self.request(photos, tmp_path))
        assert not (tmp_path / "packed" / "000000.tar").exists()
