"""What makes a model of a finished training: it is evaluated, exported, registered; what is there is left as it is."""

from dataclasses import dataclass
from pathlib import Path

from scenerec.commands.results import write_result
from scenerec.commands.run_bundle import bundle_of_run
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.errors import CheckpointError, ConfigError
from scenerec.inference.bundles.bundle import open_bundle
from scenerec.inference.bundles.registry import Registry, Version
from scenerec.inference.evaluation.evaluator import Outcome, examine_here
from scenerec.inference.evaluation.report import render
from scenerec.inference.evaluation.request import EvaluationRequest, Subject
from scenerec.training.run_folder import RunFolder


@dataclass(frozen=True)
class Finished:
    """A model that can be served."""

    run: str
    """Its training."""
    model: str
    """Its name in the registry."""
    version: int
    """Its version there."""
    registry: str
    """The registry."""
    bundle: str
    """The exported model."""
    top1: float
    """Share of the validation images that it names rightly."""
    val_images: int
    """Images that it was validated on."""
    epoch: int
    """Epoch of the best checkpoint, which was exported."""
    epochs: int
    """Epochs of the training."""
    report: str
    """File of this machine: accuracy by class, confusions, calibration, pictures."""


def finish(run: RunFolder, report: Path, registry_url: str, verbose: bool = False) -> Finished:
    """Evaluates a finished run's best checkpoint, exports it to ONNX, and stores it as a version of the run's name.

    Raises CheckpointError where the run is not finished, and what evaluation, export and registry raise.
    """
    result, config = run.read_result(), run.read_config()
    if result is None:
        raise CheckpointError(f"{run.url}: is not finished: the same command again goes on with it")
    request = EvaluationRequest(subject=Subject(target=run.url), data=config.data.val)
    with quiet_frameworks(verbose) as terminal, ProgressBar("evaluating", "opening the model", terminal) as progress:
        outcome = examine_here(request, progress.show)
    if not isinstance(outcome, Outcome):
        raise ConfigError(f"{run.url}: gives several labels: evaluate, export and push it by commands of their own")
    write_result(report, render(outcome))
    bundle = bundle_of_run(run.url)
    version = _version(Registry(registry_url), bundle, config.name)
    evaluation = outcome.evaluations[0]
    return Finished(
        run=run.url,
        model=version.model,
        version=version.number,
        registry=registry_url,
        bundle=bundle,
        top1=evaluation.top1,
        val_images=evaluation.samples,
        epoch=result["best"]["epoch"],
        epochs=result["last"]["epoch"],
        report=str(report),
    )


def _version(registry: Registry, bundle: str, model: str) -> Version:
    """The version that holds the bundle, which is pushed if none does."""
    opened = open_bundle(bundle)
    for number in reversed(registry.version_numbers(model)):
        version = registry.version(model, number)
        if version.info.files == opened.info.files:
            return version
    return registry.push(opened, model)
