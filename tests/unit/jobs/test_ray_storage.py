"""Ray's notes by Arrow, at a store that refuses checksums and lies under a path."""

import pickle
import subprocess
import sys

import pytest

from jobs.ray_storage import S3Files, ray_storage
from scenerec.storage.s3_endpoint import CHECKSUM_VARIABLE
from tests.odd_store import OddStore
from tests.patience import PATIENCE_S

WRITE = """
import pickle, sys
files = pickle.loads(sys.stdin.buffer.read())
with files.open_output_stream("bucket/runs/ray/note") as file:
    file.write(b"content")
"""


def test_a_local_folder_needs_no_connection() -> None:
    assert ray_storage("/runs/x/ray") == {"storage_path": "/runs/x/ray"}


def test_a_store_that_refuses_checksums_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with OddStore() as store:
        store.habits = frozenset({"no-checksums"})
        for name in ("AWS_ENDPOINT_URL_S3", CHECKSUM_VARIABLE):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{store.url}/")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        arguments = ray_storage("s3://bucket/runs/ray", patience_s=300)
        assert arguments["storage_path"] == "bucket/runs/ray"
        files = arguments["storage_filesystem"]
        assert isinstance(files, S3Files)
        assert pickle.loads(pickle.dumps(files)).patience_s == 300
        monkeypatch.delenv(CHECKSUM_VARIABLE)  # as in a worker, which was not started by this process
        subprocess.run([sys.executable, "-c", WRITE], input=pickle.dumps(files), check=True, timeout=PATIENCE_S)
        assert store.objects == {"runs/ray/note": b"content"}
