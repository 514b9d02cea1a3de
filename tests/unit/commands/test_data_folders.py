"""`scenerec data pack` on folders and lists as people have them."""

import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app

MakeTree = Callable[..., Path]


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))


@pytest.fixture
def tree(tmp_path: Path) -> MakeTree:
    """Makes a folder of files: pictures, each another one, but where a content is given."""

    def make(*pictures: str, **contents: bytes) -> Path:
        return make_files(dict.fromkeys(pictures, b"") | contents)

    def make_files(files: Mapping[str, bytes]) -> Path:
        root = tmp_path / "photos"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content or picture(str(path)))
        return root

    return make


def picture(name: str) -> bytes:
    buffer = io.BytesIO()
    red, green, blue, *_ = os.urandom(3)
    Image.new("RGB", (8 + len(name) % 9, 8), (red, green, blue)).save(buffer, "PNG")
    return buffer.getvalue() + os.urandom(4)


def pack(source: Path, *options: str) -> Result:
    folder = source if source.is_dir() else source.parent
    destination = str(folder.parent / "packed")
    return CliRunner().invoke(app, ["data", "pack", str(source), destination, "--processes", "1", *options])


def packed(source: Path, *options: str) -> dict[str, dict[str, int]]:
    """Of each split the images of each class."""
    done = pack(source, *options, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    counts = {}
    for split in json.loads(done.stdout.splitlines()[-1])["splits"]:
        manifest = json.loads((Path(split["url"]) / "manifest.json").read_text())
        found = dict.fromkeys(manifest["classes"], 0)
        for shard in manifest["shards"]:
            for index, count in shard["class_counts"].items():
                found[manifest["classes"][int(index)]] += count
        counts[split["split"]] = found
    return counts


def refusal(source: Path, *options: str) -> str:
    done = pack(source, *options)
    assert done.exit_code == 4, (done.output, done.exception)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert not (source.parent / "packed").exists()
    return line


def both(train: str, val: str) -> tuple[str, ...]:
    return tuple(f"{root}/{name}/{index}.png" for root in (train, val) for name in ("sea", "wood") for index in (1, 2))


TWO_SPLITS = {"train": {"sea": 2, "wood": 2}, "val": {"sea": 2, "wood": 2}}


class TestSplits:
    @pytest.mark.parametrize(
        ("train", "val"),
        [
            ("Train", "Validation"),
            ("training_set", "DEV"),
            ("seg_train/seg_train", "seg_val/seg_val"),
            ("train/images", "valid/images"),
            ("data/train", "data/val"),
            ("places/data/Train Data", "places/data/Val Data"),
            ("city_train", "city_eval"),
            ("v1/train/train_v1", "v1/val/val_v1"),
        ],
    )
    def test_any_case_spelling_and_wrapping(self, tree: MakeTree, train: str, val: str) -> None:
        assert packed(tree(*both(train, val))) == TWO_SPLITS

    def test_splits_within_classes(self, tree: MakeTree) -> None:
        root = tree(
            *(f"{name}/{split}/{i}.png" for name in ("sea", "wood") for split in ("train", "Val") for i in "12")
        )
        assert packed(root) == TWO_SPLITS

    def test_folders_without_pictures_are_no_classes(self, tree: MakeTree) -> None:
        root = tree("sea/1.png", "wood/2.png", "docs/how/readme.txt", "labels/1.xml")
        done = pack(root)
        assert [line for line in done.stderr.splitlines() if "left out" in line] == [
            "  left out: docs/how/, no picture in it",
            "  left out: labels/, no picture in it",
        ]
        assert packed(root) == {"train": {"sea": 1, "wood": 1}}
        assert [problem[:2] for problem in problems(root)] == [
            ("stray", "docs/how/readme.txt"),
            ("stray", "labels/1.xml"),
        ]

    def test_what_was_understood_is_said_before_packing(self, tree: MakeTree) -> None:
        root = tree(*both("seg_train/seg_train", "seg_test"), "seg_pred/seg_pred/1.png", "sub/readme.txt")
        done = pack(root)
        assert done.stderr.splitlines() == [
            f"{root}: imagefolder, 2 classes: sea, wood",
            "  train, from seg_train/seg_train: 4 images: sea 2, wood 2",
            "  test, from seg_test: 4 images: sea 2, wood 2",
            "  left out: seg_pred/, named after no split",
            "  left out: sub/, named after no split",
        ]

    def test_a_person_may_decide(self, tree: MakeTree) -> None:
        root = tree(*both("seg_train", "seg_test"), "extra/sea/1.png")
        assert (
            "extra/ beside seg_train/, seg_test/ is named after no split: say --splits train=seg_train,test=seg_test"
            in (refusal(root))
        )
        assert packed(root, "--splits", "train=seg_train,val=seg_test") == TWO_SPLITS

    def test_none_says_that_folders_are_classes(self, tree: MakeTree) -> None:
        root = tree("train/1.png", "test/2.png")
        assert "no folder of a class in train/, test/" in refusal(root)
        assert packed(root, "--splits", "none") == {"train": {"test": 1, "train": 1}}
        assert packed(tree("bus/1.png"), "--splits", "none", "--overwrite") == {
            "train": {"bus": 1, "test": 1, "train": 1}
        }

    @pytest.mark.parametrize("folders", [("images", "labels"), ("train/images", "train/masks"), ("JPEGImages",)])
    def test_what_any_data_set_holds_is_no_class(self, tree: MakeTree, folders: tuple[str, ...]) -> None:
        assert "no folder of a class in " in refusal(tree(*(f"{folder}/1.png" for folder in folders)))

    def test_two_folders_of_one_split(self, tree: MakeTree) -> None:
        root = tree(*both("train", "val"), "Training/sea/1.png")
        assert "Training/ and train/ are both train: say --splits train=" in refusal(root)

    @pytest.mark.parametrize("splits", ["train", "pose=a", "train=", "train=a,train=b", "train=a,val=a", ""])
    def test_a_wrong_option_is_told(self, tree: MakeTree, splits: str) -> None:
        done = pack(tree(*both("train", "val")), "--splits", splits)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: --splits: ")

    def test_a_folder_that_is_not_there(self, tree: MakeTree) -> None:
        assert "--splits val=vall: there is no such folder in " in (
            refusal(tree(*both("train", "val")), "--splits", "train=train,val=vall")
        )


class TestNesting:
    ALBUMS = ("sea/2019/1.png", "sea/2020/2.png", "wood/2019/3.png", "wood/2020/4.png")

    def test_albums_are_refused_until_a_person_decides(self, tree: MakeTree) -> None:
        root = tree(*self.ALBUMS)
        assert refusal(root).endswith(
            "sea/2019/ lies in another folder: say which of them is the class: --nested path: sea/2019, sea/2020, "
            "wood/2019 and 1 more; --nested first: sea, wood; --nested last: 2019, 2020"
        )
        assert packed(root, "--nested", "first") == {"train": {"sea": 2, "wood": 2}}

    def test_folders_sixty_deep_are_told_in_few_words(self, tree: MakeTree) -> None:
        deep = "/".join(["pictures/photos"] * 30)
        told = refusal(root := tree(f"train/{deep}/1.png", f"val/{deep}/2.png"))
        assert told.count(" ... ") == 2 and len(told) < 400 + len(str(root)), told

    def test_classes_in_albums(self, tree: MakeTree) -> None:
        root = tree("2019/sea/1.png", "2019/wood/2.png", "2020/sea/3.png")
        assert packed(root, "--nested", "last") == {"train": {"sea": 2, "wood": 1}}

    def test_pictures_beside_albums(self, tree: MakeTree) -> None:
        root = tree("sea/1.png", "sea/holiday/2.png", "wood/3.png")
        assert "sea/holiday/ lies in another folder" in refusal(root)
        assert packed(root, "--nested", "path") == {"train": {"sea": 1, "sea/holiday": 1, "wood": 1}}

    def test_names_that_speak_for_themselves(self, tree: MakeTree) -> None:
        assert packed(tree("market/indoor/1.png", "market/outdoor/2.png", "sea/images/3.png", "wood/wood/4.png")) == {
            "train": {"market/indoor": 1, "market/outdoor": 1, "sea": 1, "wood": 1}
        }


class TestWhatIsSkipped:
    def test_what_programs_leave(self, tree: MakeTree) -> None:
        in_classes = ("@eaDir/1.png/SYNOPHOTO_THUMB_M.png", ".thumbnails/1.png", "Thumbs.db", "._1.png", ".DS_Store")
        beside = ("__MACOSX/train/sea/1.png", "$RECYCLE.BIN/1.png", "desktop.ini")
        root = tree(*both("train", "val"), *(f"train/sea/{name}" for name in in_classes), *beside)
        assert packed(root) == TWO_SPLITS
        assert pack(root).stderr.splitlines()[-1] == (
            "  skipped, as programs leave it behind: $RECYCLE.BIN (1), .DS_Store (1), ._* (1), .thumbnails (1), "
            "@eaDir (1), Thumbs.db (1), __MACOSX (1), desktop.ini (1)"
        )

    def test_pipes_and_loops_are_listed_and_not_followed(self, tree: MakeTree) -> None:
        root = tree("sea/1.png", "wood/1.png")
        os.mkfifo(root / "sea" / "pipe.png")
        os.mkfifo(root / "list.csv")
        (root / "sea" / "self.png").symlink_to(root / "sea" / "self.png")
        (root / "wood" / "all").symlink_to(root)
        assert packed(root) == {"train": {"sea": 1, "wood": 1}}
        assert problems(root) == [
            ("special", "list.csv", "a pipe, not a file"),
            ("special", "sea/pipe.png", "a pipe, not a file"),
            ("special", "sea/self.png", "a symbolic link that leads to itself"),
            ("special", "wood/all", "a symbolic link to a folder that it lies in"),
        ]

    def test_a_pipe_in_a_list(self, tree: MakeTree) -> None:
        root = tree("1.png", **{"set.csv": b"path,label\n1.png,sea\npipe.png,sea\n.,sea\n"})
        os.mkfifo(root / "pipe.png")
        assert packed(root / "set.csv") == {"train": {"sea": 1}}
        assert [problem[:2] for problem in problems(root)] == [("special", "pipe.png"), ("missing", ".")]

    @pytest.mark.parametrize("name", ["pipe", "pipe.csv"])
    def test_a_source_that_is_a_pipe(self, tree: MakeTree, name: str) -> None:
        root = tree("sea/1.png")
        os.mkfifo(root / name)
        assert "not a data set: give a folder, or a CSV file" in refusal(root / name)


class TestNames:
    def test_a_file_name_that_is_not_utf_8(self, tree: MakeTree) -> None:
        root = tree("sea/1.png", "wood/1.png")
        for name, content in ((b"caf\xe9.png", picture("café")), (b"bad\xe9.png", b"nothing")):
            (root / "sea" / os.fsdecode(name)).write_bytes(content)
        assert packed(root) == {"train": {"sea": 2, "wood": 1}}
        assert [problem[:2] for problem in problems(root)] == [("format", "sea/bad\\xe9.png")]

    def test_odd_file_names(self, tree: MakeTree) -> None:
        names = [" 1.png", "1.png ", "1\n2.png", "".join(map(chr, range(1, 32))) + ".png", f"{'x' * 251}.png", "-.png"]
        assert packed(tree(*(f"sea/{name}" for name in names), "wood/1.png")) == {"train": {"sea": 6, "wood": 1}}

    def test_a_class_name_that_is_not_utf_8(self, tree: MakeTree) -> None:
        root = tree("sea/1.png")
        (root / os.fsdecode(b"caf\xe9")).mkdir()
        (root / os.fsdecode(b"caf\xe9") / "1.png").write_bytes(picture("x"))
        assert refusal(root).endswith("class `caf\\xe9`: its name is not UTF-8 text: rename it")

    def test_a_terminal_that_cannot_show_a_name(self, tree: MakeTree) -> None:
        root = tree("東京/1.png")
        assert packed(root) == {"train": {"東京": 1}}
        command = [sys.executable, "-m", "scenerec", "data", "show", str(root.parent / "packed")]
        environment = os.environ | {
            "PYTHONIOENCODING": "latin-1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert shown.stdout.splitlines()[-1].startswith("  \\u6771\\u4eac        1  ###")

    def test_spaces_and_unicode_forms_are_one_name(self, tree: MakeTree) -> None:
        folders = ("train/caf\u00e9", "train/sea", "val/" + unicodedata.normalize("NFD", "café"), "val/sea ")
        assert packed(tree(*(f"{folder}/1.png" for folder in folders))) == {
            "train": {"café": 1, "sea": 1},
            "val": {"café": 1, "sea": 1},
        }

    def test_names_that_differ_in_case_only(self, tree: MakeTree) -> None:
        assert refusal(tree("train/Sea/1.png", "val/sea/1.png")).endswith(
            "classes `Sea` and `sea` differ in case only: give both one name"
        )


class TestLists:
    def test_labels_are_trimmed_and_of_one_form(self, tree: MakeTree) -> None:
        rows = 'Path, Label\n1.png,sea\n2.png, sea \n3.png,caf\u00e9\n4.png,cafe\u0301\n5.png,"sea"\n'
        root = tree(*(f"{index}.png" for index in range(1, 6)), **{"set.csv": ("\ufeff" + rows).encode()})
        assert packed(root / "set.csv") == {"train": {"café": 2, "sea": 3}}

    def test_paths_are_found_as_they_are_meant(self, tree: MakeTree) -> None:
        rows = 'path;label\n im/caf\u00e9.png;sea\nim\\2.png ;wood\n"im/a, b.png";sea\n;\n'
        root = tree("im/cafe\u0301.png", "im/2.png", "im/a, b.png", **{"set.csv": rows.encode()})
        assert packed(root / "set.csv") == {"train": {"sea": 2, "wood": 1}}

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ("1.png\0,sea", "line 2: has a NUL byte"),
            ("my, photo.png,sea", "line 2: has more fields than columns"),
            ('"1.png,sea', "unexpected end of data"),
            ("1.png, ", "line 2: label is empty"),
            ("1.png,s\x07ea", "class `s\\x07ea`: its name is not UTF-8 text"),
            ("1.png,Sea\n1.png,sea", "classes `Sea` and `sea` differ in case only"),
        ],
    )
    def test_rows_that_say_nothing_certain(self, tree: MakeTree, row: str, problem: str) -> None:
        root = tree("1.png", **{"set.csv": f"path,label\n{row}\n".encode()})
        assert problem in refusal(root)

    def test_a_list_of_each_split(self, tree: MakeTree) -> None:
        rows = b"path,label\nim/1.png,sea\nim/2.png,wood\n"
        others = b"path,label\nim/3.png,sea\nim/4.png,wood\n"
        pictures = [f"im/{index}.png" for index in (1, 2, 3, 4)]
        root = tree(*pictures, **{"Train.csv": rows, "validation.csv": others})
        assert packed(root) == {"train": {"sea": 1, "wood": 1}, "val": {"sea": 1, "wood": 1}}

    def test_several_lists_that_are_no_splits(self, tree: MakeTree) -> None:
        rows, others = b"path,label\nim/1.png,sea\n", b"path,label\nim/2.png,sea\n"
        root = tree("im/1.png", "im/2.png", **{"all.csv": rows, "more.csv": others})
        assert "has several lists of images (all.csv, more.csv): give the one that is meant, say which is which" in (
            refusal(root)
        )
        assert packed(root, "--splits", "train=all.csv,val=more.csv") == {"train": {"sea": 1}, "val": {"sea": 1}}

    @pytest.mark.parametrize("spelling", ["Validation", " val ", "DEV"])
    def test_splits_of_a_column(self, tree: MakeTree, spelling: str) -> None:
        rows = f"path,label,split\n1.png,sea,Train\n2.png,sea,{spelling}\n"
        root = tree("1.png", "2.png", **{"set.csv": rows.encode()})
        assert packed(root) == {"train": {"sea": 1}, "val": {"sea": 1}}

    def test_a_byte_order_mark_in_suns_list(self, tree: MakeTree) -> None:
        lists = {"ClassName.txt": b"\xef\xbb\xbf/a/abbey\r\n/b/bar\r\n"}
        lists |= {
            f"{kind}_01.txt": b"\xef\xbb\xbf/a/abbey/sun 1.png\r\n/b/bar/1.png\r\n" for kind in ("Training", "Testing")
        }
        root = tree("a/abbey/sun 1.png", "b/bar/1.png", **lists)
        assert packed(root, "--split", "train") == {"train": {"abbey": 1, "bar": 1}}

    def test_the_order_of_the_classes_may_be_given(self, tree: MakeTree, tmp_path: Path) -> None:
        root = tree("sea/1.png", "wood/1.png")
        (tmp_path / "labels.txt").write_text("/w/wood 0\n/s/sea 1\n")
        packed(root, "--classes", str(tmp_path / "labels.txt"))
        assert json.loads((tmp_path / "packed" / "manifest.json").read_text())["classes"] == ["wood", "sea"]
        (tmp_path / "labels.txt").write_text("wood\n")
        assert "class `sea` is not in --classes" in pack(root, "--classes", str(tmp_path / "labels.txt")).stderr


