"""Which published weights can be had here: those in the store, in torch's cache, or from a server that answers."""

import os
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from scenerec.errors import ModelError, StorageError
from scenerec.models.weights.cache import WeightCache, published_file
from scenerec.models.weights.licences import describe_licence, forbids_commercial_use
from scenerec.models.weights.published import PublishedWeights, find_weights
from scenerec.training.choice.candidates import Weights

_ANSWER_WITHIN_S = 2.0


def weights_at_hand(output: str, architectures: Sequence[str]) -> Weights:
    """The default weights of these architectures, as far as they can be had for a run below `output`.

    Whether a server answers is tried for two seconds, once. A store that does not answer has none.
    """
    published = {arch: found for arch in architectures if (found := _default(arch))}
    cache = WeightCache(output)
    here = {arch: found for arch, found in published.items() if _in_store(cache, found) or _in_torch_cache(found)}
    if here:
        return Weights(_names(here), f"{_words(here)}; their file is here")
    if not published:
        return Weights(reason=f"random: none that all may use were published for {', '.join(architectures)}")
    some = next(iter(published.values()))
    host = urlsplit(some.url).hostname
    if _answers(some.url):
        return Weights(_names(published), f"{_words(published)}; from {host}, once")
    return Weights(
        reason=f"random, as {host} does not answer; pretrained ones would learn more from few images: "
        "--set model.weights=FILE --arch ARCH"
    )


def bring_weights(output: str, arch: str, name: str) -> None:
    """Puts published weights that torch's cache has into the store, from which the cluster takes them.

    Raises StorageError where they cannot be written; ModelError where there are no such weights.
    """
    weights = find_weights(arch, name)
    cache, remote = WeightCache(output), published_file(weights)
    file = _in_torch_cache(weights)
    if file is not None and not _in_store(cache, weights):
        cache.storage.put(remote.file, file)


def _words(found: Mapping[str, PublishedWeights]) -> str:
    licences = {describe_licence(weights.licence) for weights in found.values()}
    return f"learned on ImageNet's 1.2 million images, {' or '.join(sorted(licences))}"


def _names(found: Mapping[str, PublishedWeights]) -> dict[str, str]:
    return {arch: weights.name for arch, weights in found.items()}


def _default(arch: str) -> PublishedWeights | None:
    """The default weights; none that may not be used as one likes: who takes those says so by their name."""
    try:
        found = find_weights(arch, "DEFAULT")
    except ModelError:
        return None
    return None if forbids_commercial_use(found.licence) else found


def _in_store(cache: WeightCache, weights: PublishedWeights) -> bool:
    with suppress(StorageError):
        return cache.storage.size(published_file(weights).file) is not None
    return False


def _in_torch_cache(weights: PublishedWeights) -> Path | None:
    """The file as torch.hub keeps it; None where it does not."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = Path(os.environ.get("TORCH_HOME") or caches / "torch").expanduser()
    file = home / "hub" / "checkpoints" / published_file(weights).file
    return file if file.is_file() else None


def _answers(url: str) -> bool:
    """Whether a server has the file. Asked in a thread, for the search of its address knows no time-out."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=_ANSWER_WITHIN_S):
                answered.set()
        except (OSError, ValueError):  # no way there, or no such file
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_WITHIN_S)
    return answered.is_set()
