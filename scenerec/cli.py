"""The command line: a table of all commands. A command's module is imported when it runs or its help is asked for."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from scenerec import __version__
from scenerec.commands.lazy import Entry, Group, lazy_commands
from scenerec.commands.standard_streams import close_streams, complain, open_streams
from scenerec.errors import ScenerecError

COMMANDS: dict[str, Entry | Group] = {
    "train": Entry("train", "Train on a folder of photographs: from the images to a model that answers."),
    "init": Entry(
        "init", "Write a train.yaml for a folder of photographs or a packed set, with a reason above each value."
    ),
    "submit": Entry(
        "submit", "Run a training job, or a search for a better one, on a cluster and follow it to its end."
    ),
    "status": Entry(
        "status",
        "Show how a job is doing: its state, its newest epoch, what came of it. Without a name: the newest run.",
    ),
    "logs": Entry("logs", "Show what a job has printed, without Ray's own lines."),
    "list": Entry("list_jobs", "List the jobs of the cluster and the runs in the stores, the newest first."),
    "runs": Entry(
        "runs", "Show training runs beside each other: state, best epoch, and the settings in which they differ."
    ),
    "compare": Entry(
        "compare", "Compare training runs: figures, the settings in which they differ, and their curves as a page."
    ),
    "stop": Entry("stop", "End a job. Submitted again, its run goes on from the newest checkpoint."),
    "ls": Entry(
        "objects",
        "List what lies in a store or folder, with its size; of s3:// the embedded store's, unless you name another.",
    ),
    "cp": Entry("objects", "Copy an object or a folder, between stores and folders of this machine, whichever way."),
    "demo": Entry("demo", "From drawn scenes to an answered photograph, in both frameworks."),
    "validate": Entry(
        "validate", "Check a YAML file, without data or cluster, and print it with every default filled in."
    ),
    "schema": Entry("schema", "Print the JSON Schema of a file, by which editors complete and check it."),
    "convert": Entry(
        "convert", "Convert weights between our checkpoints, PyTorch, safetensors, .keras and SavedModel."
    ),
    "export": Entry("export", "Export a network to ONNX, verify it on real images, and pack it as a bundle."),
    "verify": Entry(
        "verify",
        "Check a bundle: its files, its golden images, and its answers on real images against the framework's.",
    ),
    "evaluate": Entry("evaluate", "Measure a model on a packed set: accuracy, confusions, calibration, speed."),
    "bench": Entry("bench", "Time a bundle on this machine, in turn with a bare onnxruntime session on the same file."),
    "predict": Entry("predict", "Name the scene on photographs, with a bundle on this machine or by an endpoint."),
    "watch": Entry(
        "watch", "Name the scene that a camera, a video or a stream shows, in real time, and tell when it changes."
    ),
    "tune": Group(
        "Look at a search, and take its best config.",
        {
            "show": Entry(
                "tune",
                "Show how a search stands: leaderboard, importance of each parameter, what stopping early has saved.",
            ),
            "config": Entry("tune", "Print the best config, or a trial's, as a train.yaml to be submitted."),
        },
    ),
    "models": Entry("models", "List the architectures, which train in either framework; `show` tells all about one."),
    "data": Group(
        "Make, look at and check packed data sets.",
        {
            "pack": Entry("data.pack", "Pack images into WebDataset shards and a manifest."),
            "add": Entry(
                "data.add", "Add images to packed sets: new shards behind the old ones, which stay as they are."
            ),
            "adopt": Entry("data.adopt", "Train on WebDataset shards that somebody else wrote, as they are."),
            "show": Entry(
                "data.show", "Show what a packed set holds: classes, counts, sizes, and a sheet of its pictures."
            ),
            "verify": Entry(
                "data.verify", "Check a packed set: checksums, counts, labels, and that every image decodes."
            ),
            "check": Entry(
                "data.check",
                "Check a data set: duplicates, labels that are likely wrong, blank, dark, blurred and tiny pictures.",
            ),
            "diff": Entry("data.diff", "Show what two packed sets differ in: classes, counts, options and samples."),
            "bench": Entry(
                "data.bench",
                "Time fetching, decoding, augmenting and batching a packed set on this machine, and say what limits.",
            ),
            "synthetic": Entry(
                "data.synthetic",
                "Draw a small ImageFolder of scenes (beach, city, forest, ...) to try everything with, "
                "and its places.csv.",
            ),
        },
    ),
    "registry": Group(
        "Keep models by version, and say which one is meant.",
        {
            "list": Entry("registry", "List the models, their versions and aliases."),
            "show": Entry(
                "registry",
                "Show one version: where it comes from, what was measured, and where its model's aliases stood.",
            ),
            "push": Entry("registry", "Store a bundle as the next version of a model."),
            "promote": Entry("registry", "Move an alias to a version, if it passes the gates."),
            "rollback": Entry("registry", "Move an alias back to where it stood before; again, and it returns."),
            "delete": Entry("registry", "Delete a version that no alias stands at; its number is not used again."),
        },
    ),
    "serve": Group(
        "Serve models over HTTP and gRPC, on a cluster.",
        {
            "deploy": Entry("serve", "Bring an application into service, or up to date, and wait until it answers."),
            "status": Entry("serve", "Show what runs, which versions answer, and what the roll-outs did."),
            "scale": Entry(
                "serve", "Change how many replicas an application may have. Those that stay are not touched."
            ),
            "rollback": Entry(
                "serve",
                "Move a model's alias back to the version before; what serves the alias follows within seconds.",
            ),
            "stop": Entry("serve", "End an application. Requests under way are answered first."),
            "key": Entry(
                "serve", "Make an API key, and note its hash in a file. What serves reads the file again by itself."
            ),
        },
    ),
    "cluster": Group(
        "The embedded cluster of this machine: a Ray node and an S3 store. `doctor` looks at any cluster.",
        {
            "up": Entry("cluster", "Start the cluster; what is up already is left as it is."),
            "down": Entry("cluster", "End the cluster, and nothing else. What the store holds stays."),
            "status": Entry(
                "cluster",
                "Show nodes, resources and addresses of the cluster that `submit` would use; "
                "of the embedded one, its store too.",
            ),
            "doctor": Entry(
                "doctor",
                "Look at every node of a cluster, embedded or your own: what is wrong, and what to do about it.",
            ),
            "env": Entry(
                "cluster",
                "Print the variables by which other programs reach the cluster and its store. They hold secrets.",
            ),
            "serve-env": Entry(
                "cluster",
                "Print the variables by which a node of your own cluster serves quickly and loses no request "
                "of a killed replica.",
            ),
            "monitoring": Entry(
                "monitoring",
                "Write what Prometheus and Grafana need to watch a cluster: targets, alert rules, dashboards.",
            ),
        },
    ),
}
"""Every command with the first line of its docstring, in the order of `scenerec --help`."""

_EXIT_CODES = (
    "Exit codes: 0 done, 2 a wrong option, config or plan, 3 storage, 4 data, 5 checkpoint or run, "
    "6 model, 7 cluster, 8 bundle, 9 registry, 10 endpoint, 11 a part that is not installed, "
    "130 interrupted or stopped, 1 anything else. An error is a line on stderr that names the remedy."
)


_OF_TYPER = (typer.Exit, typer.Abort, TyperException)  # the normal end, and usage errors


class _Commands(TyperGroup):
    """Ends a command with its error's lines and its exit code, never with a traceback."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": lazy_commands(COMMANDS)})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["words"] = list(args)  # as they were typed: parsing takes them apart
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _OF_TYPER:
            raise
        except ScenerecError as error:
            for line in str(error).splitlines():
                complain(f"error: {line}")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(130) from None
        except Exception as error:
            # Which few ever need.
            from scenerec.commands.parts import missing_part
            from scenerec.commands.unforeseen import explain

            command = _command(ctx.meta["words"])
            if isinstance(error, ModuleNotFoundError) and (missing := missing_part(error, command)):
                complain(f"error: {missing}")
                raise typer.Exit(missing.exit_code) from None
            raise typer.Exit(explain(error, command, ctx.meta["words"])) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train scene classifiers on a cluster: the same network in PyTorch and TensorFlow, from one YAML file.",
    epilog=_EXIT_CODES,
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
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Of an error that nobody has foreseen, show the traceback.")
    ] = False,
) -> None: ...


def _command(words: Sequence[str]) -> str:
    """The name of the command that was typed: `submit`, `data pack`."""
    named = [word for word in words if not word.startswith("-")]
    return " ".join(named[: 2 if named and isinstance(COMMANDS.get(named[0]), Group) else 1])


def main() -> None:
    """The console script `scenerec`."""
    open_streams()
    try:
        app()
    finally:
        if code := close_streams():
            sys.exit(code)
