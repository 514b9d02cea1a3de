from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from scenerec.data.coordinates import Coordinates
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.layouts import read_raw_set
from scenerec.data.packing.raw_set import RawImage, RawSet
from scenerec.errors import DataError

WriteTree = Callable[[Mapping[str, bytes | str]], Path]


def failure(source: Path, layout: str = "auto", **choices: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_raw_set(source, layout, Choices(**choices))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def paths(source: RawSet, split: str) -> list[tuple[str, str]]:
    return [(image.path, image.class_name) for image in source.splits[split]]


class TestImageFolder:
    def test_splits_of_class_folders(self, write_tree: WriteTree) -> None:
        root = write_tree(
            {
                "train/sea/b.jpg": "x",
                "train/sea/a.png": "x",
                "train/city/c.jpg": "x",
                "val/sea/d.jpg": "x",
                "val/city/e.jpg": "x",
            }
        )
        source = read_raw_set(root)
        assert source.layout == "imagefolder"
        assert source.classes == ("city", "sea")
        assert paths(source, "train") == [
            ("train/city/c.jpg", "city"),
            ("train/sea/a.png", "sea"),
            ("train/sea/b.jpg", "sea"),
        ]
        assert paths(source, "val") == [("val/city/e.jpg", "city"), ("val/sea/d.jpg", "sea")]

    def test_without_split_folders_all_is_train(self, write_tree: WriteTree) -> None:
        source = read_raw_set(write_tree({"sea/b.jpg": "x", "city/c.jpg": "x"}))
        assert list(source.splits) == ["train"]
        assert paths(source, "train") == [("city/c.jpg", "city"), ("sea/b.jpg", "sea")]

    def test_nested_classes_keep_their_slashes(self, write_tree: WriteTree) -> None:
        source = read_raw_set(write_tree({"market/indoor/1.jpg": "x", "market/outdoor/1.jpg": "x", "sea/1.jpg": "x"}))
        assert source.classes == ("market/indoor", "market/outdoor", "sea")

    def test_the_alphabetical_folder_is_dropped(self, write_tree: WriteTree) -> None:
        files = {"train/a/abbey/1.jpg": "x", "train/a/apartment_building/outdoor/1.jpg": "x", "train/s/sea/1.jpg": "x"}
        assert read_raw_set(write_tree(files)).classes == ("abbey", "apartment_building/outdoor", "sea")

    def test_one_letter_classes_are_not_mistaken_for_it(self, write_tree: WriteTree) -> None:
        root = write_tree({"a/abbey/1.jpg": "x", "b/1.jpg": "x"})
        assert read_raw_set(root, choices=Choices(nested="path")).classes == ("a/abbey", "b")

    def test_hidden_files_are_ignored_and_strays_are_listed(self, write_tree: WriteTree) -> None:
        files = {"train/sea/1.jpg": "x", "train/sea/.DS_Store": "x", "train/.cache/x.jpg": "x", "train/loose.jpg": "x"}
        source = read_raw_set(write_tree(files))
        assert paths(source, "train") == [("train/sea/1.jpg", "sea")]
        assert [(problem.kind, problem.path) for problem in source.problems["train"]] == [("stray", "train/loose.jpg")]

    def test_one_split_has_the_classes_of_all(self, write_tree: WriteTree) -> None:
        root = write_tree({"train/city/1.jpg": "x", "train/sea/1.jpg": "x", "val/sea/1.jpg": "x"})
        assert read_raw_set(root, choices=Choices(split="train")).classes == ("city", "sea")
        assert "class `city` has no image in val" in failure(root, split="val")

    def test_an_empty_class_is_named(self, write_tree: WriteTree) -> None:
        root = write_tree({"train/sea/1.jpg": "x"})
        (root / "train" / "lake").mkdir()
        assert "class `lake` has no image in train" in failure(root)

    def test_a_class_may_be_called_train(self, write_tree: WriteTree) -> None:
        assert read_raw_set(write_tree({"train/1.jpg": "x", "bus/1.jpg": "x"})).classes == ("bus", "train")

    def test_a_folder_beside_the_splits(self, write_tree: WriteTree) -> None:
        root = write_tree({"train/sea/1.jpg": "x", "val/sea/1.jpg": "x", "notes/1.txt": "x"})
        assert read_raw_set(root).remarks == ("left out: notes/, named after no split",)
        write_tree({"extra/sea/2.jpg": "x"})
        message = failure(root)
        assert "extra/ beside train/, val/ is named after no split: say --splits train=train,val=val" in message
        chosen = read_raw_set(root, choices=Choices(splits={"train": "extra", "val": "val"}))
        assert paths(chosen, "train") == [("extra/sea/2.jpg", "sea")]

    def test_a_split_that_is_not_there(self, write_tree: WriteTree) -> None:
        assert "there is no split `test`" in failure(write_tree({"train/sea/1.jpg": "x"}), split="test")


class TestPlaces365:
    def devkit(self, write_tree: WriteTree, **changes: str) -> Path:
        files = {
            "categories_places365.txt": "/a/airfield 0\n/a/apartment_building/outdoor 1\n",
            "places365_train_standard.txt": "/a/airfield/00000001.jpg 0\n"
            "/a/apartment_building/outdoor/00000001.jpg 1\n",
            "places365_val.txt": "Places365_val_00000001.jpg 1\nPlaces365_val_00000002.jpg 0\n",
            "data_256/a/airfield/00000001.jpg": "x",
            "data_256/a/apartment_building/outdoor/00000001.jpg": "x",
            "val_256/Places365_val_00000001.jpg": "x",
        }
        return write_tree(files | {name.replace("__", "."): text for name, text in changes.items()})

    def test_lists_and_image_folders(self, write_tree: WriteTree) -> None:
        source = read_raw_set(self.devkit(write_tree))
        assert source.layout == "places365"
        assert source.classes == ("airfield", "apartment_building/outdoor")
        assert paths(source, "train")[1] == (
            "data_256/a/apartment_building/outdoor/00000001.jpg",
            "apartment_building/outdoor",
        )
        assert paths(source, "val") == [
            ("val_256/Places365_val_00000001.jpg", "apartment_building/outdoor"),
            ("val_256/Places365_val_00000002.jpg", "airfield"),  # listed, though missing: packing reports it
        ]

    def test_large_images_go_before_small_ones(self, write_tree: WriteTree) -> None:
        root = self.devkit(write_tree)
        write_tree(
            {"data_large/a/airfield/00000001.jpg": "x", "data_large/a/apartment_building/outdoor/00000001.jpg": "x"}
        )
        assert paths(read_raw_set(root), "train")[0][0] == "data_large/a/airfield/00000001.jpg"

    def test_one_split_needs_no_images_of_the_other(self, write_tree: WriteTree) -> None:
        root = self.devkit(write_tree)
        (root / "val_256").rename(root.parent / "gone")
        assert list(read_raw_set(root, choices=Choices(split="train")).splits) == ["train"]
        assert "unpack the images of val there" in failure(root)

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            (
                "places365_val__txt",
                "Places365_val_00000001.jpg 2\n",
                "places365_val.txt, line 1: label 2 is out of range, there are 2",
            ),
            ("places365_val__txt", "Places365_val_00000001.jpg\n", "places365_val.txt, line 1: expected 2 fields"),
            ("places365_val__txt", "Places365_val_00000001.jpg -1\n", "line 1: label '-1' is not a class index"),
            ("places365_val__txt", "Places365_val_00000001.jpg 1\n", "class `airfield` has no image in val"),
            ("categories_places365__txt", "/a/airfield 0\n/b/beach 2\n", "the class indices are not 0 to 1, each once"),
        ],
    )
    def test_malformed_lists(self, write_tree: WriteTree, name: str, text: str, expected: str) -> None:
        assert expected in failure(self.devkit(write_tree, **{name: text}))


