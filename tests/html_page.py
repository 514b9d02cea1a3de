"""A page as a parser sees it."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags and the text of a page; refuses tags that do not match."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    @property
    def text(self) -> str:
        """What is read, with single spaces."""
        read = [text for tag, text in self.texts if tag not in ("script", "style", "title")]
        return re.sub(r"\s+", " ", " ".join(read)).strip()

    def within(self, tag: str) -> list[str]:
        """The texts that stand in this tag, as they are."""
        return [text for inside, text in self.texts if inside == tag]
