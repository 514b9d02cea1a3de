"""`scenerec convert`: weights from one format to another."""

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.run_bundle import model_location
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.errors import ConfigError, StorageError
from scenerec.models.neutral import shown_key
from scenerec.models.weights.conversion import Conversion
from scenerec.models.weights.conversion import convert as convert_weights
from scenerec.models.weights.files import is_there
from scenerec.models.weights.formats import SUFFIXES, file_format, written_format
from scenerec.storage import split_url
from scenerec.storage.writable import check_writable

app = typer.Typer()

_SHOWN = 5


@app.command(
    epilog="Example: scenerec convert resnet50_places365.pth.tar resnet50.keras\n\n"
    "Example: scenerec convert s3://scenes/runs/NAME served/ --to savedmodel --ema"
)
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A run (its name or its folder; its best checkpoint), a checkpoint, a SavedModel that this command "
            f"wrote, or a {SUFFIXES} file; a path or s3://.",
        ),
    ],
    dest: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="A .safetensors, .pth, .pt, .pth.tar or .keras file or, with --to, a folder; a path or s3://.",
        ),
    ],
    to: Annotated[
        Literal["savedmodel", "checkpoint"] | None,
        typer.Option(
            help="What the folder DEST is to be. A checkpoint holds the weights alone, without an optimizer's state: "
            "a run can start from it (model.weights), but not resume.",
            show_default=False,
        ),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(help="The architecture, where SOURCE does not tell: see `scenerec models`.", show_default=False),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the images in pixels, which is fixed in .keras and a SavedModel. By default SOURCE's, else "
            "that of the architecture's published weights.",
            show_default=False,
        ),
    ] = None,
    ema: Annotated[bool, typer.Option("--ema", help="Take the moving averages of the weights.")] = False,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Let weights that SOURCE lacks, or has in another shape, be drawn at random."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at DEST.")] = False,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Convert weights between our checkpoints, PyTorch, safetensors, .keras and SavedModel.

    The values stay the same, bit by bit. Weights that do not fit the
    architecture are an error, which lists the keys. Nothing is unpickled
    but tensors and plain values.

    A .pth loads strictly into torchvision's model. A SavedModel needs
    nothing but TensorFlow; a .keras file also scenerec.models.keras_twin.bindings.
    """
    source, dest = model_location("SOURCE", source), options.location("DEST", dest)
    use_store_environment()
    kind = _destination_format(dest, to)
    if not force and is_there(dest):
        raise StorageError(f"{dest}: is there already: --force replaces it")
    check_writable(dest if kind == to else split_url(dest)[0])
    with quiet_frameworks(verbose):
        done = convert_weights(source, dest, kind, arch, image_size, averaged=ema, partial=partial)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        _show(done)


def _destination_format(dest: str, to: str | None) -> str:
    if to and (kind := file_format(dest)):
        raise ConfigError(f"--to {to}: this is a folder, but DEST ends as a {kind} file: {dest}")
    kind = written_format(dest)
    if kind is None and to is None:
        raise ConfigError(
            f"DEST {dest}: must end in .safetensors, .pth or .keras, or be a folder: add --to savedmodel or checkpoint"
        )
    return kind or str(to)


def _show(done: Conversion) -> None:
    for what, value in (
        ("source", f"{done.source} ({done.source_format})"),
        ("network", f"{done.arch}, {done.classes} classes, {done.image_size} px"),
        ("removed", ", ".join(f"`{shown_key(prefix)}` before the keys" for prefix in done.removed)),
        ("left out", _few(done.left_out)),
        ("drawn", _few(done.drawn)),
        ("written", f"{done.destination} ({done.destination_format}): {done.tensors} tensors, {done.size_bytes} bytes"),
    ):
        if value:
            typer.echo(f"{what:<9} {value}")


def _few(keys: tuple[str, ...]) -> str:
    more = f" and {len(keys) - _SHOWN} more (--json lists them)" if len(keys) > _SHOWN else ""
    return ", ".join(map(shown_key, keys[:_SHOWN])) + more