class TestSun397:
    def tree(self, write_tree: WriteTree, folder: str = "", **changes: str) -> Path:
        files = {
            f"{folder}ClassName.txt": "/a/abbey\n/a/apse/indoor\n",
            f"{folder}Training_01.txt": "/a/abbey/sun_1.jpg\n/a/apse/indoor/sun_3.jpg\n",
            f"{folder}Testing_01.txt": "/a/abbey/sun_2.jpg\n/a/apse/indoor/sun_4.jpg\n",
            f"{folder}Training_02.txt": "/a/abbey/sun_2.jpg\n/a/apse/indoor/sun_4.jpg\n",
            f"{folder}Testing_02.txt": "/a/abbey/sun_1.jpg\n/a/apse/indoor/sun_3.jpg\n",
        }
        images = {f"SUN397/a/abbey/sun_{n}.jpg": "x" for n in (1, 2)} | {
            f"SUN397/a/apse/indoor/sun_{n}.jpg": "x" for n in (3, 4)
        }
        return write_tree(files | images | {name.replace("__", "."): text for name, text in changes.items()})

    @pytest.mark.parametrize("folder", ["", "Partitions/"])
    def test_partitions(self, write_tree: WriteTree, folder: str) -> None:
        root = self.tree(write_tree, folder)
        source = read_raw_set(root)
        assert (source.layout, source.classes) == ("sun397", ("abbey", "apse/indoor"))
        assert paths(source, "train") == [
            ("SUN397/a/abbey/sun_1.jpg", "abbey"),
            ("SUN397/a/apse/indoor/sun_3.jpg", "apse/indoor"),
        ]
        assert read_raw_set(root, choices=Choices(partition=2)).splits["train"] == source.splits["val"]

    def test_a_partition_that_is_missing(self, write_tree: WriteTree) -> None:
        assert "no partition 7: Training_07.txt is missing; there: 01, 02" in failure(
            self.tree(write_tree), partition=7
        )

    def test_an_unknown_class(self, write_tree: WriteTree) -> None:
        root = self.tree(write_tree, Testing_01__txt="/a/abbey/sun_2.jpg\n/z/zoo/sun_4.jpg\n")
        assert "Testing_01.txt, line 2: class `z/zoo` is not in ClassName.txt" in failure(root)


