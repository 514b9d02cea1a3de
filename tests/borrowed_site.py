"""A folder with certain distributions of this environment and no others: what an installation would have."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

from packaging.requirements import Requirement


def normal(name: str) -> str:
    """A distribution's name as the packaging standard (PEP 503) compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(requirements: Iterable[Requirement]) -> set[str]:
    """Names of the distributions that pip would install for these, and for what these need."""
    seen: dict[str, set[str]] = {}
    for requirement in requirements:
        _add(requirement, seen)
    return set(seen)


def link(names: Iterable[str], site: Path) -> None:
    """Links the distributions of these names into a folder."""
    wanted = set(names)
    for found in distributions():
        if normal(found.name) in wanted:
            for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(str(found.locate_file(top))))


def _add(requirement: Requirement, seen: dict[str, set[str]]) -> None:
    """Adds what comes with a requirement, by name, with the extras that were asked for."""
    name, extras = normal(requirement.name), {"", *requirement.extras}
    new = extras - seen.setdefault(name, set())
    seen[name] |= new
    if not new:
        return
    try:
        needed = requires(requirement.name) or []
    except PackageNotFoundError:  # for another platform
        return
    for each in map(Requirement, needed):
        if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in new):
            _add(each, seen)
