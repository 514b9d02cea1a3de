"""Folders of a data set as they lie on disk: without what programs leave in them, and without what never ends."""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from scenerec.data.picture import SUFFIXES
from scenerec.errors import DataError
from scenerec.names import printable

_LEFT_BY_PROGRAMS = re.compile(
    r"__macosx|icon\r|@eadir|@tmp|@recycle|@recently-snapshot|#recycle|#snapshot|\$recycle\.bin|recycler"
    r"|system volume information|(eh)?thumbs(_vista)?\.db(:encryptable)?|desktop\.ini|lost\+found"
    r"|picasa\.ini|zbthumbnail\.info|__pycache__",
    re.IGNORECASE,
)
"""What macOS, Synology, QNAP, Windows, Linux, Picasa and Python leave, beside what is hidden by a dot."""
_PICTURE_SUFFIXES = frozenset((*SUFFIXES, ".jpe", ".jfif", ".tif", ".tiff", ".heic", ".heif", ".avif"))
"""Also of formats that are not packed: such a file is listed, and its folder is one of pictures all the same."""


class Folder:
    """A folder of a data set, which is looked into when it is asked, and once."""

    def __init__(self, root: Path, path: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> None:
        self.root = root
        self.path = path
        """Path relative to the root, with forward slashes; empty for the root itself."""
        self._above = above

    @property
    def name(self) -> str:
        """Name of the folder; empty for the root."""
        return self.path.rpartition("/")[2]

    @property
    def location(self) -> Path:
        """Where it lies."""
        return self.root / self.path

    @property
    def files(self) -> list[str]:
        """Names of the files that are to be read, in order; links that lead nowhere among them."""
        return self._entries[0]

    @property
    def folders(self) -> "list[Folder]":
        """Folders in it, in order of their names."""
        return self._entries[1]

    @property
    def traps(self) -> list[tuple[str, str]]:
        """Names of what is neither a file nor a folder that ends, each with what it is."""
        return self._entries[2]

    @property
    def skipped(self) -> list[str]:
        """Names of what programs have left in it."""
        return self._entries[3]

    @property
    def pictures(self) -> list[str]:
        """Names of the files that are pictures by their suffix."""
        return [name for name in self.files if f".{name.rpartition('.')[2].lower()}" in _PICTURE_SUFFIXES]

    @cached_property
    def has_pictures(self) -> bool:
        """Whether there is a picture in it, however deep."""
        return any(folder.pictures for folder in self.walk())

    def walk(self) -> "Iterator[Folder]":
        """The folder itself, and all below it: each before what is in it, in order of their names."""
        open_folders = [self]
        while open_folders:
            folder = open_folders.pop()
            yield folder
            open_folders += reversed(folder.folders)

    def find(self, path: str) -> "Folder | None":
        """The folder of this path below it; None where there is none."""
        name, _, rest = path.strip("/").partition("/")
        found = next((folder for folder in self.folders if folder.name == name), None)
        return found.find(rest) if found and rest else found

    def join(self, name: str) -> str:
        """The path of what is called so in this folder, relative to the root."""
        return f"{self.path}/{name}" if self.path else name

    @cached_property
    def _entries(self) -> "tuple[list[str], list[Folder], list[tuple[str, str]], list[str]]":
        files, folders, traps, skipped = [], [], [], []
        try:
            status = self.location.stat()
            with os.scandir(self.location) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{printable(str(self.location))}: {error.strerror}") from None
        chain = self._above | {(status.st_dev, status.st_ino)}
        for entry in entries:
            if is_left_behind(entry.name):
                skipped.append("._*" if entry.name.startswith("._") else entry.name)
            elif trap := _trap(entry, chain):
                traps.append((entry.name, trap))
            elif entry.is_dir():
                folders.append(Folder(self.root, self.join(entry.name), chain))
            else:
                files.append(entry.name)
        return files, folders, traps, skipped


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or of those that programs leave behind."""
    return name.startswith(".") or _LEFT_BY_PROGRAMS.fullmatch(name) is not None


def skipped_below(folder: Folder) -> Counter[str]:
    """How often a name that a program has left stands in the folder or below."""
    return Counter(name for each in folder.walk() for name in each.skipped)


def special_kind(mode: int) -> str | None:
    """What a file of this mode is, in words; None for a file or folder that can be read to its end."""
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((f"{kind}, not a file" for is_kind, kind in kinds.items() if is_kind(mode)), None)


def _trap(entry: "os.DirEntry[str]", chain: frozenset[tuple[int, int]]) -> str | None:
    """What is wrong with an entry that must not be followed or opened; None for files and folders."""
    if not entry.is_symlink() and (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None  # a link that leads nowhere: reported as missing
    except OSError as error:
        return "a symbolic link that leads to itself" if error.errno == errno.ELOOP else str(error.strerror)
    if stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) in chain:
        return "a symbolic link to a folder that it lies in"
    return special_kind(status.st_mode)
