"""The weights that a run starts from: drawn by its seed, published under a name, or any file in reach."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scenerec.config.pretrain import PretrainConfig
from scenerec.config.run import RunConfig
from scenerec.errors import ModelError
from scenerec.models import geo
from scenerec.models.blocks import is_under
from scenerec.models.heads import HEAD_PREFIXES
from scenerec.models.neutral import State, StateError, check_fits
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.models.weights.files import WeightFile, head_classes
from scenerec.models.weights.origin import Origin, find_origin
from scenerec.models.weights.preprocessing import find_preprocessing
from scenerec.models.weights.published import is_name
from scenerec.models.zoo import architecture
from scenerec.storage import IMPATIENT, Patience
from scenerec.training.weight_source import WeightSource

Shapes = Mapping[str, Sequence[int]]


def initial_state(config: RunConfig, drawn: State) -> State:
    """The neutral state to start from, where `drawn` are the model's own weights.

    A head for other classes than the model's is left as drawn; all else is taken from `model.weights`.

    Raises:
        ModelError: the weights are not where `prepare_weights` saw them, or do not fit.
        StorageError: the store does not answer.
    """
    if config.model.weights == "none":
        return drawn
    shapes = {key: array.shape for key, array in drawn.items()}
    source = _source(config)
    with source.open(config.data.patience) as weights:
        return drawn | _fitting(config, weights.for_network(shapes, str(source)), shapes)


def initial_backbone(config: PretrainConfig, drawn: State) -> State:
    """As `initial_state`, of an encoder: its heads are left as drawn, whatever the weights have."""
    return drawn | initial_state(config, {k: array for k, array in drawn.items() if not k.startswith(HEAD_PREFIXES)})


def prepare_weights(config: RunConfig, classes: int) -> str:
    """Downloads what is missing, and checks that it fits a network of `classes`; says what will be done with it.

    `classes` are 0 of a backbone without a classifier.

    Raises:
        ModelError: there are no such weights, or they do not fit the architecture.
        StorageError: the store does not answer.
    """
    if config.model.weights == "none":
        return describe_weights(config, classes)
    from scenerec.models.torch_outline import state_shapes  # imports torch, which takes seconds

    shapes = state_shapes(config.model.arch, max(classes, 1), config.model.geo)
    source = _source(config)
    with source.open(download=True) as weights:
        weights = weights.for_network(shapes, str(source))
        _fitting(config, weights, shapes)
        return _describe(config, weights, classes)


def describe_weights(config: RunConfig, classes: int) -> str:
    """Says again what `prepare_weights` has said, of weights that it has prepared. Raises ModelError, StorageError."""
    if config.model.weights == "none":
        return f"random, by optimize.seed {config.optimize.seed}"
    source = _source(config)
    with source.open(config.data.patience) as weights:
        if head_classes(weights.state, config.model.arch) is None:  # its place is not plain: see which keys there are
            from scenerec.models.torch_outline import state_shapes

            shapes = state_shapes(config.model.arch, max(classes, 1), config.model.geo)
            weights = weights.for_network(shapes, str(source))
        return _describe(config, weights, classes)


def weights_origin(config: RunConfig, patience: Patience = IMPATIENT) -> Origin:
    """Finds what `model.weights` began as, and its licence. Raises ModelError, StorageError."""
    return find_origin(config.model.weights, config.model.arch, patience)


def weights_preprocessing(config: RunConfig, patience: Patience = IMPATIENT) -> WeightPreprocessing:
    """Finds what `model.weights` expect of the pixels; those at a URL by the file that `prepare_weights` has fetched.

    Raises ModelError, StorageError.
    """
    return find_preprocessing(config.model.weights, config.model.arch, patience, _source(config).fetched_to)


def _describe(config: RunConfig, weights: WeightFile, classes: int) -> str:
    arch, source = config.model.arch, config.model.weights
    words = f"{source} of {arch}" if is_name(source) else source
    if config.model.weights_ema:
        words += ", its moving averages"
    if weights.removed and not is_name(source):
        words += f", without {' and '.join(weights.removed)} before its keys"
    if config.model.geo is not None and not _reads_coordinates(weights.state):
        words += f", without coordinates: {geo.PATH} starts random"
    found = head_classes(weights.state, arch)
    if found == classes or not (found or classes):
        return words
    if not classes:
        return f"{words}, without its head"
    head = architecture(arch).head
    if found is None:
        return f"{words}, which have no head: {head} starts random ({classes} classes)"
    return f"{words}, head {head} replaced ({found} -> {classes} classes)"


def _fitting(config: RunConfig, weights: WeightFile, shapes: Shapes) -> State:
    """What of the weights goes into a network of `shapes`: all, or all but the head and what they do not have."""
    arch, source = config.model.arch, _source(config)
    if weights.arch not in (None, arch):
        raise ModelError(f"{source}: are of {weights.arch}, and model.arch is {arch}")
    head, left = architecture(arch).head, []
    if head_classes(weights.state, arch) != shapes.get(f"{head}.weight", (None,))[0]:
        left += [head]
        if config.model.geo is not None and config.model.geo.fusion == "logits":
            left += [f"{geo.PATH}.output"]
    if not _reads_coordinates(weights.state):
        left += [geo.PATH]
    state = {key: array for key, array in weights.state.items() if not any(is_under(key, path) for path in left)}
    shapes = {key: shape for key, shape in shapes.items() if not any(is_under(key, path) for path in left)}
    try:
        check_fits(shapes, state, arch)
    except StateError as error:
        fits = all(key in state and state[key].shape == tuple(shape) for key, shape in shapes.items())
        remedy = "; `scenerec convert --partial` writes a file without these" if fits else ""
        raise StateError(f"{source}: {error}{remedy}") from None
    return state


def _reads_coordinates(state: State) -> bool:
    return any(is_under(key, geo.PATH) for key in state)


def _source(config: RunConfig) -> WeightSource:
    model = config.model
    source = WeightSource("model.weights", model.weights, config.output, model.arch, model.weights_ema)
    return replace(source, accepted=model.accept_licence)
