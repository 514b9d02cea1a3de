"""One's own cluster that asks for a token: by RAY_AUTH_TOKEN, as in all tests here, or in a file."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.nodes.datacenter import TOKEN, Datacenter
from tests.nodes.runs import document

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]

IN_FILE = {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "/tmp/home/token"}


def test_commands_take_the_token_from_a_file(dc: Datacenter, undisturbed: Callable[[str, int], list[Any]]) -> None:
    undisturbed("torch", 6)
    dc.client.path("/tmp/home/token").write_text(f"{TOKEN}\n")
    runs = json.loads(dc.scenerec("list", "--json", env=IN_FILE).stdout)
    assert "whole-torch-6" in [run["name"] for run in runs]
    job = dc.submit(document("by-file", "torch", 1), env=IN_FILE)
    assert job.wait() == 0, job.tail()
    refused = dc.scenerec("submit", "by-file.yaml", "--restart", env={"RAY_AUTH_TOKEN": "0" * 64})
    assert refused.returncode != 0
    assert "refuses this token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in refused.stderr


def test_an_application_is_deployed_on_two_nodes_where_a_token_is_asked_for(
    dc: Datacenter, undisturbed: Callable[[str, int], list[Any]]
) -> None:
    undisturbed("torch", 6)
    dc.client.path("/tmp/home/token").write_text(f"{TOKEN}\n")
    exported = dc.scenerec("export", "s3://scenes/runs/whole-torch-6", "--json", "-o", "s3://scenes/bundle")
    assert exported.returncode == 0, exported.stderr
    bundle = json.loads(exported.stdout.splitlines()[-1])["url"]
    models = [{"name": "scenes", "version": bundle}]
    scale = {"min_replicas": 2, "max_replicas": 2}  # of a CPU each, as the nodes have
    application = {"kind": "serve", "name": "scenes", "models": models, "scale": scale}
    dc.client.path("/tmp/home/serve.yaml").write_text(yaml.safe_dump(application))
    for env in ({}, IN_FILE):
        deployed = dc.scenerec("serve", "deploy", "serve.yaml", env=env)
        assert deployed.returncode == 0, deployed.stderr
    ask = (
        f"curl -sf --data-binary @$(ls drawn/val/*/* | head -1) http://{dc.head.address}:8000/v1/models/scenes:predict"
    )
    assert json.loads(dc.client.run(ask).stdout)["predictions"]
    assert dc.scenerec("serve", "stop", "scenes", env=IN_FILE).returncode == 0
