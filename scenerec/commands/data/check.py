"""`scenerec data check`: which pictures of a data set somebody should look at."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.data.pack import parsed_splits
from scenerec.commands.data.packed import Processes
from scenerec.commands.results import result_file, write_result
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.nesting import Nested
from scenerec.data.pool import default_processes, process_runner
from scenerec.data.quality.findings import Findings, judge
from scenerec.data.quality.report import page, shown, table
from scenerec.data.quality.sources import Part, folder_parts, packed_parts, read_facts, read_pictures
from scenerec.data.splits import SPLITS
from scenerec.errors import ConfigError
from scenerec.storage import open_storage

app = typer.Typer()

_SHOWN = 10


@app.command()
def check(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder of images as `data pack` takes it, or a packed set.")
    ],
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with the pictures.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a table, for `data pack --exclude`.", show_default=False),
    ] = None,
    splits: Annotated[
        str | None, typer.Option(metavar="SPLIT=FOLDER,...", help="As of `data pack`.", show_default=False)
    ] = None,
    nested: Annotated[Nested | None, typer.Option(help="As of `data pack`.", show_default=False)] = None,
    processes: Processes = None,
    as_json: options.Json = False,
) -> None:
    """Check the pictures of a data set: duplicates, blank, dark, blurred, tiny and odd ones, rare classes.

    Pictures that look alike count as duplicates, whatever their size and encoding: in training and in evaluation
    (leaked), under two classes (conflict), or in one class. Nothing is changed; take rows out of the table that should
    stay, and give it to `scenerec data pack --exclude`.

    Examples:

        scenerec data check photos/ --report check.html --csv check.csv

        scenerec data check s3://scenes/photos --json
    """
    written = result_file("--report", report), result_file("--csv", csv)
    use_store_environment()
    where = options.location("DATA", data)
    parts = _parts(where, Choices(splits=parsed_splits(splits), nested=nested))
    with ProgressBar("looking") as progress:
        run = process_runner(processes or default_processes())
        findings = judge(read_facts(parts, run, progress.show))
    if written[0]:
        paths = [path for some in shown(findings).values() for each in some for path in (each.path, each.twin)]
        write_result(written[0], page(where, findings, read_pictures(parts, paths)))
    if written[1]:
        write_result(written[1], table(findings))
    if as_json:
        typer.echo(json.dumps(_json(findings)))
    else:
        _show(findings, *written)


def _parts(where: str, choices: Choices) -> list[Part]:
    """What is read. Raises DataError for what is no data set, ConfigError for options that a packed one has not."""
    storage = open_storage(where)
    keys = (MANIFEST_KEY, *(f"{split}/{MANIFEST_KEY}" for split in SPLITS))
    is_packed = "://" in where or any(storage.size(key) is not None for key in keys)
    if not is_packed:
        return [*folder_parts(options.local_path("DATA", Path(where)), choices)]
    if choices != Choices():
        raise ConfigError(f"{where}: is packed, its splits and classes are known: leave --splits and --nested out")
    return [*packed_parts(where)]


def _show(findings: Findings, report: Path | None, csv: Path | None) -> None:
    for kind, count in findings.counts.items():
        typer.echo(f"{kind}: {count}")
        for each in [each for each in findings.found if each.kind is kind][:_SHOWN]:
            typer.echo(f"  {each.path}: {each.detail}")
        if count > _SHOWN:
            typer.echo(f"  ... and {count - _SHOWN} more")
    if findings.few:
        typer.echo(f"few images: {', '.join(f'{name} {count}' for name, count in findings.few.items())}")
    typer.echo(f"{findings.pictures} pictures, {len(findings.found)} to look at")
    for what, file in (("report", report), ("table", csv)):
        if file:
            typer.echo(f"{what}: {file}")


def _json(findings: Findings) -> dict[str, object]:
    return {
        "pictures": findings.pictures,
        "counts": findings.counts,
        "few": findings.few,
        "findings": [
            {
                "kind": e.kind,
                "path": e.path,
                "split": e.split,
                "class": e.class_name,
                "detail": e.detail,
                "twin": e.twin,
            }
            for e in findings.found
        ],
    }
