import hashlib
import os
import threading
from pathlib import Path

import pytest

from scenerec.errors import ModelError
from scenerec.models.weights.cache import RemoteFile, WeightCache, file_of_url, published_file
from scenerec.models.weights.published import all_published, find_weights
from tests.web import Answer, WebServer

CONTENT = os.urandom(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path: Path) -> WeightCache:
    return WeightCache(str(tmp_path / "runs"))


@pytest.fixture
def remote(web: WebServer) -> RemoteFile:
    return RemoteFile(web.serve("/net.pth", CONTENT), "net.pth", SHA256[:8])


def fetch(cache: WeightCache, remote: RemoteFile) -> bytes:
    with cache.fetch(remote) as path:
        assert path.name == remote.file
        return path.read_bytes()


def files(cache: WeightCache) -> set[str]:
    return {info.key for info in cache.storage.list()}


def test_a_login_page_is_not_kept_as_a_file_of_weights(cache: WeightCache, web: WebServer) -> None:
    page = Answer(b"<html>Log in</html>", headers={"Content-Type": "text/html"})
    remote = file_of_url(web.serve("/net.pth", page))
    with pytest.raises(ModelError, match=rf"could not download {web.url}/net.pth \(a web page came instead of a file"):
        fetch(cache, remote)
    assert not files(cache)


