import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scenerec.data.integrity import IntegrityReport, check_set
from scenerec.data.manifest import Manifest, read_manifest, write_manifest
from scenerec.data.packing.pack import PackOptions, PackRequest, pack
from scenerec.data.pool import process_runner
from scenerec.errors import StorageError
from scenerec.storage import LocalStorage, open_storage, patience
from tests.clock import set_clock

Encode = Callable[..., bytes]
WriteTree = Callable[[Mapping[str, bytes | str]], Path]


@pytest.fixture
def packed(encode: Encode, write_tree: WriteTree, tmp_path: Path) -> Path:
    source = write_tree({f"{'sea' if n % 2 else 'city'}/{n}.jpg": encode(n, size=(60, 40)) for n in range(12)})
    folder = tmp_path / "packed"
    pack(PackRequest(source=source, destination=str(folder), options=PackOptions(shard_mb=0.008)))
    return folder


def check(folder: Path, decode: bool = True) -> IntegrityReport:
    storage = LocalStorage(folder)
    return check_set(storage, read_manifest(storage), decode=decode)


def replace_shard(folder: Path, content: bytes) -> None:
    """Makes `content` the first shard, in the manifest too."""
    manifest = read_manifest(LocalStorage(folder))
    (folder / manifest.shards[0].key).write_bytes(content)
    entry = manifest.shards[0].model_copy(
        update={"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    )
    shards = (entry, *manifest.shards[1:])
    write_manifest(LocalStorage(folder), Manifest(classes=manifest.classes, shards=shards))


def test_a_sound_set(packed: Path) -> None:
    seen: list[tuple[int, int]] = []
    storage = LocalStorage(packed)
    manifest = read_manifest(storage)
    report = check_set(storage, manifest, run=process_runner(2), on_progress=lambda *now: seen.append(now))
    assert report == IntegrityReport(str(packed), len(manifest.shards), 12, True, ())
    assert report.shards >= 2
    assert (seen[0], seen[-1]) == ((0, 12), (12, 12))


def test_a_flipped_byte_names_the_shard(packed: Path) -> None:
    path = packed / "000001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 0xFF
    path.write_bytes(content)
    defects = check(packed).defects
    assert (defects[0].shard, defects[0].sample) == ("000001.tar", "")
    assert defects[0].problem == "checksum mismatch, the shard is not the one that was packed"


def test_missing_and_truncated_shards(packed: Path) -> None:
    (packed / "000000.tar").unlink()
    content = (packed / "000001.tar").read_bytes()
    (packed / "000001.tar").write_bytes(content[:2000])
    first, second = check(packed).defects
    assert (first.shard, first.problem) == ("000000.tar", "the shard is missing")
    assert (second.shard, second.problem) == ("000001.tar", f"2000 bytes, {len(content)} in the manifest")


def test_every_damaged_image_is_named(packed: Path) -> None:
    buffer = io.BytesIO()
    spoilt = []
    with tarfile.open(packed / "000000.tar") as old, tarfile.open(fileobj=buffer, mode="w") as new:
        for number, member in enumerate(old):
            file = old.extractfile(member)
            assert file
            data = file.read()
            if member.name.endswith(".jpg") and number in (0, 2):
                spoilt.append(member.name.removesuffix(".jpg"))
                data = data[: len(data) // 2]
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    replace_shard(packed, buffer.getvalue())
    report = check(packed)
    assert [defect.sample for defect in report.defects] == sorted(spoilt)
    assert len(spoilt) == 2
    assert all("cannot be decoded" in defect.problem for defect in report.defects)
    assert report.samples == 12
    assert check(packed, decode=False).defects == ()


def test_a_store_that_does_not_answer_is_no_defect(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    set_clock(monkeypatch, patience)
    with pytest.raises(StorageError, match="cannot reach"):
        check_set(open_storage("s3://scenes/train"), read_manifest(LocalStorage(packed)))
