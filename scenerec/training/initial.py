"""The weights that a run starts from: drawn by its seed, published under a name, or any file in reach."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from scenerec.config.train import TrainConfig
from scenerec.errors import ModelError
from scenerec.models import geo
from scenerec.models.blocks import is_under
from scenerec.models.neutral import State, StateError, check_fits
from scenerec.models.weights.cache import RemoteFile, WeightCache, file_of_url, published_file
from scenerec.models.weights.files import WeightFile, head_classes, read_weights
from scenerec.models.weights.published import find_weights, is_name
from scenerec.models.zoo import architecture
from scenerec.storage import IMPATIENT

Shapes = Mapping[str, Sequence[int]]


def initial_state(config: TrainConfig, drawn: State) -> State:
    """The neutral state to start from, where `drawn` are the model's own weights.

    A head for other classes than the model's is left as drawn; all else is taken from `model.weights`.

    Raises:
        ModelError: the weights are not where `prepare_weights` saw them, or do not fit.
        StorageError: the store does not answer.
    """
    if config.model.weights == "none":
        return drawn
    shapes = {key: array.shape for key, array in drawn.items()}
    with _opened(config) as weights:
        return drawn | _fitting(config, weights.for_network(shapes, _where(config)), shapes)


def prepare_weights(config: TrainConfig, classes: int) -> str:
    """Downloads what is missing, and checks that it fits a network of `classes`; says what will be done with it.

    Raises:
        ModelError: there are no such weights, or they do not fit the architecture.
        StorageError: the store does not answer.
    """
    if config.model.weights == "none":
        return describe_weights(config, classes)
    from scenerec.models.torch_outline import state_shapes  # imports torch, which takes seconds

    shapes = state_shapes(config.model.arch, classes, config.model.geo)
    with _opened(config, download=True) as weights:
        weights = weights.for_network(shapes, _where(config))
        _fitting(config, weights, shapes)
        return _describe(config, weights, classes)


def describe_weights(config: TrainConfig, classes: int) -> str:
    """Says again what `prepare_weights` has said, of weights that it has prepared. Raises ModelError, StorageError."""
    if config.model.weights == "none":
        return f"random, by optimize.seed {config.optimize.seed}"
    with _opened(config) as weights:
        if head_classes(weights.state, config.model.arch) is None:  # its place is not plain: see which keys there are
            from scenerec.models.torch_outline import state_shapes

            weights = weights.for_network(state_shapes(config.model.arch, classes, config.model.geo), _where(config))
        return _describe(config, weights, classes)


def _describe(config: TrainConfig, weights: WeightFile, classes: int) -> str:
    arch, source = config.model.arch, config.model.weights
    words = f"{source} of {arch}" if is_name(source) else source
    if config.model.weights_ema:
        words += ", its moving averages"
    if weights.removed and not is_name(source):
        words += f", without {' and '.join(weights.removed)} before its keys"
    if config.model.geo is not None and not _reads_coordinates(weights.state):
        words += f", without coordinates: {geo.PATH} starts random"
    found = head_classes(weights.state, arch)
    if found == classes:
        return words
    head = architecture(arch).head
    if found is None:
        return f"{words}, which have no head: {head} starts random ({classes} classes)"
    return f"{words}, head {head} replaced ({found} -> {classes} classes)"


def _fitting(config: TrainConfig, weights: WeightFile, shapes: Shapes) -> State:
    """What of the weights goes into a network of `shapes`: all, or all but the head and what it does not have."""
    arch = config.model.arch
    if weights.arch not in (None, arch):
        raise ModelError(f"{_where(config)}: are of {weights.arch}, and model.arch is {arch}")
    head = architecture(arch).head
    state, drawn = weights.state, []
    if head_classes(weights.state, arch) != shapes[f"{head}.weight"][0]:
        drawn += [head]
        if config.model.geo is not None and config.model.geo.fusion == "logits":
            drawn += [f"{geo.PATH}.output"]
    if not _reads_coordinates(state):
        drawn += [geo.PATH]
    state = {key: array for key, array in state.items() if not any(is_under(key, path) for path in drawn)}
    shapes = {key: shape for key, shape in shapes.items() if not any(is_under(key, path) for path in drawn)}
    try:
        check_fits(shapes, state, arch)
    except StateError as error:
        fits = all(key in state and state[key].shape == tuple(shape) for key, shape in shapes.items())
        remedy = "; `scenerec convert --partial` writes a file without these" if fits else ""
        raise StateError(f"{_where(config)}: {error}{remedy}") from None
    return state


def _reads_coordinates(state: State) -> bool:
    return any(is_under(key, geo.PATH) for key in state)


def _where(config: TrainConfig) -> str:
    return f"model.weights: {config.model.weights}"


@contextmanager
def _opened(config: TrainConfig, download: bool = False) -> Iterator[WeightFile]:
    """The weights that the config names; what is downloaded is kept if the context ends without an error."""
    source = config.model.weights
    remote = _remote_file(config)
    patience = IMPATIENT if download else config.data.patience
    if remote is None:
        yield read_weights(source, config.model.weights_ema, patience)
        return
    cache = WeightCache(config.output, patience)
    with cache.fetch(remote) if download else cache.read(remote) as path:
        try:
            weights = read_weights(str(path), config.model.weights_ema)
        except ModelError as error:
            raise ModelError(str(error).replace(str(path), remote.url)) from None
        yield weights


def _remote_file(config: TrainConfig) -> RemoteFile | None:
    """None where the weights are a path or in S3."""
    source = config.model.weights
    if is_name(source):
        return published_file(find_weights(config.model.arch, source))
    return file_of_url(source) if source.startswith(("http://", "https://")) else None
