"""Files of weights: the format that a name tells, and what a file is that holds something else."""

import io
import zipfile
from pathlib import Path

_SUFFIXES = {
    ".safetensors": "safetensors",
    ".pth": "torch",
    ".pt": "torch",
    ".pt2": "torch",
    ".pth.tar": "torch",
    ".ckpt": "torch",
    ".bin": "torch",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
}
# Of several suffixes of a format what we write has one of these: the others may as well be another format's.
_WRITTEN = (".safetensors", ".pth", ".pt", ".pth.tar", ".keras")

SUFFIXES = ", ".join(_SUFFIXES)
"""All that a file of weights may end in, for messages."""

_HEAD_BYTES = 4096
_LONGEST_HEADER_BYTES = 100_000_000  # as the safetensors library has it


def file_format(url: str) -> str | None:
    """The format that the suffix of `url` tells: safetensors, torch or keras; None for another suffix or none."""
    return next((name for suffix, name in _SUFFIXES.items() if url.lower().endswith(suffix)), None)


def written_format(url: str) -> str | None:
    """The format in which weights are written to `url`, by its suffix; None for one that tells none."""
    return file_format(url) if url.lower().endswith(_WRITTEN) else None


def foreign_content(path: Path) -> str | None:
    """What the file is, with the remedy, where its first and last bytes show that it is not what weights are saved in.

    Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        size_bytes = path.stat().st_size
        if not head:
            return "is empty: download or copy it again"
        if head.startswith(b"version https://git-lfs"):
            return "is a git-LFS pointer, which stands for the file: fetch the file itself with `git lfs pull`"
        if text.startswith((b"<!doctype html", b"<html")):
            return "is a web page (HTML), such as a login or a warning: download the file itself, by its direct link"
        if text.startswith((b"<?xml", b"<error")):
            return "is XML, such as a store's error message: download the file itself"
        if text.startswith((b'{"', b"{\n", b"{\r", b"{ ")):
            return "is JSON, such as an index or an error message: name the file of the weights"
        if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")):
            return "is a compressed archive: unpack it first"
        if head.startswith(b"GGUF"):
            return "is a GGUF file: save the network's state_dict(), or its safetensors"
        if head.startswith(b"PK\x03\x04") and not _has_end(file):
            return f"is cut off: its end is missing after {size_bytes} bytes: download or copy it again"
    return None


def other_format(path: Path) -> str | None:
    """The kind of weights that the file's content shows, whatever its name; None where it shows none."""
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith(b"\x89HDF\r\n\x1a\n"):
            return "an HDF5 file of Keras"
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER_BYTES:
            return "a safetensors file"
        if head.startswith(b"PK\x03\x04"):
            return _zip_format(file)
    return None


def _has_end(file: io.BufferedReader) -> bool:
    """Whether a zip archive's directory, which stands at its end, is there, be it damaged."""
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:
        return True


def _zip_format(file: io.BufferedReader) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # damaged bytes can break zipfile anywhere
        return None
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "a .keras file"
    if any(name.endswith("/data.pkl") for name in names):
        return "a TorchScript file" if any(name.endswith("/constants.pkl") for name in names) else "a torch file"
    if any("models/" in name and name.endswith(".json") for name in names):
        return "a program of torch.export"
    return "a zip archive"
