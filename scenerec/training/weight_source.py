"""Weights that a config names: published under a name, at a URL, or in any file or folder in reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scenerec.errors import ModelError
from scenerec.models.weights.cache import RemoteFile, WeightCache, file_of_url, published_file
from scenerec.models.weights.files import WeightFile, read_weights
from scenerec.models.weights.licences import check_accepted
from scenerec.models.weights.origin import published_file_at
from scenerec.models.weights.published import find_weights, is_name
from scenerec.storage import IMPATIENT, Patience


@dataclass(frozen=True)
class WeightSource:
    """Weights by the name or address that a field of a config gives them; as text, both."""

    field: str
    """The config's field, for errors: model.weights."""
    weights: str
    """Published name, URL, or path or s3:// of what `read_weights` takes."""
    output: str
    """Output of the run, below which downloads are kept."""
    arch: str | None = None
    """Architecture; published names need it."""
    averaged: bool = False
    """Whether the moving averages are meant that stand beside the weights."""
    accepted: bool = False
    """Whether the user accepts their licence, where its owner asks for that."""

    def __str__(self) -> str:
        return f"{self.field}: {self.weights}"

    @property
    def fetched_to(self) -> str | None:
        """Where in the store the file of a URL is, or will be; None of other weights."""
        remote = None if is_name(self.weights) else self._remote_file()
        return None if remote is None else WeightCache(self.output, field=self.field).url(remote)

    @contextmanager
    def open(self, patience: Patience = IMPATIENT, download: bool = False) -> Iterator[WeightFile]:
        """The weights; with `download` what the store lacks is fetched, and kept if the context ends without an error.

        Raises:
            ModelError: there are none, or they cannot be read safely; without `download` also what is not in the store,
                with it what asks that its licence is accepted.
            CheckpointError: a checkpoint is damaged, or a run has no best one yet.
            StorageError: the store does not answer.
        """
        remote = self._remote_file()
        if remote is None:
            yield read_weights(self.weights, self.averaged, patience)
            return
        if download:
            check_accepted(self._licence, self.accepted, str(self), self._accepting_key)
        cache = WeightCache(self.output, patience, self.field)
        with cache.fetch(remote) if download else cache.read(remote) as path:
            try:
                weights = read_weights(str(path), self.averaged)
            except ModelError as error:
                raise ModelError(str(error).replace(str(path), remote.url)) from None
            yield weights

    @property
    def _accepting_key(self) -> str:
        """The config's key that accepts their licence, beside `weights`; "" where there is none, as of a teacher."""
        block, _, last = self.field.rpartition(".")
        return f"{block}.accept_licence" if last == "weights" else ""

    @property
    def _licence(self) -> str:
        """Name of their licence; "" where it is not known."""
        published = find_weights(self.arch or "", self.weights) if is_name(self.weights) else None
        published = published or published_file_at(self.weights)
        return published.licence if published else ""

    def _remote_file(self) -> RemoteFile | None:
        """None where the weights are a path or in S3."""
        if is_name(self.weights):
            assert self.arch is not None
            return published_file(find_weights(self.arch, self.weights))
        is_url = self.weights.startswith(("http://", "https://"))
        return file_of_url(self.weights, self.field) if is_url else None
