"""A packed set at a glance: its numbers, and a sheet of its pictures."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from scenerec.data.coordinates import Coordinates
from scenerec.data.labels import indices_of
from scenerec.data.manifest import Manifest, shard_storage
from scenerec.data.packed_image import decode, image_size
from scenerec.data.picture import PictureError
from scenerec.data.shard import Sample, read_shard
from scenerec.storage import Storage

PROBED_SHARDS = 4
"""Shards that are opened for pictures and their sizes: samples are shuffled over shards, so a few speak for all."""
QUANTILES = (0.05, 0.5, 0.95)
GAP, LABEL_HEIGHT, FONT_SIZE = 4, 18, 13


@dataclass(frozen=True)
class Description:
    """The numbers of a packed set."""

    url: str
    fingerprint: str
    samples: int
    shards: int
    size_bytes: int
    class_counts: dict[str, int]
    places: int
    """Classes of which more is known than their name."""
    source: dict[str, str]
    coordinates: int
    """Images of which it is known where they were taken."""
    bounds: dict[str, int] | None
    """South, north, west and east of those among the probed images, in whole degrees; None where there are none."""
    probed_images: int
    """Images behind the quantiles that follow."""
    width: dict[str, int]
    """Widths in pixels: the quantiles p5, p50 and p95."""
    height: dict[str, int]
    """Heights in pixels: the same quantiles."""
    image_bytes: dict[str, int]
    """Sizes of the encoded images in bytes: the same quantiles."""


def describe(storage: Storage, manifest: Manifest) -> Description:
    """The numbers in the manifest, and the sizes of the images of a few shards. Raises DataError, StorageError."""
    probed = [sample for samples in _probe(storage, manifest) for sample in samples]
    sizes = [(*image_size(sample.image, sample.key)[::-1], len(sample.image)) for sample in probed]
    quantiles = np.quantile(np.array(sizes), QUANTILES, axis=0).round().astype(int).T.tolist()
    width, height, image_bytes = (
        {f"p{q * 100:.0f}": v for q, v in zip(QUANTILES, row, strict=True)} for row in quantiles
    )
    return Description(
        url=storage.url,
        fingerprint=manifest.fingerprint,
        samples=manifest.samples,
        shards=len(manifest.shards),
        size_bytes=manifest.size_bytes,
        class_counts=dict(zip(manifest.classes, manifest.class_counts.tolist(), strict=True)),
        places=len(manifest.places),
        source=manifest.source,
        coordinates=manifest.coordinates,
        bounds=_bounds([sample.coordinates for sample in probed if sample.coordinates]),
        probed_images=len(sizes),
        width=width,
        height=height,
        image_bytes=image_bytes,
    )


def contact_sheet(storage: Storage, manifest: Manifest, per_class: int = 6, thumb: int = 96) -> Image.Image:
    """The first pictures of each class under its name, in squares of `thumb` pixels."""
    chosen: dict[int, list[Sample]] = defaultdict(list)
    for samples in _probe(storage, manifest):
        for sample in samples:
            for label in indices_of(sample.label):
                if len(chosen[label]) < per_class:
                    chosen[label].append(sample)
        if all(len(chosen[label]) == per_class for label in range(len(manifest.classes))):
            break
    row_width, row_height = per_class * (thumb + GAP) + GAP, thumb + LABEL_HEIGHT + GAP
    columns = max(1, round((len(manifest.classes) * row_height / row_width) ** 0.5))
    rows = -(-len(manifest.classes) // columns)
    sheet = Image.new("RGB", (columns * row_width, rows * row_height + GAP), "white")
    for label, name in enumerate(manifest.classes):
        x, y = label // rows * row_width, label % rows * row_height + GAP
        sheet.paste(_row(name, chosen[label], row_width, thumb), (x, y))
    return sheet


def _bounds(coordinates: Sequence[Coordinates]) -> dict[str, int] | None:
    """What lies around them, no finer than it must be: where a photograph was taken is its owner's affair."""
    if not coordinates:
        return None
    latitudes, longitudes, _ = zip(*coordinates, strict=True)
    south, west = (math.floor(min(degrees)) for degrees in (latitudes, longitudes))
    north, east = (math.ceil(max(degrees)) for degrees in (latitudes, longitudes))
    return {"south": south, "north": north, "west": west, "east": east}


def _row(name: str, samples: Sequence[Sample], width: int, thumb: int) -> Image.Image:
    row = Image.new("RGB", (width, thumb + LABEL_HEIGHT), "white")
    font = ImageFont.load_default(FONT_SIZE)
    ImageDraw.Draw(row).text((GAP, 0), name, "black", font)
    for column, sample in enumerate(samples):
        with suppress(PictureError):  # a damaged picture leaves its place empty
            image = Image.fromarray(decode(sample.image))
            row.paste(ImageOps.fit(image, (thumb, thumb)), (GAP + column * (thumb + GAP), LABEL_HEIGHT))
    return row


def _probe(storage: Storage, manifest: Manifest) -> Iterator[list[Sample]]:
    """The samples of a few shards, evenly spread over the set."""
    step = max(1, len(manifest.shards) // PROBED_SHARDS)
    shards = shard_storage(storage, manifest)
    for shard in manifest.shards[::step][:PROBED_SHARDS]:
        yield read_shard(shards.get(shard.key), shard, manifest.labelling, f"{shards.url}/{shard.key}")
