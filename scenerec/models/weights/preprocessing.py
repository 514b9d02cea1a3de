"""What weights expect of the pixels: found where `model.weights` names them, and carried in the header of our files."""

from scenerec.errors import ModelError
from scenerec.frozen import parse_json
from scenerec.models.preprocessing import IMAGENET, METADATA_KEY, WeightPreprocessing
from scenerec.models.weights.origin import header_of, published_file_at, state_of
from scenerec.models.weights.published import find_weights, is_name
from scenerec.storage import IMPATIENT, Patience


def find_preprocessing(
    weights: str, arch: str | None, patience: Patience = IMPATIENT, fetched_to: str | None = None
) -> WeightPreprocessing:
    """Finds the preprocessing of `weights`, as `model.weights` names them. Nothing but small files is read.

    Published weights are known by their name, or by their file's; a run, a checkpoint and a safetensors file of ours
    tell it. Random weights and other people's files get ImageNet's.

    Args:
        weights: `none`, a published name, a URL, a file, a checkpoint or a run.
        arch: architecture; published names need it.
        patience: how long a store is waited for.
        fetched_to: address in the store of the file that was fetched from a URL.

    Raises:
        ModelError: nothing was published by this name, or a file tells a preprocessing that is none.
        StorageError: the store does not answer, or what a checkpoint says of its run is damaged.
    """
    if weights == "none":
        return IMAGENET
    if is_name(weights):
        assert arch is not None
        return find_weights(arch, weights).preprocessing
    if state := state_of(weights, patience):
        return WeightPreprocessing.of_data(state.get("config", {}).get("data", {}))
    if told := header_of(fetched_to or weights, patience).get(METADATA_KEY):
        return parse_json(WeightPreprocessing, told, f"{weights}: {METADATA_KEY}", ModelError)
    published = published_file_at(weights)
    return published.preprocessing if published else IMAGENET