def test_a_file_is_downloaded_once(cache: WeightCache, remote: RemoteFile, web: WebServer, tmp_path: Path) -> None:
    assert fetch(cache, remote) == CONTENT
    web.stop()
    assert fetch(cache, remote) == CONTENT
    with cache.read(remote) as path:
        assert path.read_bytes() == CONTENT
    assert web.requests == ["/net.pth"]
    assert cache.url(remote) == f"{tmp_path}/runs/.weights/net.pth"
    assert (tmp_path / "runs/.weights/net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"


def hub_file(web: WebServer, monkeypatch: pytest.MonkeyPatch, told: str) -> RemoteFile:
    """DINOv2's small weights, and their pointer, which tells a checksum; the server stands for the hub."""
    (weights,) = (each for each in all_published() if each.arch == "timm/vit_small_patch14_dinov2")
    repository = "/timm/vit_small_patch14_dinov2.lvd142m"
    web.serve(f"{repository}/resolve/main/model.safetensors", Answer(status=302, location=f"{web.url}/cdn/blob"))
    web.serve("/cdn/blob", CONTENT)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{told}\nsize {len(CONTENT)}\n"
    web.serve(f"{repository}/raw/main/model.safetensors", pointer.encode())
    monkeypatch.setenv("HF_ENDPOINT", f"{web.url}/")
    return published_file(weights)


def test_weights_come_from_the_hub_once_with_the_checksum_that_it_tells(
    cache: WeightCache, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = hub_file(web, monkeypatch, SHA256)
    assert remote.file == "vit_small_patch14_dinov2.lvd142m.safetensors"
    for _ in range(2):
        assert fetch(cache, remote) == CONTENT
    assert len(web.requests) == 3 and web.requests[0].endswith("/raw/main/model.safetensors")
    assert files(cache) == {remote.file, f"{remote.file}.sha256"}
    monkeypatch.delenv("HF_ENDPOINT")
    (weights,) = (each for each in all_published() if each.file == remote.file)
    assert published_file(weights).url == weights.url
    assert weights.url == "https://huggingface.co/timm/vit_small_patch14_dinov2.lvd142m/resolve/main/model.safetensors"


def test_another_file_than_the_hub_tells_of_is_not_kept(
    cache: WeightCache, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ModelError, match=r"its sha256 is .*\.\.\., not aaaaaaaaaaaaaaaa\.\.\. as published: nothing was kept"
    ):
        fetch(cache, hub_file(web, monkeypatch, "a" * 64))
    assert not files(cache)


def test_weights_come_from_a_mirror_without_pointers(
    cache: WeightCache, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = hub_file(web, monkeypatch, SHA256)
    web.serve("/timm/vit_small_patch14_dinov2.lvd142m/raw/main/model.safetensors", Answer(status=404))
    assert fetch(cache, remote) == CONTENT


def test_reading_downloads_nothing(cache: WeightCache, remote: RemoteFile, web: WebServer) -> None:
    with (
        pytest.raises(ModelError, match=rf"{cache.url(remote)}: is not there: submit the job again"),
        cache.read(remote),
    ):
        pass
    assert not web.requests


def test_without_a_network_the_place_for_the_file_is_told(
    cache: WeightCache, remote: RemoteFile, web: WebServer
) -> None:
    web.stop()
    with pytest.raises(ModelError) as error:
        fetch(cache, remote)
    assert str(error.value) == (
        f"model.weights: could not download {remote.url} (Connection refused): put the file at {cache.url(remote)}"
    )
    cache.storage.put(remote.file, CONTENT)
    assert fetch(cache, remote) == CONTENT
    assert files(cache) == {"net.pth", "net.pth.sha256"}


def test_a_download_that_breaks_off_leaves_nothing(
    cache: WeightCache, web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("scenerec.models.weights.download.ATTEMPTS", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    url = web.serve("/net.pth", Answer(CONTENT, sent_bytes=150_000))
    with pytest.raises(ModelError, match="broke off after 150000 of 200000 bytes"):
        fetch(cache, RemoteFile(url, "net.pth"))
    assert not files(cache)
    assert not list((tmp_path / "temporary").iterdir())


def test_an_interrupt_leaves_nothing(
    cache: WeightCache, remote: RemoteFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(url: str, target: Path) -> None:
        target.write_bytes(CONTENT[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr("scenerec.models.weights.cache.download", interrupt)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fetch(cache, remote)
    assert not files(cache)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_file_of_another_checksum_is_not_kept(cache: WeightCache, web: WebServer) -> None:
    remote = RemoteFile(web.serve("/net.pth", CONTENT), "net.pth", "0" * 8)
    with pytest.raises(
        ModelError, match=rf"its sha256 is {SHA256[:16]}\.\.\., not 00000000\.\.\. as published: nothing"
    ):
        fetch(cache, remote)
    assert not files(cache)


def test_what_is_of_no_use_is_not_kept(cache: WeightCache, remote: RemoteFile) -> None:
    with pytest.raises(ModelError, match="does not fit"), cache.fetch(remote):
        raise ModelError("does not fit")
    assert not files(cache)


@pytest.mark.parametrize("sha256", ["", SHA256[:8]], ids=["no checksum", "checksum"])
def test_a_damaged_file_is_named(cache: WeightCache, web: WebServer, sha256: str) -> None:
    remote = RemoteFile(web.serve("/net.pth", CONTENT), "net.pth", sha256)
    fetch(cache, remote)
    cache.storage.put(remote.file, CONTENT[:-1] + b"x")
    for use in (cache.fetch, cache.read):
        with (
            pytest.raises(ModelError, match=rf"{cache.url(remote)}: is damaged: .*: delete it and submit"),
            use(remote),
        ):
            pass
    cache.storage.delete(remote.file)
    assert fetch(cache, remote) == CONTENT


def test_a_file_without_published_checksum_must_stay_what_it_was(cache: WeightCache, web: WebServer) -> None:
    remote = RemoteFile(web.serve("/net.pth", CONTENT, b"another"), "net.pth")
    fetch(cache, remote)
    cache.storage.delete(remote.file)
    with pytest.raises(ModelError, match=r"not what .*/net\.pth\.sha256 says of the first one: nothing was kept"):
        fetch(cache, remote)
    cache.storage.delete("net.pth.sha256")
    assert fetch(cache, remote) == b"another"


def test_two_at_once(cache: WeightCache, remote: RemoteFile) -> None:
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(fetch(cache, remote))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 6
    assert files(cache) == {"net.pth", "net.pth.sha256"}


def test_published_files_keep_their_names() -> None:
    remote = published_file(find_weights("resnet50", "IMAGENET1K_V2"))
    assert (remote.file, remote.sha256) == ("resnet50-11ad3fa6.pth", "11ad3fa6")


def test_files_of_one_name_on_several_servers_are_told_apart() -> None:
    one, other = (file_of_url(f"https://{host}.org/a%20b/net.pth.tar?x=1#sha256={SHA256}") for host in ("a", "b"))
    assert one.url == "https://a.org/a%20b/net.pth.tar?x=1"
    assert one.sha256 == SHA256
    assert one.file != other.file
    assert one.file.startswith("net-") and one.file.endswith(".pth.tar")
    assert file_of_url(one.url).file == one.file


def test_whatever_a_url_ends_in_can_be_a_file(tmp_path: Path) -> None:
    for name in (
        "a%00b.pth",
        "a%2F..%2Fb.pth",
        "%E2%98%83 b:c.PTH",
        f"{'x' * 400}.safetensors",
        "net.bin?download=true",
    ):
        file = tmp_path / file_of_url(f"https://a.org/{name}").file
        file.touch()
        assert file.parent == tmp_path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://a.org/", r"https://a.org/: must end in the name of a \.safetensors"),
        ("https://a.org/net.zip", "must end in the name"),
        ("https://a.org/net.pth#md5=1", "#md5=1 is no checksum such as #sha256=11ad3fa6"),
        ("https://a.org/net.pth#sha256=xyz", "is no checksum"),
        ("https://[::1/net.pth", r"https://\[::1/net\.pth: Invalid IPv6 URL"),
    ],
)
def test_a_url_must_tell_the_format(url: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        file_of_url(url)
