"""A folder without validation images, divided by a table."""

from pathlib import Path

import pytest
from PIL import Image

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("hut", "sea"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 20), (number, 9, ord(name[0]))).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def request(folder: Path, table: str) -> PackRequest:
    file = folder.parent / "division.csv"
    file.write_text(table)
    return PackRequest(source=folder, destination=str(folder.parent / "packed"), division=file)


ROWS = [f"{name}/{number}.png,{'val' if number == 3 else 'train'}" for name in ("hut", "sea") for number in range(4)]


def test_images_go_to_the_split_that_the_table_says(folder: Path) -> None:
    result = pack(request(folder, "\n".join(["path,split", *ROWS, "sea/gone.png,val"])))
    assert [(each.split, each.samples) for each in result.splits] == [("train", 6), ("val", 2)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[1:], "hut/0.png is in neither split: add a line for it"),
        ([*ROWS, "hut/3.png,train"], "hut/3.png stands in both splits"),
        ([*ROWS, "hut/3.png,test"], "split `test`: write train or val"),
        ([row.replace("val", "train") for row in ROWS], "class `hut` has no image in val: move one there"),
    ],
)
def test_a_table_that_leaves_something_open_is_refused(folder: Path, rows: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        pack(request(folder, "\n".join(["path,split", *rows])))


def test_a_set_with_validation_images_needs_no_table(folder: Path) -> None:
    for split in ("train", "val"):
        (folder.parent / "both" / split).mkdir(parents=True)
        for name in ("hut", "sea"):
            (folder / name).rename(folder.parent / "both" / split / name) if split == "train" else None
    for name in ("hut", "sea"):
        (folder.parent / "both/val" / name).mkdir()
        Image.new("RGB", (20, 20), (99, 9, ord(name[0]))).save(folder.parent / "both/val" / name / "9.png")
    asked = request(folder, "\n".join(["path,split", *ROWS])).model_copy(update={"source": folder.parent / "both"})
    with pytest.raises(DataError, match="has images for validation already"):
        pack(asked)
