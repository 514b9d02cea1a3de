import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import scenerec
from scenerec.config.serve import ServeConfig, ServeScaleConfig
from serve.app import autoscaling, grpc_options, replicas_that_fit, served_sources
from serve.http import express
from serve.oip.grpc_methods import add_to_server


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpus_each", "gpus_each", "fitting"),
    [(0, 0, 1, 0, 0), (1.9, 0, 1, 0, 1), (8, 0, 3, 0, 2), (8, 1, 1, 0.25, 4), (2, 4, 1, 0.5, 2), (8, 0, 1, 1, 0)],
)
def test_a_node_takes_as_many_replicas_as_its_scarcest_resource_allows(
    cpus: float, gpus: float, cpus_each: int, gpus_each: float, fitting: int
) -> None:
    scale = ServeScaleConfig(cpus_per_replica=cpus_each, gpus_per_replica=gpus_each)
    assert replicas_that_fit(scale, cpus, gpus) == fitting


def test_an_application_that_may_shrink_to_nothing_begins_with_one_replica() -> None:
    settings = autoscaling(ServeScaleConfig(min_replicas=0, max_replicas=4))
    assert (settings.min_replicas, settings.initial_replicas, settings.max_replicas) == (0, 1, 4)


def test_what_ray_serve_is_told_by_name_is_there() -> None:
    config = ServeConfig.model_validate(
        {"kind": "serve", "name": "a", "models": [{"name": "a", "version": "a@b"}], "http": {"grpc_port": 9000}}
    )
    options = grpc_options(config)
    assert options is not None
    assert [pkgutil.resolve_name(name) for name in options.grpc_servicer_functions] == [add_to_server]
    assert [pkgutil.resolve_name(name) for name in express.VARIABLES.values()] == [express.middlewares]


def test_a_change_of_what_no_replica_runs_starts_none_anew() -> None:
    sources = served_sources()
    assert {"serve/api.py", "serve/pages/docs.html", "scenerec/errors.py", "scenerec/inference/bundles/bundle.py"} <= {
        *sources
    }
    assert (Path(scenerec.__file__).parent / "commands/screen").is_dir()
    assert not [name for name in sources if name.startswith(("scenerec/commands/", "scenerec/training/"))]


def test_all_that_a_replica_runs_counts_where_a_job_has_its_packages_in_several_folders(tmp_path: Path) -> None:
    for package in ("scenerec", "serve", "cluster", "jobs"):
        (tmp_path / f"of_{package}").mkdir()
        (tmp_path / f"of_{package}" / package).symlink_to(Path(scenerec.__file__).parents[1] / package)
    program = "from serve.app import served_sources as s; print(*s(), sep='\\n')"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, tmp_path.iterdir()))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == list(served_sources())
