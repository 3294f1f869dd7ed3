"""The Python environments and Node packages that `scripts/setup.sh test` makes, so that a script runs with what it needs."""

import os
import pathlib
import sys

CACHE = pathlib.Path(
    os.environ.get("FLEETWARD_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fleetward"
)


def interpreter(name: str) -> pathlib.Path:
    return CACHE / "python" / name / "bin" / "python"


def node_packages() -> pathlib.Path:
    """The folder with the packages of conformance/node."""
    return CACHE / "node"


def run_in(name: str):
    """Runs this program again in that environment, unless it is already in it."""
    wanted = interpreter(name)
    if pathlib.Path(sys.prefix) == wanted.parents[1]:
        return
    if not wanted.exists():
        raise SystemExit(f"{wanted} is missing: run `scripts/setup.sh test`")
    os.execv(wanted, [str(wanted), *sys.argv])
