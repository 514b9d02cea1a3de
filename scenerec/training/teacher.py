"""The teacher of a distillation: found by what `optimize.distill` names, and checked against what is to be learned."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from scenerec.checkpoint import STATE_FILE, list_checkpoints
from scenerec.config.distill import DistillConfig
from scenerec.config.run import RunConfig
from scenerec.config.task import ModelTask
from scenerec.config.train import TrainConfig
from scenerec.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    ModelError,
    NotFoundError,
    PlanError,
    RegistryError,
)
from scenerec.inference.bundles.bundle import INFO_FILE, NOT_OF_THE_MODEL, Bundle, open_bundle
from scenerec.inference.bundles.registry import Registry, parse_reference
from scenerec.inference.predictors.trained_model import ZooNetwork, load_trained
from scenerec.models.neutral import State, StateError, check_fits
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing
from scenerec.models.weights.files import head_classes, is_there
from scenerec.models.weights.formats import file_format
from scenerec.models.weights.licences import describe_licence, forbids_commercial_use
from scenerec.models.weights.origin import RANDOM, Origin, find_origin
from scenerec.models.weights.preprocessing import find_preprocessing
from scenerec.models.weights.published import find_weights, is_name
from scenerec.models.zoo import architecture, check_image_size
from scenerec.names import clean, few
from scenerec.storage import IMPATIENT, Patience, open_storage, split_url
from scenerec.training.weight_source import WeightSource

FIELD = "optimize.distill.teacher"
"""The config's field that names the teacher."""

_REMEDY = (
    "name a run's folder (OUTPUT/NAME), a checkpoint, a bundle, REGISTRY/NAME@ALIAS, or weights (a published name, a "
    "URL or a file)"
)
_DIGITS = 16  # of a digest


@dataclass(frozen=True)
class Teacher:
    """A trained network from whose answers another one learns."""

    address: str
    """Where exactly it is: a checkpoint, a bundle, a file, a URL or a published name."""
    network: ZooNetwork | Bundle
    """The network with its weights."""
    labels: tuple[str, ...]
    """Class names in order of class index; empty where they are not known."""
    image_size: int
    """Side in pixels of the images that it is shown."""
    preprocessing: WeightPreprocessing = IMAGENET
    """What its weights expect of the pixels; a bundle sees to that itself."""

    @property
    def classes(self) -> int:
        """Number of its classes."""
        return len(self.network.info.labels) if isinstance(self.network, Bundle) else self.network.classes

    @property
    def words(self) -> str:
        """What it is, for people: `resnet50`, `a bundle (int8)`."""
        network = self.network
        return f"a bundle ({network.info.precision})" if isinstance(network, Bundle) else network.arch

    @property
    def digest(self) -> str:
        """SHA-256 of the network, wherever it lies: 16 hexadecimal digits of it."""
        if isinstance(self.network, Bundle):
            files = self.network.info.files.items()
            words = [f"{name} {file.sha256}" for name, file in sorted(files) if name not in NOT_OF_THE_MODEL]
            return hashlib.sha256(" ".join(words).encode()).hexdigest()[:_DIGITS]
        return _digest(self.network.arch, self.network.state)


@dataclass(frozen=True)
class TeacherPlan:
    """What is known of a job's teacher before it starts."""

    address: str
    """Where exactly it is: of a run the checkpoint, of an alias the version."""
    network: str
    """What it is, in words."""
    image_size: int
    """Side in pixels of the images that it is shown."""
    digest: str
    """Digest of its weights, part of the run's identity."""
    order: Literal["same", "other", "unknown"]
    """The order of its classes, beside that of the data."""
    temperature: float
    """What the logits are divided by."""
    weight: float
    """Its share of the loss."""
    origin: Origin = field(default_factory=partial(Origin, RANDOM))
    """What it began as, and the licence of that, which goes into the student's card."""

    def __str__(self) -> str:
        share = "all of the loss (no label is read)" if self.weight == 1 else f"{self.weight:.3g} of the loss"
        order = {
            "same": "",
            "other": "; its classes are brought into the order of the data",
            "unknown": "; it does not tell its classes' names, which are taken to be in the order of the data",
        }[self.order]
        where = f"{self.network} at {self.image_size} px, {self.address}"
        forbidding = map(describe_licence, filter(forbids_commercial_use, self.origin.licences))
        return "; ".join((f"{where}: {share}, temperature {self.temperature:g}{order}", *forbidding))


