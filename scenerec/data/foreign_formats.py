"""Formats of pictures that are not decoded everywhere, or not at all: what a refusal calls them."""

import re

_SIGNATURES = {
    "HEIC": rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)",
    "AVIF": rb".{4}ftypavi[fs]",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "JPEG XL": rb"\xff\x0a|\0{3}\x0cJXL ",
    "JPEG 2000": rb"\0{3}\x0cjP  |\xff\x4f\xff\x51",
    "Photoshop": rb"8BPS",
    "PDF": rb"%PDF-",
    "SVG or HTML": rb"\s*<",
}
"""How a file of a format begins."""


def foreign_format(content: bytes) -> str | None:
    """The format that a file seems to have by its first bytes; None for one that is not known here."""
    found = (name for name, signature in _SIGNATURES.items() if re.match(signature, content, re.DOTALL))
    return next(found, None)
