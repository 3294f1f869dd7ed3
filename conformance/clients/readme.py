"""The five minutes of the README, as they are written there, against a demo of this tree."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from fleet.server import ROOT, programs
from fleet.story import Story, expect, holds

story = Story("readme")
CHAPTER = "## Your own device in five minutes"


class Demo:
    """`fleetward demo` in a folder of its own, from where the README's commands are run."""

    def __init__(self):
        given = os.environ.get("FLEETWARD_CONFORMANCE_DIR")
        self.folder = pathlib.Path(given or tempfile.mkdtemp(prefix="fleetward-readme-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "target").mkdir()
        (self.folder / "target" / "release").symlink_to(programs())
        self.log = self.folder / "demo.log"
        command = [programs() / "fleetward", "demo", "--data-dir", "demo-data", "--devices", "30"]
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not (self.folder / "demo-data" / "demo.env").exists():
            holds(self.child.poll() is None, f"the demo ended: {self.log_tail()}")
            holds(time.monotonic() < deadline, f"no demo.env: {self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()


def commands() -> str:
    """The shell blocks of the chapter, with a breath between them as a reader takes it."""
    chapter = (ROOT / "README.md").read_text().split(CHAPTER, 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", chapter, re.S)
    holds(len(blocks) >= 4, f"{len(blocks)} blocks of commands in the chapter")
    return "set -euo pipefail\n" + "\nsleep 1\n".join(blocks)


@story.check
def five_minutes(demo):
    """A device of one's own is enrolled, connected, steered and thrown out"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLEETWARD_")}
    done = subprocess.run(["bash", "-c", commands()], cwd=demo.folder, env=env, capture_output=True, timeout=120)
    said = (done.stdout + done.stderr).decode()
    expect(done.returncode, 0, f"exit code of the commands:\n{said}")
    for wanted in ('"interval_s":30', "status: active", "status: suspended", "certificate.issued", "device.revoked"):
        holds(wanted in said, f"no {wanted!r} in:\n{said}")


def main():
    demo = Demo()
    try:
        story.tell(demo)
    finally:
        demo.stop()


if __name__ == "__main__":
    main()
