"""`scenerec data verify`: is a packed set as it was packed?"""

from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.data.packed import Location, Processes, open_packed, print_json
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.integrity import check_set
from scenerec.data.pool import default_processes, process_runner
from scenerec.errors import DataError

app = typer.Typer()


@app.command()
def verify(
    data: Location,
    decode: Annotated[bool, typer.Option(help="Decode every image, not only checksums and counts.")] = True,
    processes: Processes = None,
    as_json: options.Json = False,
) -> None:
    """Check a packed set: checksums, counts, labels, and that every image decodes.

    Lists what is wrong, and then exits with 4.

    Examples:

        scenerec data verify packed/train

        scenerec data verify s3://scenes/places365/train --no-decode
    """
    storage, manifest = open_packed(data)
    with ProgressBar("verifying") as progress:
        run = process_runner(processes or default_processes())
        report = check_set(storage, manifest, decode=decode, run=run, on_progress=progress.show)
    for defect in report.defects:
        typer.echo(f"{defect.shard}{' ' if defect.sample else ''}{defect.sample}: {defect.problem}")
    if not report.defects:
        decoded = ", every image decodes" if decode else ""
        typer.echo(f"{report.url}: {report.samples} samples in {report.shards} shards are as packed{decoded}.")
    if as_json:
        print_json(report)
    if report.defects:
        raise DataError(
            f"{report.url}: {len(report.defects)} problems in {report.shards} shards: pack or adopt the set again"
        )
