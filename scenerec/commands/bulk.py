"""Bulk prediction, as `scenerec predict --output` asks for it: here, or by a job of the cluster."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import typer

from scenerec.commands import options
from scenerec.commands.connect import connect_or_start
from scenerec.commands.image_location import ImageLocation
from scenerec.commands.kinds import PREDICT
from scenerec.commands.named_bundle import open_named
from scenerec.commands.parts import check_parts
from scenerec.commands.screen.answers import answer_words, unreadable_words
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.commands.send_job import job_name, run_job
from scenerec.errors import ConfigError, DataError, MissingPartError
from scenerec.inference.bulk.listing import check_sources
from scenerec.inference.bulk.prediction import PredictResult, bundle_sha256, check_output, output_form, predict_here
from scenerec.inference.bulk.request import FORMS, Form, PredictRequest, Question
from scenerec.inference.bundles.bundle import Bundle
from scenerec.storage import split_url
from scenerec.storage.writable import check_writable

_LISTS = "embeddings are lists, which CSV does not take: write .parquet or .jsonl"


@dataclass(frozen=True)
class BulkOptions:
    """What was typed of a bulk prediction beside images, model and coordinates."""

    output: str
    form: str | None
    batch_size: int
    images_per_part: int | None
    threads: int
    embeddings: bool
    workers: int
    address: str | None
    overwrite: bool
    keep_listing: bool


def predict_in_bulk(
    images: Sequence[str],
    model: str,
    registry: str,
    top_k: int,
    location: ImageLocation,
    typed: BulkOptions,
    as_json: bool,
) -> None:
    """Answers all images into a table, and says what came of it.

    Leaves with DataError's exit code where images cannot be read; the others have been answered.
    """
    output = options.location("--output", typed.output)
    form = _form(output, typed.form)
    if typed.embeddings and form == "csv":
        raise ConfigError(f"--embeddings: {_LISTS}")
    sources = tuple(_source(image) for image in images)
    check_sources(sources)
    client = connect_or_start(typed.address) if typed.workers else None
    bundle = open_named("--model", model, registry)
    location.check(bundle)
    gives_embeddings = bundle.info.task == "embedding"
    if gives_embeddings and form == "csv":
        raise ConfigError(f"--output {output}: {_LISTS}")
    check_writable(split_url(output)[0] if output_form(output) else output)
    request = PredictRequest(
        question=Question(
            sources=sources,
            model_sha256=bundle_sha256(bundle),
            form=form,
            top_k=top_k,
            batch_size=typed.batch_size,
            embeddings=typed.embeddings or gives_embeddings,
            images_per_part=typed.images_per_part,
            coordinates=location.given,
            coordinates_from_exif=location.from_exif,
        ),
        model=bundle.url,
        output=output,
        threads=typed.threads,
        workers=typed.workers,
        overwrite=typed.overwrite,
        keep_listing=typed.keep_listing,
    )
    check_output(request)
    if client:
        told = run_job(client, PREDICT, job_name("predict", output), request.model_dump_json(), output)
    else:
        told = asdict(_predict_here(request, bundle))
    typer.echo(json.dumps(told) if as_json else answer_words(told))
    if unreadable := unreadable_words(told):
        typer.echo(f"error: {unreadable}", err=True)
        raise typer.Exit(DataError.exit_code)


def _predict_here(request: PredictRequest, bundle: Bundle) -> PredictResult:
    with ProgressBar("predicting") as progress:
        try:
            return predict_here(request, bundle, progress.show)
        except KeyboardInterrupt:
            where = f"at {progress.done} of {progress.total} images" if progress.total else "before the first image"
            typer.echo(f"stopped {where}: the same command goes on from there", err=True)
            raise typer.Exit(130) from None


def _source(image: str) -> str:
    if image.lower().startswith(("http://", "https://")):
        raise ConfigError(f"IMAGE {image}: with --output, name files, folders, s3:// addresses or packed sets")
    return options.location("IMAGE", image)


def _form(output: str, typed: str | None) -> Form:
    """The format of the table. Raises ConfigError, and MissingPartError where it needs what is not installed."""
    named = output_form(output)
    form = named or next((form for form in FORMS if form == (typed or FORMS[0])), None)
    if form is None or (typed and typed != form):
        raise ConfigError(
            f"--format {typed}: " + (f"{output} is a .{form} file" if form else f"is none of {', '.join(FORMS)}")
        )
    if form == "parquet":
        try:
            check_parts("parquet")
        except ModuleNotFoundError:
            raise MissingPartError(
                "scenerec predict: Parquet needs pyarrow, --format csv and jsonl need nothing: "
                "pip install 'scenerec[parquet]'"
            ) from None
    return form
