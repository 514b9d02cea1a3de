"""What is asked of an evaluation: the models, the set, and how; and what follows from a run where it is not said."""

import shlex
from typing import Any, Literal

import yaml
from pydantic import Field

from scenerec import __version__
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.errors import ConfigError, first_line
from scenerec.frozen import Frozen
from scenerec.inference.evaluation.crops import Crops
from scenerec.json_object import JsonObject
from scenerec.storage import open_storage

_DEFAULT_BATCH_SIZE = 32


class Subject(Frozen):
    """A model that is evaluated."""

    target: str
    """Address of the model: a run, a checkpoint, a bundle or a .tflite file; a folder, file or s3:// prefix."""
    framework: Literal["torch", "tensorflow"] | None = None
    """Framework that computes a checkpoint; by default the one that trained it."""
    checkpoint: str = "best"
    """Checkpoint of a run: `best`, `last` or a name."""


class EvaluationRequest(Frozen):
    """An evaluation to be made."""

    subject: Subject
    """Model that is evaluated."""
    other: Subject | None = None
    """Model that it is compared with."""
    data: str
    """Address of the packed set."""
    crops: Crops = 1
    """How many crops: 1 is the centre; 10 are the corners, the centre and their mirrors."""
    limit: int | None = Field(None, ge=1)
    """How many of the set's samples are evaluated, the first ones; none for all."""
    batch_size: int = Field(_DEFAULT_BATCH_SIZE, ge=1)
    """Images that the model is given at once; of ten crops, each counts."""
    threads: int = Field(0, ge=0)
    """Threads of the model, and as many that decode; 0: one a core."""
    workers: int = Field(0, ge=0)
    """Processes on a cluster; 0: none but this one."""
    gpus_per_worker: int = Field(0, ge=0)
    """GPUs that each process on a cluster reserves."""
    output: str | None = None
    """Folder or s3:// prefix for figures, predictions and report."""

    @property
    def images_per_batch(self) -> int:
        """Images whose crops make a batch."""
        return max(1, self.batch_size // self.crops)

    def samples_of(self, data: PackedSet) -> int:
        """Counts the set's samples that are evaluated."""
        return min(self.limit or data.manifest.samples, data.manifest.samples)

    @property
    def subjects(self) -> list[Subject]:
        """The model, and the one that it is compared with."""
        return [self.subject, *([self.other] if self.other else [])]

    @property
    def command(self) -> str:
        """Command line that asks for the same."""
        options: dict[str, object] = {
            "--framework": self.subject.framework,
            "--checkpoint": self.subject.checkpoint if self.subject.checkpoint != "best" else None,
            "--data": self.data,
            "--crops": self.crops if self.crops != 1 else None,
            "--limit": self.limit,
            "--batch-size": self.batch_size if self.batch_size != _DEFAULT_BATCH_SIZE else None,
            "--threads": self.threads or None,
            "--compare": self.other.target if self.other else None,
            "--compare-framework": self.other.framework if self.other else None,
            "--workers": self.workers or None,
            "--gpus-per-worker": self.gpus_per_worker or None,
            "--output": self.output,
        }
        given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
        return shlex.join(["scenerec", "evaluate", self.subject.target, *given])


_DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "config.yaml": (),
    "state.json": ("config",),
    "bundle.json": ("lineage", "config"),
}
"""File of a run, a checkpoint or a bundle -> where in it the training's config is."""


def own_data(target: str) -> str:
    """Finds the validation set of the training job that a run, checkpoint or bundle carries with it.

    Raises ConfigError where the target names none, or is not there.
    """
    if not target.endswith((".tflite", ".onnx")):
        storage = open_storage(target)
        described = [(file, keys) for file, keys in _DESCRIPTIONS.items() if storage.size(file) is not None]
        if not described:
            raise ConfigError(f"{target}: no run, checkpoint or bundle is there")
        for file, keys in described:
            try:
                found: Any = yaml.safe_load(storage.get(file))  # JSON is YAML
            except yaml.YAMLError as error:
                raise ConfigError(f"{target}/{file}: is damaged: {first_line(error)}") from None
            for key in (*keys, "data", "val"):
                found = found.get(key) if isinstance(found, dict) else None
            if found:
                return str(found)
    raise ConfigError(f"{target}: does not name a validation set: give one with --data SET")


def run_output(request: EvaluationRequest) -> str | None:
    """Names the place for an evaluation of a run, RUN/evaluations/SET-FINGERPRINT; None where the target is no run.

    Raises DataError, StorageError where the set does not open.
    """
    target = request.subject.target
    if target.endswith(".tflite") or open_storage(target).size("config.yaml") is None:
        return None
    fingerprint = open_set(request.data).manifest.fingerprint
    crops = "-10crops" if request.crops == 10 else ""
    return f"{target}/evaluations/{request.data.rpartition('/')[2]}-{fingerprint[:8]}{crops}"


def origin(request: EvaluationRequest, data: PackedSet, finished_at: str) -> JsonObject:
    """What evaluation.json says of where its figures come from, as plain JSON values."""
    return {
        "data": {
            "url": data.url,
            "fingerprint": data.manifest.fingerprint,
            "samples": data.manifest.samples,
            "classes": len(data.manifest.classes),
        },
        "request": request.model_dump(mode="json"),
        "command": request.command,
        "finished_at": finished_at,
        "scenerec": __version__,
    }
