"""`scenerec evaluate`: how good a model is, on a packed set; alone or beside another."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cluster.client import ClusterClient
from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.connect import connect_or_start
from scenerec.commands.evaluate_embedding import evaluate_embedding, gives_embeddings
from scenerec.commands.kinds import EVALUATE
from scenerec.commands.results import result_file, write_result
from scenerec.commands.run_bundle import model_location
from scenerec.commands.screen.label_figures import print_labels
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.commands.send_job import job_name, run_job
from scenerec.errors import ConfigError
from scenerec.frozen import find_problems
from scenerec.inference.evaluation.evaluator import AnyOutcome, examine_here
from scenerec.inference.evaluation.report import REPORT_FILE, render, write_outcome
from scenerec.inference.evaluation.request import EvaluationRequest, own_data, run_output
from scenerec.json_object import JsonObject
from scenerec.storage import open_storage
from scenerec.storage.writable import check_writable

app = typer.Typer()

_images, _model, _comparison, _cluster, _results = map(
    options.panel, ("Images", "Model", "Comparison", "Cluster", "Results")
)

_LISTED = 5
_FRAMEWORKS = "torch or tensorflow: runs a checkpoint; by default the one that trained it."


@app.command(
    epilog="Example: scenerec evaluate photos --report photos.html\n\n"
    "Example: scenerec evaluate photos-int8/ --data s3://scenes/val --compare s3://scenes/runs/photos\n\n"
    "Example: scenerec evaluate s3://scenes/runs/photos --data s3://scenes/places365/val --workers 16"
)
def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A run (its name or its folder), a checkpoint, a bundle or a .tflite file; local or s3://.",
        ),
    ],
    data: Annotated[
        str | None, _images(metavar="SET", help="A packed set.", show_default="the validation set of TARGET's training")
    ] = None,
    framework: Annotated[str | None, _model(metavar="FRAMEWORK", help=_FRAMEWORKS, show_default=False)] = None,
    checkpoint: Annotated[str, _model(metavar="NAME", help="Of a run: best, last or a name.")] = "best",
    compare: Annotated[
        str | None,
        _comparison(metavar="OTHER", help="Evaluate OTHER as well: agreement, and whether the difference is chance."),
    ] = None,
    compare_framework: Annotated[
        str | None, _comparison(metavar="FRAMEWORK", help="As --framework, for OTHER.", show_default=False)
    ] = None,
    crops: Annotated[
        int, _images(help="1: the centre; 10: corners, centre and their mirrors, probabilities averaged.")
    ] = 1,
    limit: Annotated[int | None, _images(min=1, metavar="N", help="Only the set's first N images.")] = None,
    batch_size: Annotated[int, _model(min=1, help="Images that the model is given at once.")] = 32,
    threads: Annotated[int, _model(min=0, help="Cores to use; 0: all. With --workers: of each, 0 is 1.")] = 0,
    workers: Annotated[int, _cluster(min=0, metavar="N", help="Share the set out to N processes of a cluster.")] = 0,
    gpus_per_worker: Annotated[int, _cluster(min=0, help="With --workers.")] = 0,
    address: options.Address = None,
    output: Annotated[
        str | None,
        _results(
            "--output",
            "-o",
            metavar="URL",
            help="Folder or s3:// prefix for figures (evaluation.json), predictions and report. "
            "With --workers by default TARGET/evaluations/SET, where TARGET is a run.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None, _results(metavar="FILE.html", help="Write the report, one file with pictures, here.")
    ] = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure a model on a packed set: accuracy, confusions, calibration, speed.

    A bundle that gives embeddings is judged by a labelled set (--data): by the classes of an image's nearest others.
    Images are prepared as training prepares those that it validates on. A model that reads coordinates is told those of
    the set, and asked a second time without them: both accuracies are shown.
    """
    report = result_file("--report", report)
    client = connect_or_start(address) if workers else None
    use_store_environment()
    target = model_location("TARGET", target)
    if gives_embeddings(target):
        asked = {"compare": compare, "framework": framework, "workers": workers, "output": output, "report": report}
        if option := next((name for name, given in asked.items() if given), "crops" if crops > 1 else None):
            raise ConfigError(f"--{option}: is for models that name classes, and {target} gives embeddings")
        evaluate_embedding(
            target, options.location("--data", data) if data else None, limit, batch_size, threads, as_json
        )
        return
    request = _request(
        subject={"target": target, "framework": framework, "checkpoint": checkpoint},
        other={"target": model_location("--compare", compare), "framework": compare_framework} if compare else None,
        data=options.location("--data", data) if data else None,
        crops=crops,
        limit=limit,
        batch_size=batch_size,
        threads=max(threads, 1) if workers else threads,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        output=options.location("--output", output) if output else None,
    )
    if client and report and not request.output:
        raise ConfigError("--report: with --workers and a TARGET that is no run, --output is needed as well")
    if client:
        outcome, result = None, _on_cluster(client, request)
    else:
        outcome = evaluate_here(request, verbose)
        result = outcome.as_dict()
    if as_json:
        typer.echo(json.dumps(result))
    else:
        show = print_labels if result.get("task") == "multilabel" else _print
        show(result)
    _write(outcome, request.output, report)  # last: what is shown is not lost where this fails
    for place in (request.output, report):
        if place and not as_json:
            typer.echo(f"written: {place}")


def _request(subject: JsonObject, data: str | None, **fields: Any) -> EvaluationRequest:
    try:
        request = EvaluationRequest.model_validate({"subject": subject, "data": data or "", **fields})
    except ValidationError as error:
        problem = find_problems(error)[0]
        names = {"subject": "", "other": "compare_"}
        option = "".join(names.get(str(part), str(part)) for part in problem.field).replace("_", "-")
        raise ConfigError(f"--{option}: {problem.message}") from None
    if not data:
        request = request.model_copy(update={"data": own_data(request.subject.target)})
    if request.workers and not request.output:
        request = request.model_copy(update={"output": run_output(request)})
    return request