def plan_teacher(config: TrainConfig, classes: Sequence[str], download: bool = False) -> TeacherPlan | None:
    """Finds the teacher and checks it against the `classes` that are learned; None where the config has none.

    With `download` published weights and those at a URL come into the store.

    Raises:
        PlanError: its classes are others, or it cannot see images of the size that is asked.
        ModelError, CheckpointError, BundleError, RegistryError, StorageError: it is not there, or it is damaged.
    """
    distill = config.optimize.distill
    if distill is None:
        return None
    teacher = find_teacher(distill, config.output, IMPATIENT if download else config.data.patience, download)
    _check_classes(teacher, classes)
    if config.compute.compile and config.framework == "tensorflow" and isinstance(teacher.network, Bundle):
        raise PlanError(
            f"{FIELD}: {teacher.address}: XLA cannot compile what a bundle computes: leave compute.compile out, or "
            "name the run that the bundle was made from"
        )
    order: Literal["same", "other", "unknown"] = "same" if teacher.labels else "unknown"
    if class_order(teacher, classes) is not None:
        order = "other"
    return TeacherPlan(
        address=teacher.address,
        network=teacher.words,
        image_size=teacher.image_size,
        digest=teacher.digest,
        order=order,
        temperature=distill.temperature,
        weight=distill.weight,
        origin=_origin(teacher, distill.arch),
    )


def _origin(teacher: Teacher, arch: str | None) -> Origin:
    if isinstance(teacher.network, Bundle):
        lineage = teacher.network.info.lineage
        return Origin(lineage.first_weights or teacher.address, lineage.licence, lineage.teachers)
    return find_origin(teacher.address, arch)


def planned_teacher(config: RunConfig, plan: TeacherPlan) -> Teacher:
    """Opens the teacher of a plan, in a job. Raises CheckpointError where another one is there by now."""
    assert config.optimize.distill is not None
    distill = config.optimize.distill.model_copy(update={"teacher": plan.address})
    teacher = find_teacher(distill, config.output, config.data.patience)
    if teacher.digest != plan.digest:
        raise CheckpointError(f"{FIELD}: {plan.address}: has changed since the job was planned: submit the job again")
    return teacher


def find_teacher(
    distill: DistillConfig, output: str, patience: Patience = IMPATIENT, download: bool = False
) -> Teacher:
    """Opens what `distill` names. `output` is the run's, below which downloads are kept. Raises as `plan_teacher`."""
    address = distill.teacher
    try:
        if is_name(address) or address.startswith(("http://", "https://")) or file_format(address):
            return _from_weights(distill, WeightSource(FIELD, address, output, distill.arch), patience, download)
        address = _resolved(address, patience)
        if open_storage(address, patience).size(INFO_FILE) is not None:
            return _from_bundle(distill, open_bundle(address, patience))
        if _is_trained(address, patience):
            return _from_run(distill, address, patience)
        if not is_there(address):
            raise ModelError(f"{address}: nothing is there: {_REMEDY}")
        return _from_weights(distill, WeightSource(FIELD, address, output, distill.arch), patience, download)
    except (ModelError, CheckpointError, BundleError, RegistryError, NotFoundError) as error:
        message = str(error)
        raise type(error)(message if message.startswith(FIELD) else f"{FIELD}: {message}") from None


def class_order(teacher: Teacher, classes: Sequence[str]) -> tuple[int, ...] | None:
    """Which of the teacher's classes each of `classes` is; None where their order is the same or is not known."""
    if not teacher.labels:
        return None
    places = {clean(name): index for index, name in enumerate(teacher.labels)}
    order = tuple(places[clean(name)] for name in classes)
    return None if order == tuple(range(len(classes))) else order


def _check_classes(teacher: Teacher, classes: Sequence[str]) -> None:
    ours, theirs = set(map(clean, classes)), set(map(clean, teacher.labels))
    if teacher.labels and ours != theirs:
        lacking, strange = (few(sorted(names)) for names in (ours - theirs, theirs - ours))
        what = [f"it lacks {lacking}"] if lacking else []
        what += [f"the data lacks {strange}"] if strange else []
        raise PlanError(
            f"{FIELD}: {teacher.address}: its {teacher.classes} classes are not the {len(classes)} of the data "
            f"({', '.join(what)}): train a teacher on the same classes, or pack the data with its classes"
        )
    if teacher.classes != len(classes):
        raise PlanError(
            f"{FIELD}: {teacher.address}: has {teacher.classes} classes, and the data {len(classes)}: train a teacher "
            "on the same classes (model.weights starts one from these weights)"
        )


