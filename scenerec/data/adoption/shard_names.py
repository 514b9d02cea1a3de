"""Which shards a person means by `s3://bucket/shard-{000..146}.tar`, a glob, or a folder."""

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice, takewhile

from scenerec.errors import DataError
from scenerec.storage import open_storage, split_url

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MOST_SHARDS = 200_000

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_WILDCARD = re.compile(r"[*?\[]")
_SHOWN_FOLDERS = 4


def find_shards(patterns: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that all meant shards lie in or below, and their keys from there, sorted.

    A pattern is an address or local path of a tar, with braces (`{000..146}`, `{a,b}`) and wildcards, or a folder with
    tars in it. What is named without wildcards may turn out not to be there. Raises DataError, StorageError.
    """
    urls = {url for pattern in patterns for url in _meant(pattern)}
    folders = [url.split("/")[:-1] for url in sorted(urls)]
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))]
    if len({url.startswith("s3://") for url in urls}) > 1 or (shared[:1] == ["s3:"] and len(shared) < 3):
        raise DataError(
            "the shards lie in several buckets, or in a bucket and on this machine: adopt those of one place"
        )
    base = "/".join(shared) or "/"
    return base, sorted(url.removeprefix(base).lstrip("/") for url in urls)


def expand_braces(pattern: str) -> Iterator[str]:
    """All texts that a pattern with `{000..146}` and `{a,b}` stands for, as in bash; some may come twice.

    Raises ValueError for braces that are neither.
    """
    found = _BRACES.search(pattern)
    if found is None:
        if "{" in pattern or "}" in pattern:
            raise ValueError("has a brace without its other one")
        yield pattern
        return
    for part in _alternatives(found[1]):
        yield from expand_braces(pattern[: found.start()] + part + pattern[found.end() :])


def _alternatives(braced: str) -> Iterable[str]:
    if limits := _RANGE.fullmatch(braced):
        first, last = limits.groups()
        is_padded = any(len(limit.lstrip("-")) > 1 and limit.lstrip("-")[0] == "0" for limit in limits.groups())
        width = max(len(first), len(last)) if is_padded else 0
        step = 1 if int(first) <= int(last) else -1
        return (f"{number:0{width}d}" for number in range(int(first), int(last) + step, step))
    if "," in braced:
        return braced.split(",")
    raise ValueError(f"{{{braced}}} is neither a range such as {{000..146}} nor a list such as {{a,b}}")


def _meant(pattern: str) -> Iterator[str]:
    """The addresses of the shards that one pattern means."""
    try:
        texts = list(islice(expand_braces(pattern), MOST_SHARDS + 1))
    except ValueError as error:
        raise DataError(f"{pattern}: {error}") from None
    if len(texts) > MOST_SHARDS:
        raise DataError(f"{pattern}: means more than {MOST_SHARDS:,} shards")
    for text in texts:
        if _WILDCARD.search(text):
            yield from _matching(text)
        elif text.endswith(TAR_SUFFIXES):
            folder, key = split_url(text)
            yield f"{open_storage(folder).url.rstrip('/')}/{key}"
        else:
            yield from _in_folder(text)


def _matching(pattern: str) -> Iterator[str]:
    plain = _WILDCARD.split(pattern)[0]
    folder, _, prefix = plain.rpartition("/")
    key_pattern = prefix + pattern[len(plain) :]
    storage = open_storage(folder or "/")
    keys = [info.key for info in storage.list(prefix) if info.key.endswith(TAR_SUFFIXES)]
    matching = [k for k in keys if fnmatchcase(k, key_pattern) and k.count("/") == key_pattern.count("/")]
    if not matching:
        raise DataError(f"{pattern}: there is no such shard ({', '.join(TAR_SUFFIXES)})")
    yield from (f"{storage.url.rstrip('/')}/{key}" for key in matching)


def _in_folder(folder: str) -> Iterator[str]:
    storage = open_storage(folder)
    keys = [info.key for info in storage.list() if info.key.endswith(TAR_SUFFIXES)]
    here = [key for key in keys if "/" not in key]
    if not here:
        below = sorted({key.rpartition("/")[0] for key in keys})
        lie = f": they lie in {', '.join(below[:_SHOWN_FOLDERS])}{' ...' if below[_SHOWN_FOLDERS:] else ''}: name one"
        raise DataError(f"{storage.url}: no shard ({', '.join(TAR_SUFFIXES)}) is in this folder{lie if below else ''}")
    yield from (f"{storage.url.rstrip('/')}/{key}" for key in here)
