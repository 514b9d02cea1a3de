"""The command line: wiring only. Commands import what they need when they run, so that `--help` is quick."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scenerec import __version__
from scenerec.commands import (
    bench,
    cluster,
    convert,
    data,
    demo,
    evaluate,
    export,
    list_jobs,
    logs,
    models,
    predict,
    registry,
    schema,
    serve,
    status,
    stop,
    submit,
    tune,
    validate,
    verify,
)
from scenerec.errors import ScenerecError


class _Commands(TyperGroup):
    """Ends a command that meets a user's error with its lines and its exit code, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ScenerecError as error:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train scene classifiers on a cluster: the same network in PyTorch and TensorFlow, from one YAML file.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scenerec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def _reach_embedded_store() -> None:
    from cluster.environment import use_store_environment

    use_store_environment()


app.command(
    epilog="Example: scenerec submit train.yaml --set optimize.lr=0.1\n\n"
    "Example: scenerec submit tune.yaml --set trials=24 --retrain\n\n"
    "Example: scenerec submit --resume s3://scenes/runs/NAME --set framework=tensorflow"
)(submit.submit)
app.command(epilog="Example: scenerec status places365-resnet50")(status.status)
app.command(epilog="Example: scenerec logs -f places365-resnet50")(logs.logs)
app.command(name="list", epilog="Example: scenerec list --json")(list_jobs.list_jobs)
app.command(epilog="Example: scenerec stop places365-resnet50")(stop.stop)
app.command()(demo.demo)
app.command(epilog="Example: scenerec validate train.yaml")(validate.validate)
app.command(epilog="Example: scenerec schema > train.schema.json")(schema.schema)
app.command(
    epilog="Example: scenerec convert resnet50_places365.pth.tar resnet50.keras\n\n"
    "Example: scenerec convert s3://scenes/runs/NAME served/ --to savedmodel --ema"
)(convert.convert)
app.command()(export.export)
app.command()(verify.verify)
app.command(
    epilog="Example: scenerec evaluate s3://scenes/runs/photos --report photos.html\n\n"
    "Example: scenerec evaluate photos-int8/ --data s3://scenes/val --compare s3://scenes/runs/photos\n\n"
    "Example: scenerec evaluate s3://scenes/runs/photos --data s3://scenes/places365/val --workers 16"
)(evaluate.evaluate)
app.command(epilog="Example: scenerec bench s3://scenes/runs/photos/bundles/fp32 --batch 1 --batch 8")(bench.bench)
app.command(
    epilog="Example: scenerec predict holiday.jpg --model s3://scenes/runs/photos/bundles/fp32\n\n"
    "Example: scenerec predict holidays/ --model photos --endpoint http://localhost:8000 --json"
)(predict.predict)
app.add_typer(tune.app, name="tune")
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data", callback=_reach_embedded_store)
app.add_typer(registry.app, name="registry")
app.add_typer(serve.app, name="serve")
app.add_typer(cluster.app, name="cluster")


def main() -> None:
    """The console script `scenerec`."""
    app()
