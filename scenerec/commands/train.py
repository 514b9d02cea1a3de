"""`scenerec train FOLDER`: from a folder of photographs to a registered model."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console

from cluster.client import ClusterClient
from scenerec.commands import options
from scenerec.commands.applications import application_of
from scenerec.commands.chosen_training import ChosenTraining, minutes_of, write_kept
from scenerec.commands.connect import connect_if_up, connect_or_start
from scenerec.commands.data.pack import pack_here
from scenerec.commands.data.packed import Processes
from scenerec.commands.finish_training import Finished, finish
from scenerec.commands.follow import STOPPED_EXIT_CODE, await_result
from scenerec.commands.free_run import await_free_run
from scenerec.commands.queue_options import queue_request
from scenerec.commands.registry import REGISTRY_VARIABLE
from scenerec.commands.results import result_file
from scenerec.commands.screen.choice_table import show_choice
from scenerec.commands.serve import check_place, example, put_into_service
from scenerec.commands.submit import start_job
from scenerec.commands.wishes import DEFAULT_MINUTES, DEFAULT_OUTPUT, Wishes
from scenerec.config.train import TrainConfig
from scenerec.data.packing.nesting import Nested
from scenerec.data.packing.pack import SplitResult
from scenerec.data.packing.raw_set import PACKED_ALL_THE_SAME
from scenerec.errors import CheckpointError, DataError
from scenerec.json_object import JsonObject
from scenerec.storage.writable import check_writable
from scenerec.training.choice.candidates import WEIGHTS
from scenerec.training.choice.weights_at_hand import bring_weights
from scenerec.training.plan import NodeResources
from scenerec.training.preflight import check_job
from scenerec.training.run_folder import RunFolder

app = typer.Typer()

_choices, _folder = map(options.panel, ("What is chosen, unless you say it", "What the folders mean"))

Data = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER",
        help="Photographs: CLASS/*.jpg, perhaps below train/ and val/; what else `data pack` takes; or a packed set.",
    ),
]
Minutes = Annotated[
    float, _choices(min=0.1, metavar="MINUTES", help="How long the training may take. Small data need fewer.")
]
Framework = Annotated[Literal["torch", "tensorflow"] | None, _choices(help="What trains.", show_default="torch")]
Arch = Annotated[str | None, _choices(metavar="ARCH", help="One of `scenerec models`.", show_default=False)]
Settings = Annotated[
    list[str],
    _choices("--set", metavar="KEY=VALUE", help="Any value of the train.yaml: data.image_size=96. May be repeated."),
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the run and the model.", show_default="that of the folder")
]
Output = Annotated[
    str,
    typer.Option(metavar="URL", help="Where all goes: sets/, runs/ and models/ below a bucket, a prefix, a folder."),
]
Splits = Annotated[
    str | None, _folder(metavar="SPLIT=FOLDER,...", help="As of `data pack`.", show_default="by their names")
]
NestedFolders = Annotated[Nested | None, _folder(help="As of `data pack`.", show_default="by their names")]


@app.command(
    epilog="Example: scenerec train photos/ --serve\n\n"
    "Example: scenerec train photos/ --minutes 10 --framework tensorflow\n\n"
    "Example: scenerec train photos/ --arch resnet50 --set data.image_size=224 --dry-run"
)
def train(
    data: Data,
    minutes: Minutes = DEFAULT_MINUTES,
    framework: Framework = None,
    arch: Arch = None,
    overrides: Settings = [],  # noqa: B006 - typer copies it
    name: Name = None,
    output: Output = DEFAULT_OUTPUT,
    splits: Splits = None,
    nested: NestedFolders = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Put the model into service, and say how it is asked.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete what the run has written, and begin anew.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done. Starts and writes nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it begins.")] = False,
    processes: Processes = None,
    address: options.Address = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Train on a folder of photographs: from the images to a model that answers.

    Looks at the images, chooses network, image size, batch, learning rate and
    epochs for them and for the machine, and says why. A folder without
    validation images is divided, class by class; what looks alike stays
    together. Then packs into the cluster's store, trains with a live view,
    evaluates, exports to ONNX, and registers the model; --serve puts it into
    service as well. Without a cluster, an embedded one is started on this
    machine.

    What it runs stands in NAME.yaml: yours to keep and to change. Ctrl-C leaves
    the training running; the same command goes on from there. What was done
    already is not done again.
    """
    wishes = Wishes(data, minutes, name, output, framework, arch, tuple(overrides), splits, nested, processes)
    console = Console(stderr=as_json)
    client = None
    if dry_run:
        client = connect_if_up(address)
    elif "://" in data:  # which may lie in the cluster's own store
        client = connect_or_start(address)
    chosen = ChosenTraining(wishes, "train")
    if dry_run:
        chosen.choose(client, chosen.file)
        _show(chosen, console)
        if as_json:
            typer.echo(json.dumps(_as_json(chosen)))
        return
    report = cast(Path, result_file("the report", Path(f"{chosen.name}.html")))
    in_store = "://" in chosen.output
    if not in_store:
        check_writable(chosen.output)
    client = client or connect_or_start(address)
    if in_store:  # which may be the cluster's own
        check_writable(chosen.output)
    registry = os.environ.get(REGISTRY_VARIABLE) or f"{chosen.output}/models"
    if serve:
        check_place(application_of(f"{chosen.name}@production", registry), client)
    run = RunFolder(chosen.run_url)
    config = None if restart else _there(run, chosen)
    if config:
        _say_what_is_there(run, config, chosen, console)
    else:
        config = _begin(chosen, client, console, restart, yes)
    if run.read_result() is None or restart:
        _train(client, config, console, verbose, restart)
    finished = finish(run, report, registry, verbose)
    endpoint = None
    if serve:
        application = application_of(f"{finished.model}:{finished.version}", registry)
        endpoint = put_into_service(application, client)["url"]
    if as_json:
        typer.echo(json.dumps({**asdict(finished), "endpoint": endpoint}))
    else:
        _show_end(finished, chosen.output, endpoint)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show(chosen: ChosenTraining, console: Console) -> None:
    for line in chosen.data.lines:
        _say(console, line)
    console.print()
    show_choice(chosen.choice, console)
    _say(console, f"\nabout {minutes_of(chosen.choice.estimated_s)} of training")