class TestTwoLabels:
    def test_a_warning_names_both_and_strict_refuses(self, tree: MakeTree) -> None:
        root = tree("sea/1.png", "sea/2.png", "wood/3.png")
        (root / "wood" / "4.png").write_bytes((root / "sea" / "1.png").read_bytes())
        told = "wood/4.png is wood here, and sea as sea/1.png"
        assert f"1 pictures stand under two labels, such as {told}" in refusal(root, "--strict")
        done = pack(root)
        assert done.exit_code == 0
        assert f"  warning: the same picture under two labels: {told}" in done.stderr.splitlines()
        assert [problem[:2] for problem in problems(root)] == [("duplicate", "wood/4.png"), ("conflict", "wood/4.png")]

    def test_in_two_splits(self, tree: MakeTree) -> None:
        root = tree(*both("train", "val"))
        (root / "val" / "wood" / "1.png").write_bytes((root / "train" / "sea" / "1.png").read_bytes())
        told = "val/wood/1.png is wood here, and sea as train/sea/1.png"
        assert told in refusal(root, "--strict")
        assert told in pack(root).stderr

    def test_a_row_twice_under_two_labels(self, tree: MakeTree) -> None:
        root = tree("1.png", "2.png", **{"set.csv": b"path,label\n1.png,sea\n2.png,wood\n1.png,wood\n"})
        assert "1.png is wood here, and sea as 1.png" in pack(root).stderr


def problems(root: Path) -> list[tuple[str, str, str]]:
    lines = (root.parent / "packed" / "problems.jsonl").read_text().splitlines()
    return [(problem["kind"], problem["path"], problem["detail"]) for problem in map(json.loads, lines)]
