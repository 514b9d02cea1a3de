"""Weights from one format to another, checked against the architecture on the way."""

from dataclasses import dataclass

from scenerec.errors import ModelError
from scenerec.models import geo, neutral, zoo
from scenerec.models.blocks import is_under
from scenerec.models.heads import HEAD_PREFIXES
from scenerec.models.neutral import State
from scenerec.models.weights.files import WeightFile, head_classes, read_weights, write_weights
from scenerec.models.weights.origin import find_origin
from scenerec.models.weights.preprocessing import find_preprocessing


@dataclass(frozen=True)
class Conversion:
    """What a conversion read, and what it wrote."""

    source: str
    source_format: str
    arch: str
    classes: int
    image_size: int
    """Side of the images in pixels."""
    tensors: int
    """Tensors that were written; the counters and constants of a torch file do not count."""
    left_out: tuple[str, ...]
    """Keys of the source that have no place in the network."""
    drawn: tuple[str, ...]
    """Keys of the network that the source does not fill."""
    removed: tuple[str, ...]
    """What stood before the source's keys and was taken off, such as `module.` and `model.`."""
    destination: str
    destination_format: str
    size_bytes: int


def convert(
    source: str,
    destination: str,
    destination_format: str,
    arch: str | None = None,
    image_size: int | None = None,
    averaged: bool = False,
    partial: bool = False,
) -> Conversion:
    """Read the weights at `source` and write them to `destination`, bit by bit the same.

    Args:
        source: as in `read_weights`.
        destination: as in `write_weights`; what is there is replaced.
        destination_format: a format as in `WeightFile.format`.
        arch: the architecture, needed where the source does not tell it.
        image_size: side in pixels; by default the source's, else that of the architecture's published weights.
        averaged: take the moving averages of the parameters.
        partial: let keys that do not fit keep the values that a new network is drawn with, from seed 0.

    Raises:
        StateError: the weights do not fit the architecture, and `partial` is not set.
        ModelError, CheckpointError, StorageError: as `read_weights` and `write_weights`.
    """
    from scenerec.models.torch_outline import state_shapes  # imports torch, which takes seconds

    weights = read_weights(source, averaged)
    arch = _architecture(source, weights, arch)
    image_size = image_size or weights.image_size or zoo.architecture(arch).image_size
    zoo.check_image_size(arch, image_size)
    weights = weights.for_network(state_shapes(arch, classes=1), source)
    classes = head_classes(weights.state, arch)
    if classes is None and any(key.startswith(HEAD_PREFIXES) for key in weights.left_out):
        raise ModelError(
            f"{source}: is of a pretraining, which knows no classes: train a head on it (kind: train with "
            f"model.weights: {source}), and convert that run"
        )
    if classes is None and partial:
        raise ModelError(f"{source}: has no weights of the head of a {arch}, which tell the number of classes")
    classes = classes or 1  # without a head nothing fits: the error lists the keys
    state, drawn, left_out = _fit(weights.state, arch, classes, partial)
    origin, preprocessing = find_origin(source, arch), find_preprocessing(source, arch)
    size_bytes = write_weights(destination, destination_format, state, arch, classes, image_size, origin, preprocessing)
    return Conversion(
        source=source,
        source_format=weights.format,
        arch=arch,
        classes=classes,
        image_size=image_size,
        tensors=len(state),
        left_out=(*weights.left_out, *left_out),
        drawn=drawn,
        removed=weights.removed,
        destination=destination,
        destination_format=destination_format,
        size_bytes=size_bytes,
    )


def _architecture(source: str, weights: WeightFile, wanted: str | None) -> str:
    if wanted is None and weights.arch is None:
        raise ModelError(f"{source}: does not tell its architecture: name it with --arch")
    if wanted and weights.arch and wanted != weights.arch:
        raise ModelError(f"{source}: is a {weights.arch}, not a {wanted} (--arch)")
    return zoo.architecture(wanted or weights.arch or "").name


def _fit(state: State, arch: str, classes: int, partial: bool) -> tuple[State, tuple[str, ...], tuple[str, ...]]:
    """The state of the network; its keys that are drawn, and the state's that are left out."""
    if not partial:
        from scenerec.models.torch_outline import state_shapes

        if any(is_under(key, geo.PATH) for key in state):
            what = f"{geo.PATH}.* reads coordinates, and files of weights are of images alone"
            raise neutral.StateError(f"{what}: leave it out with --partial")
        neutral.check_fits(state_shapes(arch, classes), state, arch)
        return state, (), ()
    from scenerec.models import torch_model

    new = torch_model.state(torch_model.build(arch, classes, seed=0))
    fitting = {key for key, array in new.items() if key in state and state[key].shape == array.shape}
    return (
        {key: state[key] if key in fitting else new[key] for key in new},
        tuple(key for key in new if key not in fitting),
        tuple(key for key in state if key not in fitting),
    )
