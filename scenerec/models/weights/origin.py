"""What weights began as, and the licence of that: it goes along from run to run, and into the bundle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urldefrag

from scenerec.checkpoint import MODEL_FILE, STATE_FILE, list_checkpoints
from scenerec.models.weights.formats import file_format
from scenerec.models.weights.licences import describe_licence
from scenerec.models.weights.published import PublishedWeights, all_published, find_weights, is_name
from scenerec.storage import IMPATIENT, Patience, open_storage, read_json, split_url

RANDOM = "random"
"""What weights began as that were drawn."""

_MOST_RUNS = 20  # of which each began with the one before
_WEIGHTS_KEY, _LICENCE_KEY, _TEACHERS_KEY = "first_weights", "licence", "teachers"
_LENGTH_BYTES = 8  # of a safetensors file, before its header
_MOST_HEADER_BYTES = 16 << 20


@dataclass(frozen=True)
class Origin:
    """The first weights of a network, however often it was trained since."""

    weights: str
    """`random`; NAME of ARCH for published ones; else the address of what is not known to come from elsewhere."""
    licence: str = ""
    """Name of their licence; "" where it is not known, and for random weights, which have none."""
    teachers: dict[str, str] = field(default_factory=dict)
    """Licence of each network that it learned from since, by what that began as; "" where it is not known."""

    @property
    def licences(self) -> tuple[str, ...]:
        """Names of all known licences that go along, the first weights' first."""
        return tuple(dict.fromkeys(filter(None, (self.licence, *self.teachers.values()))))

    @property
    def published(self) -> PublishedWeights | None:
        """What is published of the weights; None where they are not published ones."""
        return next((each for each in all_published() if _of_published(each).weights == self.weights), None)

    def taught_by(self, teacher: "Origin") -> "Origin":
        """The same of a network that has learned from another one: its licences, and its own teachers', go along."""
        own = {} if teacher.weights == RANDOM else {teacher.weights: teacher.licence}
        return replace(self, teachers={**self.teachers, **teacher.teachers, **own})

    @property
    def metadata(self) -> dict[str, str]:
        """What the header of a safetensors file says of it."""
        teachers = {_TEACHERS_KEY: json.dumps(self.teachers)} if self.teachers else {}
        return {_WEIGHTS_KEY: self.weights, _LICENCE_KEY: self.licence, **teachers}

    def __str__(self) -> str:
        own = f"{describe_licence(self.licence) or 'not known'} (of {self.weights})"
        if self.weights == RANDOM:
            own = "no licence: the first weights are random"
        teachers = sorted(self.teachers.items())
        taught = (f"{describe_licence(licence) or 'not known'} (of its teacher {name})" for name, licence in teachers)
        return "; ".join((own, *taught))


def find_origin(weights: str, arch: str | None, patience: Patience = IMPATIENT) -> Origin:
    """Finds what `weights`, as `model.weights` names them, began as. Nothing but small files is read.

    A run, a checkpoint and a safetensors file of ours tell it; a file of published weights is known by its name.

    Args:
        weights: `none`, a published name, a URL, a file, a checkpoint or a run.
        arch: architecture; published names need it.
        patience: how long a store is waited for.

    Raises:
        ModelError: nothing was published by this name.
        StorageError: the store does not answer, or what a checkpoint says of its run is damaged.
    """
    for _ in range(_MOST_RUNS):
        if weights == "none":
            return Origin(RANDOM)
        if is_name(weights):
            assert arch is not None
            return _of_published(find_weights(arch, weights))
        state = state_of(weights, patience)
        if state is None:
            return _of_header(weights, patience) or _of_file(weights)
        if known := state.get("origin"):
            return Origin(**known)
        model = state.get("config", {}).get("model", {})  # a checkpoint that is older than the field
        following = model.get("weights")
        if following is None or following == weights:
            return Origin(weights)
        weights, arch = following, model.get("arch")
    return Origin(weights)


def origin_of(state: Mapping[str, Any], patience: Patience = IMPATIENT) -> Origin:
    """The origin of a run by the content of a checkpoint's state.json. Raises as `find_origin` does."""
    if known := state.get("origin"):
        return Origin(**known)
    model = state["config"]["model"]
    return find_origin(model.get("weights", "none"), model["arch"], patience)


def state_of(url: str, patience: Patience) -> dict[str, Any] | None:
    """What the checkpoint at `url`, or one of the run there, says of its run; None where there is neither."""
    if file_format(url) or _is_on_the_web(url):
        return None
    state = read_json(open_storage(url, patience), STATE_FILE)
    if state is None:
        checkpoints = open_storage(f"{url}/checkpoints", patience)
        names = list_checkpoints(checkpoints)
        state = read_json(checkpoints, f"{names[-1]}/{STATE_FILE}") if names else None
    return state


def _of_published(weights: PublishedWeights) -> Origin:
    return Origin(f"{weights.name} of {weights.arch}", weights.licence)


def header_of(address: str, patience: Patience) -> dict[str, str]:
    """The words in the header of a safetensors file, or of the one in a folder of weights; empty where there are none.

    Another's file, or no such file, has none: whoever reads its weights says so.
    """
    kind = file_format(address)
    if kind not in (None, "safetensors") or _is_on_the_web(address):
        return {}
    folder, key = split_url(address) if kind else (address, MODEL_FILE)
    storage = open_storage(folder, patience)
    if storage.size(key) is None:
        return {}
    header_bytes = int.from_bytes(storage.get_range(key, 0, _LENGTH_BYTES), "little")
    if header_bytes > _MOST_HEADER_BYTES:
        return {}
    try:
        metadata = json.loads(storage.get_range(key, _LENGTH_BYTES, header_bytes))["__metadata__"]
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, LookupError, AttributeError, TypeError):
        return {}


def published_file_at(address: str) -> PublishedWeights | None:
    """The published weights whose file is at `address`: they have names of their own, most with digits of checksums."""
    address = urldefrag(address)[0]
    file = split_url(address)[1]
    return next((each for each in all_published() if each.file == file or each.url == address), None)


def is_address(weights: str) -> bool:
    """Whether what an origin calls its weights is an address, rather than `random` or NAME of ARCH."""
    return weights != RANDOM and Origin(weights).published is None


def _is_on_the_web(address: str) -> bool:
    return "://" in address.removeprefix("s3://")


def _of_header(address: str, patience: Patience) -> Origin | None:
    told = header_of(address, patience)
    if not (_WEIGHTS_KEY in told and _LICENCE_KEY in told):
        return None
    try:
        teachers = {str(name): str(licence) for name, licence in json.loads(told.get(_TEACHERS_KEY, "{}")).items()}
    except (ValueError, AttributeError):  # anybody can write a header
        teachers = {}
    return Origin(told[_WEIGHTS_KEY], told[_LICENCE_KEY], teachers)


def _of_file(address: str) -> Origin:
    published = published_file_at(address)
    return _of_published(published) if published else Origin(address)
