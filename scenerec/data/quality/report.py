"""What was found in a data set, for people and for packing: a page with the pictures, and a table."""

import base64
import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime

from PIL import Image, ImageOps

from scenerec import __version__
from scenerec.data.finding_kinds import KIND_WORDS
from scenerec.data.picture import Picture, PictureError
from scenerec.data.quality.findings import Finding, Findings
from scenerec.html import html_environment

SHOWN = 48
"""So many pictures of a kind are on the page; the table has all."""

_COLUMNS = ("path", "kind", "split", "class", "detail", "likely_class")
_THUMBNAIL_PX = 224
_TEMPLATE = "quality_report.html.j2"


def table(findings: Findings) -> str:
    """A CSV of all findings, the worst first: rows that are taken out are pictures that stay."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for each in findings.found:
        likely = each.likely.class_name if each.likely else ""
        writer.writerow((each.path, each.kind, each.split, each.class_name, each.detail, likely))
    return text.getvalue()


def shown(findings: Findings) -> dict[str, list[Finding]]:
    """The findings that the page shows, by their kind in words."""
    return {
        KIND_WORDS[kind]: [each for each in findings.found if each.kind is kind][:SHOWN] for kind in findings.counts
    }


def page(name: str, findings: Findings, pictures: Mapping[str, bytes]) -> str:
    """The findings in a data set called `name` as HTML that loads nothing else; `pictures` are encoded, by path."""
    sections = shown(findings)
    paths = {path for some in sections.values() for each in some for path in each.pictures}
    return (
        html_environment("data/quality")
        .get_template(_TEMPLATE)
        .render(
            name=name,
            findings=findings,
            sections=sections,
            counts=dict(zip(sections, findings.counts.values(), strict=True)),
            thumbnails={path: _thumbnail(pictures[path]) for path in paths if path in pictures},
            written_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            version=__version__,
        )
    )


def _thumbnail(content: bytes) -> str:
    """A JPEG in base64; empty for a picture that cannot be decoded."""
    try:
        image = Image.fromarray(Picture(content).upright())
    except PictureError:
        return ""
    buffer = io.BytesIO()
    ImageOps.contain(image, (_THUMBNAIL_PX, _THUMBNAIL_PX)).save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
