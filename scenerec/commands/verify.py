"""`scenerec verify`: does a bundle answer as the network that it was made from?"""

import json
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.errors import ConfigError
from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.bundles.info import Verification
from scenerec.inference.predictors.golden import check_golden
from scenerec.inference.predictors.open_predictor import predictor_of

app = typer.Typer()


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder or s3:// prefix of `scenerec export`.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="SET", help="Packed set of real images.", show_default="the run's validation set"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="A run, a checkpoint or a weight file.", show_default="what it was exported from"
        ),
    ] = None,
    torch: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CALLABLE",
            help="Against the torch.nn.Module that this callable returns. Imports the module, and so runs its code.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    golden_only: Annotated[
        bool, typer.Option("--golden", help="Only the files and the golden images: needs no framework and no data.")
    ] = False,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Check a bundle: its files, its golden images, and its answers on real images against the framework's.

    Exits with 8 where it does not pass, and says by how much.

    Examples:

        scenerec verify runs/photos/bundles/fp32

        scenerec verify s3://scenes/models/photos/3 --data s3://scenes/places365/val --against s3://scenes/runs/photos
    """
    if against and torch:
        raise ConfigError("--against and --torch: each names a network: leave one out")
    use_store_environment()
    with quiet_frameworks(verbose):
        opened = open_bundle(options.location("BUNDLE", bundle))
        golden = check_golden(predictor_of(opened), opened)
        found = None if golden_only else _against_framework(opened, against, torch, data, images)
    if as_json:
        verification = found.model_dump(mode="json") if found else None
        typer.echo(json.dumps({"bundle": opened.url, "golden_difference": golden, "verification": verification}))
    else:
        _print(opened, golden, found)
    if found:
        from scenerec.export.verification import gate  # imported by now

        gate(opened.url, found, opened.info.precision)


def _against_framework(
    bundle: Bundle, against: str | None, torch: str | None, data: str | None, images: int
) -> Verification:
    # Imports torch, for which --golden need not wait; where TensorFlow greets, it is not heard.
    from scenerec.export.verification import source_of, verify_bundle

    source = source_of(bundle, options.location("--against", against) if against else None, torch)
    return verify_bundle(bundle, source, options.location("--data", data) if data else None, images)


def _print(bundle: Bundle, golden: float, found: Verification | None) -> None:
    typer.echo(f"{bundle.url}: {len(bundle.info.files)} files are as they were written")
    what = "features" if bundle.info.task == "embedding" else "logits"
    typer.echo(f"golden images: {what} differ by {golden:.1e} of their scale")
    if found:
        typer.echo(str(found))
