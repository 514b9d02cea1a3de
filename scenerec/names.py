"""Names as people mean them: how names of classes and files are compared, and how they are shown."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"))
"""A byte order mark, spaces without width, a soft hyphen: they come along when text is copied."""

_SECRET_PARAMETERS = ("password", "passwd", "pass", "pwd", "token", "access_token", "key", "api_key", "auth")
"""Of queries, as those of cameras."""


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


def did_you_mean(name: str, known: Iterable[str], quote: str = "", cutoff: float = 0.6) -> str:
    """`did you mean beach?` of the known name that is nearest to a mistyped one; empty where none is near.

    Args:
        name: as it was typed.
        known: the names that there are.
        quote: what stands around the name that is meant.
        cutoff: how alike they must be at least, from 0 to 1 (difflib's ratio).
    """
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {quote}{nearest[0]}{quote}?" if nearest else ""


def shortened(text: str) -> str:
    """The text on one line; of one of more than 90 letters, such as a path of many folders, its beginning and end."""
    text = printable(text)
    return text if len(text) <= 90 else f"{text[:40]} ... {text[-40:]}"


def printable(text: str, most: int | None = None) -> str:
    """The text on one line that every terminal and JSON take: bytes that are no UTF-8, and controls, are escaped.

    Of one that is longer, the first `most` letters.
    """
    begin = text[:most]
    shown = begin if begin.isprintable() else "".join(map(_printable, begin))
    return shown if len(begin) == len(text) else f"{shown}..."


def quoted(text: str) -> str:
    """What somebody else has written, such as a server: printable, and 500 letters of it."""
    return printable(text, 500)


def _printable(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def without_password(url: str) -> str:
    """Returns an address as it may be shown: without a user's name and password, also where that has a bare slash.

    Of a query that has a password or the like the value is left out.
    """
    url = re.sub(r"//(?:[^/]*|[^/:@[]*:(?!\d+/)[^@]*)@", "//", url)
    return re.sub(rf"([?&](?:{'|'.join(_SECRET_PARAMETERS)})=)[^&#]*", r"\1...", url, flags=re.IGNORECASE)
