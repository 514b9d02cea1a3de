"""`scenerec cluster doctor` on a real cluster: looks at its node and store, says what it sees, and leaves nothing."""

import json

from cluster import local
from scenerec.storage import open_storage
from tests.served import command


def test_the_embedded_cluster_is_looked_at(cluster: local.LocalCluster) -> None:
    folder = open_storage("s3://scenes/doctor")
    told = json.loads(command("cluster", "doctor", "--store", "s3://scenes/doctor", "--all-reduce", "--json"))
    levels = {line["check"]: line["level"] for line in told["findings"]}
    assert {levels[check] for check in ("nodes", "versions", "address", "token", "serving", "all-reduce")} == {"ok"}
    (node,) = told["seen"]["nodes"]
    assert (node["address"], node["interface"], node["object_store_bytes"]) == ("127.0.0.1", "lo", 300_000_000)
    assert abs(node["clock_offset_s"]) < 60 and abs(node["store_offset_s"]) < 60
    assert node["store"]["error"] is None and node["store"]["read_bytes_per_s"] > 0
    assert told["seen"]["all_reduce_bytes_per_s"] > 0
    assert list(folder.list()) == []
