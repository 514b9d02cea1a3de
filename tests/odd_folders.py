"""Folders, lists and label files as nobody should have them: drawn at random, the same for the same seed."""

import io
import os
import random
from pathlib import Path

from PIL import Image

_CLASSES = (
    "sea",
    "wood",
    "Sea",
    "sea ",
    "caf\u00e9",
    "cafe\u0301",
    "train_station",
    "market",
    "a",
    "b",
    "street/alley",
    "-x",
)
_SPLITS = ("train", "Train", "training_set", "val", "VALID", "Validation", "dev", "test", "seg_test", "city_train")
_WRAPPERS = (
    "data",
    "images",
    "photos",
    "archive (1)",
    "2019",
    "2020",
    "indoor",
    "outdoor",
    "seg_pred",
    "notes",
    "DCIM",
)
_LEFT = ("@eaDir", "__MACOSX", ".thumbnails", "$RECYCLE.BIN", "lost+found", ".git", "#recycle")
_ODD = (
    "\n",
    "a\nb",
    " ",
    "\x01",
    "x" * 250,
    "...",
    "-rf",
    "~",
    "$HOME",
    "%s",
    "\u202eb",
    "\ufeff",
    "\u200b",
    "CON",
    "nul.png",
)
_FILES = ("1.png", "2.PNG", "3.jpg", "4", "5.jpeg.txt", "Thumbs.db", "._1.png", "desktop.ini", "readme.txt", "6.webp")
_OFFICIAL = ("categories_places365.txt", "places365_val.txt", "IO_places365.txt")
_LISTS = (
    *_OFFICIAL,
    "set.csv",
    "train.csv",
    "labels.csv",
    "val.csv",
    "places.csv",
    "ClassName.txt",
    "Training_01.txt",
    "Testing_01.txt",
)
_BYTES = (b"caf\xe9", b"\xff", b"\xc3\x28", b"\xed\xa0\x80")


