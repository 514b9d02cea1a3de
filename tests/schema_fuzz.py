"""schemathesis against a running server, by the server's own OpenAPI document."""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_CONFIG = Path(__file__).with_name("schemathesis.toml")
_PHASES = "examples,coverage,fuzzing"
_COUNT = re.compile(r"([\d,]+) generated")


@dataclass(frozen=True)
class SchemaFuzz:
    """What came out."""

    inputs: int
    """Requests tried."""
    passed: bool
    report: str
    """As schemathesis prints it: each failure with the curl command that repeats it."""


def fuzz_schema(address: str, examples: int, max_time_s: int | None = None, seed: int = 5) -> SchemaFuzz:
    """Tries at most so many random requests an operation, beside those at the edges of its schema.

    With `max_time_s` it goes on with new ones until that is over. `address` is host:port.
    """
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "--config-file", str(_CONFIG), "--no-color", "run", f"http://{address}/openapi.json"]
    command += ["--phases", _PHASES, "--max-examples", str(examples), "--seed", str(seed)]
    if max_time_s:
        command += ["--max-time", str(max_time_s)]
    # A proxy of the environment has no way to this server.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment["PYTHONIOENCODING"] = "utf-8"
    with tempfile.TemporaryDirectory() as folder:  # it keeps what it finds in the folder that it runs in
        finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    report = (finished.stdout + finished.stderr).decode(errors="replace")
    counted = _COUNT.findall(report)
    return SchemaFuzz(int(counted[-1].replace(",", "")) if counted else 0, finished.returncode == 0, report)
