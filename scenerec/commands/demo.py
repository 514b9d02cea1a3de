"""`scenerec demo`: the whole path on this machine, by the commands that a user would type."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import jobs
from cluster.loopback import free_ports
from scenerec.commands.parts import check_parts
from scenerec.errors import RegistryError
from scenerec.json_object import JsonObject

app = typer.Typer()

_FRAMEWORKS = ("torch", "tensorflow")
_MODEL = "demo"
_DATA = "s3://scenes/demo"  # not the recipe's, where a set of the user's may lie

_RECIPE = Path(jobs.__file__).parent / "recipes" / "synthetic-resnet18.yaml"


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
    check_parts("s3", "cluster", "train", "serve")
    ends = not sys.stdin.isatty() if down is None else down
    steps = Steps()
    try:
        try:
            with tempfile.TemporaryDirectory(prefix="scenerec-demo-") as folder:
                _tour(Path(folder), steps)
        finally:
            if ends:
                steps.run("cluster", "down")
    except subprocess.CalledProcessError as error:  # the command has said why
        raise typer.Exit(error.returncode) from None
    finally:
        steps.show()
    if not ends:
        typer.echo("end the cluster with `scenerec cluster down`")


class Steps:
    """Runs commands as a user would type them, and keeps how long each took."""

    def __init__(self) -> None:
        self.took_s: list[tuple[str, float]] = []

    def run(self, *arguments: str, stdout: int | None = None, may_be_refused: bool = False) -> str:
        """Runs a command; returns what it prints, where `stdout` is a pipe.

        Raises CalledProcessError where it fails, unless the registry refuses and `may_be_refused`.
        """
        typer.secho(f"\n$ scenerec {' '.join(arguments)}", bold=True)
        began_s = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "scenerec", *arguments], stdout=stdout, text=True)
        took_s = time.monotonic() - began_s
        typer.secho(f"({took_s:.1f} s)", dim=True)
        words = [word for word in arguments if not word.startswith(("-", "/"))]
        self.took_s.append((" ".join(words[:3]), took_s))  # as many words as tell the steps apart
        if not (may_be_refused and done.returncode == RegistryError.exit_code):
            done.check_returncode()
        return done.stdout or ""

    def output(self, *arguments: str) -> str:
        """What the command prints on stdout; its progress, on stderr, is shown. Raises CalledProcessError."""
        return self.run(*arguments, stdout=subprocess.PIPE)

    def show(self) -> None:
        """Shows how long each step took, and all of them."""
        typer.secho("\nSECONDS  STEP", bold=True)
        for step, seconds in [*self.took_s, ("in all", sum(seconds for _, seconds in self.took_s))]:
            typer.echo(f"{seconds:7.1f}  {step}")


def _tour(folder: Path, steps: Steps) -> None:
    images = folder / "scenes"
    steps.run("cluster", "up")
    steps.run("data", "synthetic", str(images), "--classes=6", "--train-per-class=100", "--seed=0")
    steps.run("data", "pack", str(images), _DATA, "--overwrite")
    typer.echo(f"\n{_RECIPE.name}:\n{_RECIPE.read_text()}")
    results = [_train(steps, framework) for framework in _FRAMEWORKS]
    for result in results:
        _put_into_production(steps, result)
    endpoint = _serve(steps)
    photograph = min(images.glob("val/*/*"))
    steps.run("predict", str(photograph), "--model", _MODEL, "--endpoint", endpoint, "--top", "3")
    _show(results, endpoint, json.loads(steps.output("cluster", "status", "--json"))["dashboard_url"])


def _train(steps: Steps, framework: str) -> JsonObject:
    settings = [
        f"name=demo-{framework}",
        f"framework={framework}",
        f"data.train={_DATA}/train",
        f"data.val={_DATA}/val",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    return json.loads(steps.output("submit", str(_RECIPE), *options, "--restart", "--json").splitlines()[-1])


def _put_into_production(steps: Steps, result: JsonObject) -> None:
    """The second framework's network must not be worse than the first's, which holds the alias by then."""
    bundle = json.loads(steps.output("export", result["run"], "--json"))["url"]
    pushed = json.loads(steps.output("registry", "push", bundle, _MODEL, "--json"))
    steps.run("registry", "promote", f"{_MODEL}:{pushed['version']}", "production", may_be_refused=True)


def _serve(steps: Steps) -> str:
    """The address of the endpoint, on ports that nobody has."""
    ports = free_ports(("http", "grpc"))
    settings = ["--set", f"http.port={ports['http']}", "--set", f"http.grpc_port={ports['grpc']}"]
    return json.loads(steps.output("serve", "deploy", f"{_MODEL}@production", *settings, "--json").splitlines()[-1])[
        "url"
    ]


def _show(results: list[JsonObject], endpoint: str, dashboard: str) -> None:
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