def picture(number: int) -> bytes:
    """A small PNG, another for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (number % 256, number // 256 % 256, number // 65536 % 256)).save(buffer, "PNG")
    return buffer.getvalue()


def draw_tree(rng: random.Random, root: Path) -> None:
    """Makes a folder of folders: plausible ones for the most part, each with something odd somewhere."""
    root.mkdir(parents=True)
    heads: list[Path] = [root]
    if rng.random() < 0.4:
        heads = [_folder(root, rng.choice(_WRAPPERS))]
    if rng.random() < 0.6:
        heads = [_folder(heads[0], name) for name in rng.sample(_SPLITS, rng.choice((1, 2, 2, 2, 3)))]
    if rng.random() < 0.2:
        heads = [_folder(head, head.name if rng.random() < 0.5 else rng.choice(_WRAPPERS)) for head in heads]
    names = rng.sample(_CLASSES, rng.choice((1, 2, 2, 2, 3)))
    folders = [_folder(head, name) for head in heads for name in names]
    if rng.random() < 0.3:
        folders = [_folder(each, rng.choice(_WRAPPERS)) if rng.random() < 0.7 else each for each in folders]
    for folder in folders:
        for name in rng.sample(_FILES[:4], rng.choice((1, 1, 2))):
            (folder / name).write_bytes(picture(rng.randrange(1 << 24)))
    places = [*folders, *heads, root]
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        _add_oddity(rng, rng.choice(places), root)


def draw_table(rng: random.Random, paths: list[str]) -> bytes:
    """A CSV file over pictures of these paths: with odd headings, separators, fields and bytes."""
    headings = rng.choice(
        ("path,label", "path,label", "Path, Label", "path,label,split", "label,path", "path", "file,class")
    )
    headings = rng.choice((headings, headings, headings, headings + ",latitude,longitude"))
    columns = headings.split(",")
    rows = [headings]
    for _ in range(rng.randrange(6)):
        cells = {"path": _odd_cell(rng, rng.choice(paths)), "label": _odd_cell(rng, rng.choice(_CLASSES))}
        cells |= {
            "split": rng.choice((*_SPLITS, "", "rest")),
            "latitude": rng.choice(("", "1", "nan", "north", "1e400")),
        }
        cells |= {"longitude": rng.choice(("", "2", "-181"))}
        rows.append(",".join(cells.get(column.strip().lower(), "x") for column in columns))
    separator = rng.choice((",", ",", ",", ";", "\t"))
    text = rng.choice(("\n", "\n", "\r\n", "\r", "\n\n")).join(rows).replace(",", separator)
    return _odd_bytes(rng, text)


def draw_labels(rng: random.Random) -> bytes:
    """A file of class names: alone, with indices, in Places365's and SUN397's forms, or damaged."""
    names = rng.sample(_CLASSES, rng.randrange(len(_CLASSES) + 1))
    form = rng.choice(("{1}", "{1}", "{1} {0}", "{0} {1}", "{0}: {1}", "/{2}/{1} {0}", "/{2}/{1}", "{0},{1}"))
    lines = [form.format(index + rng.choice((0, 0, 0, 1)), name, name[0]) for index, name in enumerate(names)]
    if rng.random() < 0.3:
        rng.shuffle(lines)
    if rng.random() < 0.3 and lines:
        lines.insert(rng.randrange(len(lines)), rng.choice(("", " ", "\x00", lines[0], "[", "9" * 5000, "\ufeff")))
    return _odd_bytes(rng, rng.choice(("\n", "\n", "\r\n", "\r", "\u2028")).join(lines))


def _folder(parent: Path, name: str) -> Path:
    path = parent / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def _add_oddity(rng: random.Random, folder: Path, root: Path) -> None:
    name = rng.choice((*_FILES, *_ODD, *map(os.fsdecode, _BYTES), *_LISTS))
    path = folder / name
    kind = rng.choice(("file", "file", "folder", "left", "pipe", "loop", "nowhere", "self", "list", "twin", "deep"))
    if kind == "left":
        path = _folder(folder, rng.choice(_LEFT)) / "1.png"
    if kind == "deep":
        path = _folder(folder, "/".join(rng.choice(_WRAPPERS) for _ in range(rng.choice((2, 60))))) / "1.png"
    if kind == "list":
        path = rng.choice((root, folder)) / rng.choice(_LISTS)
    if path.exists() or path.is_symlink():
        return
    if kind == "folder":
        path.mkdir()
        (path / "1.png").write_bytes(picture(rng.randrange(1 << 24)))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("loop", "nowhere", "self"):
        path.symlink_to({"loop": root, "nowhere": root / "nowhere", "self": path}[kind])
    elif kind == "list":
        pictures = [each.relative_to(root).as_posix() for each in sorted(root.rglob("*.png"))][:20]
        texts = [_printable(each) for each in pictures] or ["1.png"]
        path.write_bytes(draw_table(rng, texts) if path.suffix == ".csv" else draw_labels(rng))
    elif kind == "twin" and (twins := [each for each in sorted(root.rglob("1.png")) if each.is_file()]):
        path.write_bytes(rng.choice(twins).read_bytes())
    else:
        path.write_bytes(rng.choice((b"", b"text", picture(rng.randrange(1 << 24)), picture(1)[:40])))


def _printable(path: str) -> str:
    return path.encode(errors="replace").decode()


def _odd_cell(rng: random.Random, text: str) -> str:
    forms = ("{}", "{}", "{}", " {} ", '"{}"', '"{}', "{}\x00", "{},{}", "\t{}", "../{}", "/{}", "{}/", "")
    return rng.choice(forms).replace("{}", text)


def _odd_bytes(rng: random.Random, text: str) -> bytes:
    content = text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")), errors="replace")
    if rng.random() < 0.15 and content:
        place = rng.randrange(len(content))
        content = content[:place] + rng.choice((*_BYTES, b"\x00", b'"', b"\n", b"\r")) + content[place:]
    return content
