import random
from pathlib import Path

import pytest

from scenerec.data.packing.known_images import KnownImages, Twin, read_known, write_known
from scenerec.storage import LocalStorage


def table(folder: Path, known: dict[bytes, Twin]) -> KnownImages:
    storage = LocalStorage(folder)
    return read_known(storage.url, write_known(storage, ".pack/known", known))


def test_what_is_known_is_found_and_nothing_else(tmp_path: Path) -> None:
    draw = random.Random(0)
    twins = [Twin("duplicate", "is in the set already, as bäckerei"), Twin("leaked", "is in val too, as zoo")]
    digests = [draw.randbytes(16) for _ in range(2000)]
    digests += [draw.randbytes(length) + bytes(16 - length) for length in range(17)]  # numpy takes zeros for an end
    digests += [bytes(length) + draw.randbytes(16 - length) for length in range(1, 16)]
    known = {digest: draw.choice(twins) for digest in digests}
    found = table(tmp_path, known)
    assert [found.get(digest) for digest in known] == list(known.values())
    near = [digest[:-1] + bytes([digest[-1] ^ 1]) for digest in digests] + [draw.randbytes(16) for _ in range(500)]
    assert [found.get(digest) for digest in near] == [known.get(digest) for digest in near]


def test_two_tables_of_one_name_are_two(tmp_path: Path) -> None:
    one, other = Twin("duplicate", "is in the set already, as a"), Twin("duplicate", "is in the set already, as b")
    assert table(tmp_path, {bytes(16): one}).get(bytes(16)) == one
    assert table(tmp_path, {bytes(16): other}).get(bytes(16)) == other


@pytest.mark.parametrize("images", [1, 3])
def test_an_image_is_twenty_bytes(tmp_path: Path, images: int) -> None:
    known = {number.to_bytes(16, "big"): Twin("leaked", "is in val too") for number in range(images * 10_000)}
    key = write_known(LocalStorage(tmp_path), "known", known)
    assert 20 <= (tmp_path / key).stat().st_size / len(known) < 20.2
