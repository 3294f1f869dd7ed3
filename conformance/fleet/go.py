"""The program of conformance/go, built into the cache: by `scripts/setup.sh test` first, and again only where it has changed."""

import pathlib
import shutil

from fleet.python import CACHE
from fleet.server import ROOT, run

SOURCE = ROOT / "conformance" / "go"
# The SDK is large: a first build takes minutes on a small machine, a later one a second.
SECONDS = 280


def missing() -> str | None:
    """Why nothing can be built here, or None."""
    return None if shutil.which("go") else "there is no Go; install 1.24 or newer"


def sdk():
    """Asks Go for the version of the SDK."""
    return ["go", "-C", SOURCE, "list", "-m", "-f", "{{.Version}}", "github.com/aws/aws-sdk-go-v2/service/iot"]


def build() -> pathlib.Path:
    folder = CACHE / "go"
    env = {"GOCACHE": str(folder / "build"), "GOMODCACHE": str(folder / "modules"), "GOFLAGS": "-mod=readonly -modcacherw"}
    program = folder / "awsgo"
    run(["go", "-C", SOURCE, "build", "-o", program, "."], env=env, timeout=SECONDS)
    return program
