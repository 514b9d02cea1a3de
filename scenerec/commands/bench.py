"""`scenerec bench`: how fast a bundle answers on this machine."""

import csv
import io
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenerec.commands import options
from scenerec.commands.named_bundle import open_named
from scenerec.commands.registry import DEFAULT_URL, RegistryUrl
from scenerec.commands.results import result_file, write_result
from scenerec.errors import BundleError

if TYPE_CHECKING:  # it imports onnxruntime
    from scenerec.inference.predictors.latency import Timing

app = typer.Typer()

_BATCH_SIZES = [1, 2, 4, 8, 16, 32]


@app.command(
    epilog="Example: scenerec bench s3://scenes/runs/photos --batch 1 --batch 8\n\n"
    "Example: scenerec bench photos@production --threads 4 --output speed.csv"
)
def bench(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE", help="A bundle (folder or s3://), a run (its folder or name), or a model of the registry."
        ),
    ],
    batch_sizes: Annotated[
        list[int], typer.Option("--batch", "-b", min=1, help="Batch size; may be repeated.", show_default="1 to 32")
    ] = [],  # noqa: B006 - typer copies it
    threads: Annotated[
        list[int],
        typer.Option("--threads", "-t", min=1, help="Threads; may be repeated.", show_default="1 to all cores"),
    ] = [],  # noqa: B006
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each line of the table.")] = 2.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the table to this CSV file.")
    ] = None,
    registry: RegistryUrl = DEFAULT_URL,
    as_json: options.Json = False,
) -> None:
    """Time a bundle on this machine, in turn with a bare onnxruntime session on the same file.

    A run that has no bundle yet is exported first, into RUN/bundles/fp32.
    RATIO is bare time / our time of a call, pair by pair: 1 is all that the machine gives.
    """
    from scenerec.inference.predictors.latency import measure  # onnxruntime, which the help does not need

    output = result_file("--output", output)
    opened = open_named("BUNDLE", bundle, registry)
    if opened.info.format != "onnx":
        raise BundleError(f"{bundle}: is a {opened.info.format} bundle: `scenerec bench` times ONNX bundles")
    counts = threads or [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= (os.cpu_count() or 1)]
    timings: list[Timing] = []
    for timing in measure(opened, batch_sizes or _BATCH_SIZES, counts, seconds):
        if not as_json:
            _print_row(timing, first=not timings)
        timings.append(timing)
    if output:
        _write_csv(output, timings)
    if as_json:
        typer.echo(json.dumps({"bundle": bundle, "timings": [asdict(timing) for timing in timings]}))


def _print_row(timing: "Timing", first: bool) -> None:
    if first:
        typer.echo("THREADS  BATCH    P50 ms    P99 ms  IMAGES/S  RAW P50 ms  RATIO")
    typer.echo(
        f"{timing.threads:7}  {timing.batch_size:5}  {timing.p50_ms:8.2f}  {timing.p99_ms:8.2f}  "
        f"{timing.images_per_s:8.1f}  {timing.raw_p50_ms:10.2f}  {timing.ratio:5.2f}"
    )


def _write_csv(path: Path, timings: "list[Timing]") -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(timings[0])])
    writer.writeheader()
    writer.writerows(asdict(timing) for timing in timings)
    write_result(path, table.getvalue())
