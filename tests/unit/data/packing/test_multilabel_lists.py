"""Tables of images with several labels: both forms, and what they refuse."""

from pathlib import Path

import pytest
from PIL import Image

from scenerec.data.packing.layouts import read_raw_set
from scenerec.data.packing.raw_set import RawSet
from scenerec.errors import DataError

COLOURS = ("red", "green", "blue", "grey")


def write(folder: Path, table: str, name: str = "labels.csv") -> Path:
    for colour in COLOURS:
        Image.new("RGB", (16, 16), colour).save(folder / f"{colour}.png")
    (folder / name).write_text(table)
    return folder


def labels(raw: RawSet) -> dict[str, dict[str, tuple[str, ...] | None]]:
    return {split: {image.path: image.labels for image in images} for split, images in raw.splits.items()}


FORMS = {
    "one column": "path,labels,split\nred.png,sea;sky,train\ngreen.png,,train\nblue.png,sky; sea ;sky,val\n",
    "other words": "Image\ttags\tsplit\nred.png\tsea|sky\ttrain\ngreen.png\t\ttrain\nblue.png\tsky|sea\tval\n",
    "a column a class": "filename,sky,split,sea\nred.png,1,train,1\ngreen.png,0,train,\nblue.png,true,val,1.0\n",
}


@pytest.mark.parametrize("table", FORMS.values(), ids=list(FORMS))
def test_both_forms_say_the_same(tmp_path: Path, table: str) -> None:
    raw = read_raw_set(write(tmp_path, table))
    assert (raw.layout, raw.is_multilabel, raw.classes) == ("csv", True, ("sea", "sky"))
    assert labels(raw) == {
        "train": {"red.png": ("sea", "sky"), "green.png": ()},
        "val": {"blue.png": ("sea", "sky")},
    }


def test_the_columns_keep_their_names_as_they_are_written_and_classes_without_an_image(tmp_path: Path) -> None:
    raw = read_raw_set(write(tmp_path, "path,Far Horizon,Ice\nred.png,1,0\ngreen.png,0,0\n"))
    assert raw.classes == ("Far Horizon", "Ice")
    assert labels(raw) == {"train": {"red.png": ("Far Horizon",), "green.png": ()}}


def test_a_rare_class_may_be_empty_for_long(tmp_path: Path) -> None:
    raw = read_raw_set(write(tmp_path, "path,sea,ice\n" + "red.png,1,\n" * 80 + "blue.png,1,1\n"))
    assert labels(raw)["train"]["blue.png"] == ("ice", "sea")


def test_each_split_may_have_a_list_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "path,labels\nred.png,sea\n", "train.csv")
    raw = read_raw_set(write(tmp_path, "path,sea,sky\nblue.png,1,1\n", "val.csv"))
    assert labels(raw) == {"train": {"red.png": ("sea",)}, "val": {"blue.png": ("sea", "sky")}}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("path,labels\nred.png,\n", "no image has a label"),
        ("path,labels\n,sea\n", "path is empty"),
        ("path,sea,sky\n" + "red.png,1,0\n" * 60 + "blue.png,2,0\n", "line 62: sea is `2`: write 1"),
        ("path,sea,sky\nred.png,0.7,1\n", r"nor columns of 0 and 1 alone: sea has `0\.7`"),
        ("path,id,sea\nred.png,7,1\n", "alone: id has `7`"),
        ("path,sea,sky\nred.png,1,\n", "alone: sky has nothing"),
        ("path,sea\nred.png,1\n", "name path and label"),
        (
            'path,labels\nred.png,\nblue.png,"sea,sky"\n',
            "line 3: labels `sea,sky` have a comma: write them apart by `;`",
        ),
    ],
)
def test_what_is_no_such_list_is_refused(tmp_path: Path, table: str, problem: str) -> None:
    folder = write(tmp_path, table, "list.csv")
    with pytest.raises(DataError, match=problem):
        read_raw_set(folder / "list.csv")


def test_a_table_with_one_label_stays_what_it_was(tmp_path: Path) -> None:
    raw = read_raw_set(write(tmp_path, "path,label,labels\nred.png,sea;sky,other\n"))
    assert not raw.is_multilabel
    assert raw.classes == ("sea;sky",)
    assert raw.remarks == (
        "classes with `;` in their names (sea;sky): for several labels an image call the column labels",
    )


def test_a_label_may_have_a_comma_where_cells_end_as_lists_do(tmp_path: Path) -> None:
    raw = read_raw_set(write(tmp_path, 'path,labels\nred.png,"sea, wide;"\nblue.png,"sea, wide"\n'))
    assert raw.classes == ("sea, wide",)


@pytest.mark.parametrize(
    "table",
    ["path,width,height\nsea/blue.png,16,16\n", "path,note,by\nsea/blue.png,,\n", "path,a,b\nsea/blue.png,1,0,more\n"],
    ids=["numbers", "empty", "malformed"],
)
def test_a_table_of_other_things_makes_no_list_of_a_folder(tmp_path: Path, table: str) -> None:
    (tmp_path / "sea").mkdir()
    Image.new("RGB", (16, 16), "blue").save(tmp_path / "sea" / "blue.png")
    (tmp_path / "sizes.csv").write_text(table)
    assert read_raw_set(tmp_path).layout == "imagefolder"


def test_an_image_in_several_rows_has_the_labels_of_all(tmp_path: Path) -> None:
    table = "path,labels,split\nred.png,sea,train\nblue.png,sky,val\nred.png,sky;sea,train\n"
    raw = read_raw_set(write(tmp_path, table))
    assert labels(raw) == {"train": {"red.png": ("sea", "sky")}, "val": {"blue.png": ("sky",)}}
    assert len(raw.splits["train"]) == 1
    raw = read_raw_set(write(tmp_path, table + "./red.png,night,train\n"))
    assert labels(raw)["train"] == {"red.png": ("night", "sea", "sky")}
