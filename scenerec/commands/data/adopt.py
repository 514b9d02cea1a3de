"""`scenerec data adopt`: WebDataset shards that somebody else wrote become a packed set."""

import re
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.data.packed import Processes, print_json
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.adoption.adopt import Adoption, AdoptRequest
from scenerec.data.adoption.adopt import adopt as adopt_shards
from scenerec.data.labels import RULE_PATTERN
from scenerec.data.pool import default_processes, process_runner
from scenerec.errors import ConfigError, DataError
from scenerec.inference.predictors.trained_model import read_labels
from scenerec.names import printable

app = typer.Typer()

_SHOWN_MISFITS = 20
_SHOWN_CLASSES = 8
_KINDS = {
    "shard": "unusable shards",
    "image": "without one image",
    "label": "without one label of a class",
    "doubled": "with a key that stands twice",
    "unreadable": "that cannot be decoded",
}


@app.command()
def adopt(
    shards: Annotated[
        list[str],
        typer.Argument(metavar="SHARDS...", help="Tars (.tar, .tar.gz, .tgz), patterns of their names, or a folder."),
    ],
    labels: Annotated[
        str,
        typer.Option(
            metavar="cls|txt|json:FIELD",
            help="What of a sample says its class: KEY.cls (an index or a name), KEY.txt (a name) or a field of "
            "KEY.json (a number is an index, a text a name).",
        ),
    ] = "cls",
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The class names, one a line in order of class index.",
            show_default="the names that occur, in alphabetical order, or the indices",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which split it is: the manifest goes into a folder of this name beside the shards.")
    ] = "",
    output: Annotated[
        str | None,
        typer.Option(metavar="DEST", help="Where the manifest goes.", show_default="beside the shards"),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out samples and shards that cannot be trained on.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the manifest of an earlier adoption.")
    ] = False,
    processes: Processes = None,
    as_json: options.Json = False,
) -> None:
    """Train on WebDataset shards that somebody else wrote, as they are.

    Each shard is read once: every image is decoded, every label read, and a manifest is written beside the shards,
    which are not changed. Then the folder is a packed set like any other, for `data show`, `data verify` and `submit`.
    SHARDS are addresses or paths with braces, wildcards, or a folder. A sample is what WebDataset takes for one: files
    with one name before the first dot, of which one is an image (.jpg, .jpeg, .png, .webp, .gif or .bmp). Nothing is
    ever unpickled. Samples without image or label, keys that stand twice, pictures that cannot be decoded and truncated
    shards are listed, and then nothing is adopted, unless --skip-bad leaves them out.

    Examples:

        scenerec data adopt 's3://scenes/shard-{000..146}.tar'

        scenerec data adopt laion/ --labels json:label --classes names.txt

        scenerec data adopt 's3://scenes/imagenet-val-*.tar' --split val
    """
    use_store_environment()
    if not re.fullmatch(RULE_PATTERN, labels):
        raise ConfigError(f"--labels {labels}: is none of cls, txt, labels.json, json:FIELD and json:FIELD[]")
    request = AdoptRequest(
        shards=tuple(options.location("SHARDS", each) for each in shards),
        labels=labels,
        classes=read_labels(options.location("--classes", classes)) if classes else (),
        split=split,
        output=options.location("--output", output) if output is not None else "",
        skip_bad=skip_bad,
        overwrite=overwrite,
    )
    with ProgressBar("adopting", unit="shards") as progress:
        try:
            found = adopt_shards(request, process_runner(processes or default_processes()), progress.show)
        except KeyboardInterrupt:
            typer.echo(f"stopped at {progress.done} of {progress.total} shards: nothing was written", err=True)
            raise typer.Exit(130) from None
    _print_misfits(found)
    if found.written:
        _print_adopted(found)
    if as_json:
        print_json(found)
    if not found.written:
        raise DataError(
            f"{found.url}: nothing was adopted: {_counted(found)}: mend them, or leave them out with --skip-bad"
        )


def _print_misfits(found: Adoption) -> None:
    for misfit in found.misfits[:_SHOWN_MISFITS]:
        typer.echo(f"{printable(misfit.shard)}: {misfit.detail}", err=True)
    if more := sum(found.kinds.values()) - min(len(found.misfits), _SHOWN_MISFITS):
        typer.echo(f"and {more} more", err=True)


def _counted(found: Adoption) -> str:
    return ", ".join(f"{count} {_KINDS.get(kind, f'of a {kind}')}" for kind, count in sorted(found.kinds.items()))


def _print_adopted(found: Adoption) -> None:
    names = [*found.classes[:_SHOWN_CLASSES], *(["..."] if len(found.classes) > _SHOWN_CLASSES else [])]
    typer.echo(
        f"{found.samples} images of {len(found.classes)} classes in {found.shards} shards, "
        f"{found.size_bytes / 1e6:.1f} MB: {found.url}"
    )
    typer.echo(f"  classes: {', '.join(map(printable, names))}")
    if found.empty_classes:
        typer.echo(f"  warning: of {found.empty_classes} classes there is no image", err=True)
    if found.turned:
        typer.echo(f"  {found.turned} are upright by EXIF alone: each is turned whenever it is read")
    if found.kinds:
        typer.echo(f"  left out: {_counted(found)}")
    typer.echo(f"{found.seconds:.1f} s, {found.images_per_s:.0f} images/s")