def _resolved(address: str, patience: Patience) -> str:
    """The bundle that REGISTRY/NAME@ALIAS or REGISTRY/NAME:NUMBER stands for; other addresses as they are."""
    folder, reference = split_url(address)
    if not ("@" in reference or ":" in reference) or next(open_storage(address, patience).list(), None) is not None:
        return address
    parse_reference(reference)
    return Registry(folder).resolve(reference).url


def _is_trained(address: str, patience: Patience) -> bool:
    """Whether it is a run or one of its checkpoints, rather than weights alone."""
    if open_storage(address, patience).size(STATE_FILE) is not None:
        return True
    return bool(list_checkpoints(open_storage(f"{address}/checkpoints", patience)))


def _from_bundle(distill: DistillConfig, bundle: Bundle) -> Teacher:
    size = bundle.info.preprocessing.image_size
    if distill.image_size not in (None, size):
        raise PlanError(
            f"optimize.distill.image_size: the bundle {bundle.url} takes images of {size} px only: leave it out"
        )
    _check_task(bundle.url, bundle.info.task)
    if distill.arch is not None:
        raise PlanError(f"optimize.distill.arch: the bundle {bundle.url} needs none: leave it out")
    return Teacher(bundle.url, bundle, bundle.info.labels, size, bundle.info.preprocessing)


def _from_run(distill: DistillConfig, address: str, patience: Patience) -> Teacher:
    model = load_trained(address, patience=patience)
    _check_task(model.url, model.task)
    if distill.arch not in (None, model.network.arch):
        raise PlanError(f"optimize.distill.arch: {model.url} is a {model.network.arch}: leave it out")
    size = _checked_size(distill, model.network.arch, model.preprocessing.image_size)
    return Teacher(model.url, model.network.of_images, model.labels, size, model.preprocessing)


def _from_weights(distill: DistillConfig, source: WeightSource, patience: Patience, download: bool) -> Teacher:
    from scenerec.models.torch_outline import state_shapes  # imports torch, which takes seconds

    with source.open(patience, download) as weights:
        arch = distill.arch or weights.arch
        if arch is None:
            raise ConfigError(f"optimize.distill.arch: {source.weights} does not tell its architecture: name it")
        if weights.arch not in (None, arch):
            raise PlanError(f"optimize.distill.arch: {source.weights} is a {weights.arch}: leave it out")
        weights = weights.for_network(state_shapes(arch, 1), str(source))
        classes = head_classes(weights.state, arch)
        if classes is None:
            raise ModelError(f"{source}: has no head {architecture(arch).head}, so it knows no classes: {_REMEDY}")
        try:
            check_fits(state_shapes(arch, classes), weights.state, arch)
        except StateError as error:
            raise StateError(f"{source}: {error}") from None
        own = find_weights(arch, source.weights).image_size if is_name(source.weights) else weights.image_size
        size = _checked_size(distill, arch, own or architecture(arch).image_size)
        preprocessing = find_preprocessing(source.weights, arch, patience, source.fetched_to)
        return Teacher(source.weights, ZooNetwork(arch, classes, weights.state), (), size, preprocessing)


def _check_task(address: str, task: ModelTask) -> None:
    if task == "multilabel":
        raise PlanError(f"{FIELD}: {address} gives several labels, and answers that are learned from add up to 1")
    if task == "embedding":
        raise PlanError(f"{FIELD}: {address} gives embeddings, and a teacher names classes: name another")


def _checked_size(distill: DistillConfig, arch: str, own: int) -> int:
    """The size that is asked, else its own."""
    try:
        check_image_size(arch, distill.image_size or own)
    except ModelError as error:
        raise PlanError(f"optimize.distill.image_size: {error}") from None
    return distill.image_size or own


def _digest(arch: str, state: State) -> str:
    digest = hashlib.sha256(arch.encode())
    for key in sorted(state):
        array = np.ascontiguousarray(state[key], np.float32)
        digest.update(f"{key} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:_DIGITS]
