"""`scenerec demo`: the whole path on this machine, by the commands that a user would type."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.loopback import free_ports
from scenerec.errors import RegistryError

app = typer.Typer()

_FRAMEWORKS = ("torch", "tensorflow")
_MODEL = "demo"

_CONFIG = """\
kind: train
name: demo-torch
framework: torch
data:
  train: s3://scenes/demo/train
  val: s3://scenes/demo/val
  image_size: 64
  augment: {crop_scale: [0.5, 1.0], flip: true}
model: {arch: resnet18}
optimize: {epochs: 3, global_batch_size: 32, optimizer: adamw, lr: 0.002, weight_decay: 0.05, warmup_epochs: 1}
scale: {workers: 2}
output: s3://scenes/runs
"""


@app.command()
def demo(
    down: Annotated[
        bool | None,
        typer.Option("--down/--keep", help="End the embedded cluster afterwards; by default not on a terminal."),
    ] = None,
) -> None:
    """From drawn scenes to an answered photograph, in both frameworks.

    Starts the embedded cluster and its S3 store, packs the scenes into the
    store, trains the same small network in PyTorch and in TensorFlow, exports
    both to ONNX, promotes them in the registry, if they pass its gates, serves
    the one in production and asks it by HTTP: some minutes on two cores.

    Example: scenerec demo
    """
    ends = not sys.stdin.isatty() if down is None else down
    try:
        with tempfile.TemporaryDirectory(prefix="scenerec-demo-") as folder:
            _tour(Path(folder))
    except subprocess.CalledProcessError as error:  # the command has said why
        raise typer.Exit(error.returncode) from None
    finally:
        if ends:
            _run("cluster", "down")
    if not ends:
        typer.echo("end the cluster with `scenerec cluster down`")


def _tour(folder: Path) -> None:
    images, config = folder / "scenes", folder / "train.yaml"
    config.write_text(_CONFIG)
    _run("cluster", "up")
    _run("data", "synthetic", str(images), "--classes", "6", "--train-per-class", "100", "--seed", "0")
    _run("data", "pack", str(images), "s3://scenes/demo", "--overwrite")
    typer.echo(f"\n{config.name}:\n{_CONFIG}")
    results = [_train(config, framework) for framework in _FRAMEWORKS]
    for result in results:
        _put_into_production(result)
    endpoint = _serve()
    photograph = min(images.glob("val/*/*"))
    _run("predict", str(photograph), "--model", _MODEL, "--endpoint", endpoint, "--top", "3")
    _show(results, endpoint, json.loads(_output("cluster", "status", "--json"))["dashboard_url"])


def _train(config: Path, framework: str) -> dict[str, Any]:
    settings = ["--set", f"name=demo-{framework}", "--set", f"framework={framework}"]
    return json.loads(_output("submit", str(config), *settings, "--restart", "--json").splitlines()[-1])


def _put_into_production(result: dict[str, Any]) -> None:
    """The second framework's network must not be worse than the first's, which holds the alias by then."""
    bundle = json.loads(_output("export", result["run"], "--json"))["url"]
    pushed = json.loads(_output("registry", "push", bundle, _MODEL, "--json"))
    _run("registry", "promote", f"{_MODEL}:{pushed['version']}", "production", may_be_refused=True)


def _serve() -> str:
    """The address of the endpoint, on ports that nobody has."""
    ports = free_ports(("http", "grpc"))
    settings = ["--set", f"http.port={ports['http']}", "--set", f"http.grpc_port={ports['grpc']}"]
    return json.loads(_output("serve", "deploy", f"{_MODEL}@production", *settings, "--json").splitlines()[-1])["url"]


def _run(*arguments: str, may_be_refused: bool = False) -> None:
    _announce(arguments)
    done = subprocess.run([sys.executable, "-m", "scenerec", *arguments])
    if done.returncode and not (may_be_refused and done.returncode == RegistryError.exit_code):
        raise subprocess.CalledProcessError(done.returncode, done.args)


def _output(*arguments: str) -> str:
    """What the command prints on stdout; its progress, on stderr, is shown."""
    _announce(arguments)
    return subprocess.run(
        [sys.executable, "-m", "scenerec", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _announce(arguments: tuple[str, ...]) -> None:
    typer.secho(f"\n$ scenerec {' '.join(arguments)}", bold=True)


def _show(results: list[dict[str, Any]], endpoint: str, dashboard: str) -> None:
    table = Table("framework", "top-1", "top-5", "images/s", title="The same network, the same batches")
    table.add_column("best checkpoint", overflow="fold")
    for result in results:
        best = result["best"]
        table.add_row(
            result["framework"],
            f"{best['val_top1']:.1%}",
            f"{best['val_top5']:.1%}",
            f"{best['images_per_s']:.0f}",
            result["best_checkpoint"],
        )
    Console().print(table)
    typer.echo(f"endpoint  {endpoint}  (a page to try it, POST {endpoint}/v1/models/{_MODEL}:predict)")
    typer.echo(f"dashboard {dashboard}")