def evaluate_here(request: EvaluationRequest, verbose: bool = False) -> AnyOutcome:
    """Evaluates in this process, with a bar. Raises ScenerecError, for an output that cannot be written at once."""
    if request.output:
        check_writable(request.output)
    with quiet_frameworks(verbose) as terminal, ProgressBar("evaluating", "opening the model", terminal) as progress:
        return examine_here(request, progress.show)


def _on_cluster(client: ClusterClient, request: EvaluationRequest) -> JsonObject:
    name = job_name("evaluate", request.subject.target)
    framework, output = request.subject.framework or "-", request.output or "-"
    return run_job(client, EVALUATE, name, request.model_dump_json(), output, framework)


def _write(outcome: AnyOutcome | None, output: str | None, report: Path | None) -> None:
    """Writes what was found here; of a cluster's evaluation, whose job has written all, the report is copied."""
    if outcome and output:
        write_outcome(outcome, output)
    if report and outcome:
        write_result(report, render(outcome))
    elif report and output:
        write_result(report, open_storage(output).get(REPORT_FILE))


def _print(result: JsonObject) -> None:
    models = [each for each in (result["evaluation"], result["other"]) if each]
    set_ = result["data"]
    typer.echo(f"{models[0]['samples']} of {set_['samples']} images of {set_['classes']} classes, {set_['url']}")
    subjects = (result["request"]["subject"], result["request"]["other"])
    for letter, model, subject in zip("AB", models, subjects, strict=False):
        named = model["predictor"] + (f", in {subject['framework']}" if subject["framework"] else "")
        typer.echo(f"{letter}: {named}" if len(models) > 1 else named)
    typer.echo()
    for name, cells in _rows(models):
        typer.echo(f"{name:<21}" + "".join(f"{cell:>12}" for cell in cells))
    if len(models) == 1:
        _print_coverage(models[0])
        _print_weak_points(models[0])
    else:
        _print_comparison(result["comparison"])


def _rows(models: list[JsonObject]) -> list[tuple[str, list[str]]]:
    shares = {
        "top-1": "top1",
        "top-5": "top5",
        "mean class accuracy": "mean_class_accuracy",
        "calibration error": "calibration_error",
    }
    rows = [(name, [_percent(model[key]) for model in models]) for name, key in shares.items()]
    intervals = [[100 * bound for bound in model["top1_interval"]] for model in models]
    rows.insert(1, ("  95 % interval", [f"{low:.1f} - {high:.1f}" for low, high in intervals]))
    if any(model.get("top1_without_coordinates") is not None for model in models):
        told = [model.get("top1_without_coordinates") for model in models]
        rows.insert(2, ("  without coordinates", ["-" if each is None else _percent(each) for each in told]))
    if any(model.get("top1_center_crop") is not None for model in models):
        alone = [model.get("top1_center_crop") for model in models]
        rows.insert(2, ("  by the centre alone", ["-" if each is None else _percent(each) for each in alone]))
    rows.append(("loss", [f"{model['loss']:.4f}" for model in models]))
    if any(model["loss_unscaled"] is not None for model in models):
        before = [(model["calibration_error_unscaled"], model["loss_unscaled"]) for model in models]
        rows.insert(-1, ("  at temperature 1", ["-" if error is None else _percent(error) for error, _ in before]))
        rows.append(("  at temperature 1", ["-" if loss is None else f"{loss:.4f}" for _, loss in before]))
    rows.append(("images/s", [f"{model['images_per_s']:.1f}" for model in models]))
    if all(model["model_images_per_s"] for model in models):
        rows.append(("  the model alone", [f"{model['model_images_per_s']:.1f}" for model in models]))
    return [("", list("AB")), *rows] if len(models) > 1 else rows


def _print_coverage(model: JsonObject) -> None:
    """What is right of the answers, if those alone are given of which the model is surest."""
    typer.echo("\nanswers from    of images    right    95 % interval")
    rows = [*model["risk_coverage"], *([{**model["answered"], "own": True}] if model["answered"] else [])]
    for row in sorted(rows, key=lambda row: -row["answered"]):
        low, high = (100 * bound for bound in row["precision_interval"])
        own = "  <- below, it abstains" if row.get("own") else ""
        typer.echo(
            f"{row['threshold']:>12.4f}  {_percent(row['coverage']):>10}  {_percent(row['precision']):>8}    "
            f"{low:.1f} - {high:.1f}{own}"
        )


def _print_weak_points(model: JsonObject) -> None:
    present = [each for each in model["classes"] if each["samples"]]
    hardest = sorted(present, key=lambda each: each["accuracy"])[:_LISTED]
    typer.echo("\nhardest classes")
    for each in hardest:
        typer.echo(f"{_percent(each['accuracy']):>9}  {each['name']} ({each['correct']} of {each['samples']})")
    if model["confusions"]:
        typer.echo("\nworst confusions")
    for pair in model["confusions"][:_LISTED]:
        typer.echo(f"{pair['count']:>9}  {pair['label']} -> {pair['predicted']} ({pair['share']:.0%} of its class)")


def _print_comparison(comparison: JsonObject) -> None:
    typer.echo(f"\nagreement            {_percent(comparison['agreement']):>12}")
    counts = {
        "both right": "both_right",
        "only A right": "only_a",
        "only B right": "only_b",
        "both wrong": "both_wrong",
    }
    for name, key in counts.items():
        typer.echo(f"{name:<21}{comparison[key]:>12}")
    typer.echo(f"\n{comparison['sentence']}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
