"""What the reports of evaluations have in common: filters of their templates, and small pictures of samples."""

import base64
import io
import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from jinja2 import Environment
from markupsafe import Markup, escape
from PIL import Image, ImageOps

from scenerec.data.packed_image import decode
from scenerec.data.packed_set import PackedSet
from scenerec.html import html_environment

_THUMBNAIL_PX = 232  # twice what is shown, for dense screens
_JPEG_QUALITY = 80


def report_environment() -> Environment:
    """Makes Jinja's environment for the reports' templates, with the filters percent, points, rate and breakable."""
    environment = html_environment("inference/evaluation")
    environment.filters |= {"percent": _percent, "points": _points, "rate": _rate, "breakable": _breakable}
    return environment


def thumbnails(data: PackedSet, indices: Iterable[int]) -> dict[int, str]:
    """Draws the central squares of samples, and returns JPEGs in base64 by index.

    Raises DataError or StorageError where the samples cannot be read.
    """
    ends = np.cumsum(data.manifest.shard_samples)
    of_shard: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        of_shard[int(np.searchsorted(ends, index, side="right"))].append(index)
    drawn = {}
    for shard, wanted in of_shard.items():
        samples = data.read(shard)
        for index in wanted:
            drawn[index] = _thumbnail(samples[index - int(ends[shard])].image)  # counted from the shard's end
    return drawn


def _thumbnail(encoded: bytes) -> str:
    square = ImageOps.fit(Image.fromarray(decode(encoded)), (_THUMBNAIL_PX, _THUMBNAIL_PX))
    file = io.BytesIO()
    square.save(file, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def _breakable(name: str) -> Markup:
    """A class name that may go on in the next line where its words end."""
    return Markup(re.sub("([_/-])", r"\1<wbr>", str(escape(name))))


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"