class TestCsv:
    def test_all_columns(self, write_tree: WriteTree) -> None:
        root = write_tree(
            {
                "set.csv": "path,label,latitude,longitude,split\n"
                "img/1.jpg,sea,-33.8,151.2,val\n"
                "img/2.jpg,market/indoor,,,train\n"
                "img/3.jpg,sea,,,train\n"
                "img/4.jpg,market/indoor,1,2,val\n"
            }
        )
        source = read_raw_set(root / "set.csv")
        assert (source.layout, source.classes, source.root) == ("csv", ("market/indoor", "sea"), root)
        assert source.splits["val"][0] == RawImage("img/1.jpg", "sea", Coordinates(-33.8, 151.2))
        assert source.splits["train"][0] == RawImage("img/2.jpg", "market/indoor")
        assert read_raw_set(root) == source  # the folder, where it is the only such file

    def test_coordinates_go_by_other_names_too_and_a_time_alone_is_none(self, write_tree: WriteTree) -> None:
        root = write_tree({"set.csv": "path,label,Lat,LON,time\n1.jpg,sea,1,2,2023-07-02T12:00\n"})
        assert read_raw_set(root).splits == {"train": (RawImage("1.jpg", "sea", Coordinates(1, 2, 0.5)),)}
        root = write_tree({"set.csv": "path,label,time\n1.jpg,sea,14:30\n"})
        assert read_raw_set(root).splits == {"train": (RawImage("1.jpg", "sea"),)}

    @pytest.mark.parametrize(
        "headings", ["image,label", "IMG,Class", "filename,category", "file,label", "id,label", "id,class,Path"]
    )
    def test_columns_go_by_other_names(self, write_tree: WriteTree, headings: str) -> None:
        """As in the lists of Kaggle. A column's own name goes before the others."""
        row = "7,sea,1.jpg" if "Path" in headings else "1.jpg,sea"
        root = write_tree({"labels.csv": f"{headings}\n{row}\n"})
        assert read_raw_set(root).splits == {"train": (RawImage("1.jpg", "sea"),)}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("picture,label\n1.jpg,sea\n", "no column `path`: the first line must name path and label"),
            ("path,label\n", "no rows"),
            ("path,label\n1.jpg,\n", "line 2: label is empty"),
            ("path,label\n1.jpg\n", "line 2: label is empty"),
            ("path,label,split\n1.jpg,sea,rest\n", "line 2: unknown split `rest`: use train, val, test"),
            ("path,label,latitude,longitude\n1.jpg,sea,north,1\n", "line 2: latitude is not a number of degrees"),
            (
                "path,label,latitude,longitude\n1.jpg,sea,91,100\n",
                "line 2: latitude is not between -90 and 90 degrees: correct it",
            ),
            ("path,label,latitude,longitude\n1.jpg,sea,nan,1\n", "line 2: latitude is not a number of degrees"),
            ("path,label,latitude,longitude\n1.jpg,sea,1,\n", "line 2: latitude and longitude come together"),
            ("path,label\n1.jpg,\xe9\n".encode("latin-1"), "not UTF-8"),
        ],
    )
    def test_malformed_files(self, write_tree: WriteTree, text: str, expected: str) -> None:
        assert expected in failure(write_tree({"set.csv": text}) / "set.csv")


@pytest.mark.parametrize("files", [{}, {"readme.txt": "x"}, {"a.jpg": "x", "notes.csv": "a,b\n1,2\n"}])
def test_no_layout_fits(write_tree: WriteTree, files: dict[str, str]) -> None:
    assert "no known layout: expected CLASS/IMAGE" in failure(write_tree(files))


def test_sources_that_are_not_there_or_no_data_set(tmp_path: Path) -> None:
    assert "no such file or folder" in failure(tmp_path / "missing")
    (tmp_path / "a.zip").write_bytes(b"x")
    assert "not a data set: give a folder, or a CSV file" in failure(tmp_path / "a.zip")


def test_an_unknown_layout_and_one_that_does_not_fit(write_tree: WriteTree) -> None:
    root = write_tree({"sea/1.jpg": "x"})
    assert "there is no `coco`: choose auto, imagefolder, places365, sun397, csv" in failure(root, layout="coco")
    assert "categories_places365.txt" in failure(root, layout="places365")
    assert "ClassName.txt" in failure(root, layout="sun397")
    assert "no CSV file" in failure(root, layout="csv")
