"""Pictures that show the same, though their bytes differ: resized, encoded anew, a little changed in colour. Pure."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from scenerec.data.quality.facts import COLOUR_SIDE, GREY_SIDE, PictureFacts

MOST_BITS = 9
"""In so many of 64 bits may the hashes of candidates differ: all such pairs are found."""

_LEAST_CORRELATION = 0.98
_MOST_COLOUR_DIFFERENCE = 14.0  # levels, on average
_BANDS = (13, 13, 13, 13, 12)  # bits: of a pair one band differs in one bit at most
_PAIRS_AT_ONCE = 1 << 22


def near_pairs(pictures: Sequence[PictureFacts]) -> list[tuple[int, int]]:
    """The pairs of pictures, by their places, that look alike: near hashes, correlated greys, like colours."""
    bits = np.array([picture.bits for picture in pictures], np.uint64)
    greys = _standardised(pictures)
    colours = _bytes_of((picture.colours for picture in pictures), 3 * COLOUR_SIDE**2).astype(np.int16)
    found: set[tuple[int, int]] = set()
    for first, second in hash_pairs(bits):
        alike = (greys[first] * greys[second]).sum(axis=1) >= _LEAST_CORRELATION
        first, second = first[alike], second[alike]
        alike = np.abs(colours[first] - colours[second]).mean(axis=1) <= _MOST_COLOUR_DIFFERENCE
        found.update(zip(first[alike].tolist(), second[alike].tolist(), strict=True))
    return sorted(found)


def hash_pairs(bits: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (i < j) of uint64 [n] hashes that differ in `MOST_BITS` at most, each at least once; int64 [pairs] twice.

    The hashes are cut into bands, in one of which such a pair differs in one bit at most: these are looked up.
    """
    for band, width in enumerate(_BANDS):
        keys = (bits >> np.uint64(sum(_BANDS[:band]))) & np.uint64((1 << width) - 1)
        changes = np.concatenate([[0], 1 << np.arange(width)]).astype(np.uint64)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for change in changes:
            begins = np.searchsorted(ordered, keys ^ change, "left")
            counts = np.searchsorted(ordered, keys ^ change, "right") - begins
            for part in _parts(counts):
                first = np.repeat(part, counts[part])
                steps = np.arange(len(first)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
                second = order[np.repeat(begins[part], counts[part]) + steps]
                near = (first < second) & (np.bitwise_count(bits[first] ^ bits[second]) <= MOST_BITS)
                yield first[near], second[near]


def groups_of(pairs: Iterable[tuple[int, int]], count: int) -> list[list[int]]:
    """The places from 0 to `count` that pairs connect, directly or by others; those of two and more."""
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for first, second in pairs:
        roots = sorted((root(first), root(second)))
        parent[roots[1]] = roots[0]
    members: dict[int, list[int]] = {}
    for place in range(count):
        members.setdefault(root(place), []).append(place)
    return [group for group in members.values() if len(group) > 1]


def _parts(counts: np.ndarray) -> list[np.ndarray]:
    """Places in parts of about so many pairs as are dealt with at once."""
    edges = np.flatnonzero(np.diff(np.cumsum(counts) // _PAIRS_AT_ONCE)) + 1
    return np.split(np.arange(len(counts)), edges)


def _standardised(pictures: Sequence[PictureFacts]) -> np.ndarray:
    """Grey levels of mean 0 and length 1, float32 [n, 256]: their product is the correlation."""
    levels = _bytes_of((picture.grey for picture in pictures), GREY_SIDE**2).astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(levels, axis=1, keepdims=True)
    return levels / np.where(lengths > 0, lengths, 1)


def _bytes_of(parts: Iterable[bytes], length: int) -> np.ndarray:
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, length)
