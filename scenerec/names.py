"""Names as people mean them: how names of classes and files are compared, and how they are shown."""

import unicodedata
from collections.abc import Sequence

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"))
"""A byte order mark, spaces without width, a soft hyphen: they come along when text is copied."""


def clean(name: str) -> str:
    """The name without space around it and what cannot be seen, with single spaces inside, in Unicode's form NFC."""
    return " ".join(unicodedata.normalize("NFC", name.translate(_INVISIBLE)).split())


def same_names(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether two lists hold the same names in the same order."""
    return list(map(clean, ours)) == list(map(clean, theirs))


def few(names: Sequence[str], most: int = 3) -> str:
    """The first names on one line, and how many more there are: `beach, forest, city and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shortened, names[:most])) + more


def shortened(text: str) -> str:
    """The text on one line; of one of more than 90 letters, such as a path of many folders, its beginning and end."""
    text = printable(text)
    return text if len(text) <= 90 else f"{text[:40]} ... {text[-40:]}"


def printable(text: str) -> str:
    """The text on one line that every terminal and JSON take: bytes that are no UTF-8, and controls, are escaped."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
