"""The pages that the server shows to people: each one HTML file that loads nothing else."""

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib import resources

_INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


def content_security_policy(pages: Iterable[bytes]) -> str:
    """What these pages need and nothing else, for the header of that name.

    Of scripts and styles only those that are in the files run, by their hashes: text that somebody slips into a page
    stays text. Requests go to the page's own server; pictures are the person's (blob:) and heat maps (data:).
    """
    hashes: dict[bytes, list[str]] = {b"script": [], b"style": []}
    for body in pages:
        for tag, content in _INLINE.findall(body):
            hashes[tag].append(f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'")
    directives = {
        "default-src": ["'none'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "script-src": hashes[b"script"],
        "style-src": hashes[b"style"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def _read(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()


INDEX_HTML = _read("index.html")
"""The page at `/`: show the models a picture, see what they answer."""
DOCS_HTML = _read("docs.html")
"""The page at `/docs`: it reads /openapi.json to people."""
CONTENT_SECURITY_POLICY = content_security_policy((INDEX_HTML, DOCS_HTML))
"""The header of that name for both pages."""