def _there(run: RunFolder, chosen: ChosenTraining) -> TrainConfig | None:
    """The config of the run that goes on, or is done; None of a new one. Raises CheckpointError where it is another."""
    if run.storage.size("config.yaml") is None:
        return None
    config = run.read_config()
    document = config.model_dump(mode="json")
    for key, value in chosen.stated.items():
        there = document
        for part in key.split("."):
            there = there[part] if isinstance(there, dict) else None
        if there != value:
            raise CheckpointError(
                f"{run.url}: is there, with {key} {there} and not {value}: --name NAME trains another one beside it, "
                "--restart begins it anew"
            )
    return config


def _say_what_is_there(run: RunFolder, config: TrainConfig, chosen: ChosenTraining, console: Console) -> None:
    _say(console, f"{run.url}: {'is trained already' if run.read_result() else 'has begun, and goes on'}")
    if chosen.has_changed_since(config):
        _say(
            console,
            f"warning: {chosen.wishes.data} holds other images than those that it learned from: --restart trains anew, "
            "--name NAME beside it",
        )


def _begin(chosen: ChosenTraining, client: ClusterClient, console: Console, restart: bool, yes: bool) -> TrainConfig:
    """Chooses, asks, packs, and writes the file."""
    chosen.choose(client, chosen.file)
    _show(chosen, console)
    chosen.check_room(client)
    if not yes and sys.stdin.isatty() and not typer.confirm("\nTrain?", default=True, err=True):
        raise typer.Exit(0)
    await_free_run(client, chosen.run_url)
    chosen.write_division()
    if chosen.request:
        for split in pack_here(chosen.request, chosen.wishes.processes, lambda line: None).splits:
            _say(console, _packed(split))
            if split.empty_classes:
                raise DataError(f"no image of {split.empty_classes[0]} can be decoded: see {split.url}/problems.jsonl")
    weights = chosen.choice.settings[WEIGHTS]
    if weights != "none" and WEIGHTS not in chosen.stated:
        bring_weights(f"{chosen.output}/runs", chosen.config.model.arch, weights)
    kept = write_kept(chosen.file, chosen.text)
    _say(console, f"written: {chosen.file}" + (f" (the one before is {kept} now)" if kept else ""))
    return chosen.config


def _packed(split: SplitResult) -> str:
    left_out = sum(count for kind, count in split.problems.items() if kind not in PACKED_ALL_THE_SAME)
    why = f", {left_out} left out (see problems.jsonl there)" if left_out else ""
    state = "is packed already" if split.complete_before else "packed"
    return f"{split.split}: {state}: {split.samples:,} images{why}: {split.url}"


def _train(client: ClusterClient, config: TrainConfig, console: Console, verbose: bool, restart: bool) -> None:
    """As `scenerec submit` does it; a job that is at the run already is followed."""
    at_work = [job for job in client.jobs() if job.run_url == config.run_url and not job.ended]
    if at_work and not restart:
        job_id = at_work[0].id
    else:
        preflight = check_job(config, [NodeResources(node.cpus, node.gpus) for node in client.nodes()], restart)
        await_free_run(client, config.run_url)
        if restart:
            RunFolder(config.run_url).clear()
        if preflight.resumes_at is not None:
            _say(console, f"goes on after step {preflight.resumes_at} of {preflight.plan.total_steps}")
        job_id = start_job(client, config, queue_request(config, ()))
    _say(console, f"job {job_id}, dashboard {client.address.url}")
    try:
        await_result(client, job_id, console, verbose)
    except typer.Exit as left:
        if left.exit_code == STOPPED_EXIT_CODE:
            typer.echo("The same command follows it, and makes a model of what it has learned.", err=True)
        raise


def _show_end(finished: Finished, output: str, endpoint: str | None) -> None:
    typer.echo()
    for what, value in (
        ("top-1", f"{finished.top1:.1%} on {finished.val_images} images, epoch {finished.epoch} of {finished.epochs}"),
        ("model", f"{finished.model}:{finished.version}, {finished.bundle}"),
        ("report", finished.report),
    ):
        typer.echo(f"{what:<9} {value}")
    if endpoint:
        typer.echo(f"\n{example(endpoint, finished.model, None)}")
        return
    registry = "" if output == DEFAULT_OUTPUT else f"SCENEREC_REGISTRY={finished.registry} "
    typer.echo(f"\nserve it  {registry}scenerec serve deploy {finished.model}:{finished.version}")
    typer.echo(f"ask it    {registry}scenerec predict PHOTO.jpg --model {finished.model}:{finished.version}")


def _as_json(chosen: ChosenTraining) -> JsonObject:
    return {
        "name": chosen.name,
        "run": chosen.run_url,
        "estimated_s": round(chosen.choice.estimated_s),
        "choices": [asdict(decision) for decision in chosen.choice.decisions],
        "config": chosen.config.model_dump(mode="json"),
        "pack": chosen.pack_command,
    }
