"""Templates of the reports, which are HTML files that load nothing else."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def html_environment(room: str) -> Environment:
    """Jinja's environment for the templates beside the code of `scenerec.ROOM`.

    What they are given is escaped, and a name that they are not given is an error.
    """
    return Environment(
        loader=PackageLoader("scenerec", room),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
