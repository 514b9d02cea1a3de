"""Templates of the reports, which are HTML files that load nothing else."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def html_environment(package: str) -> Environment:
    """Makes Jinja's environment for the templates beside the code of `scenerec.PACKAGE`.

    What they are given is escaped, and a name that they are not given is an error.
    """
    return Environment(
        loader=PackageLoader("scenerec", package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
