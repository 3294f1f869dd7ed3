"""Our own agent as a process, with operations that lie in its folder."""

import contextlib
import stat
import subprocess

from .server import programs


def folder(server, name):
    return server.folder / f"agent-{name}"


@contextlib.contextmanager
def agent(server, name, token, *arguments, boot="boot-1"):
    """The agent's program, until the block ends; a boot of the device is a name in a file."""
    here = folder(server, name)
    (here / "operations").mkdir(parents=True, exist_ok=True)
    (here / "token").write_text(token)
    (here / "boot").write_text(boot)
    command = [programs() / "fleetward-agent", "run", "--server", "localhost", "--device-port", server.device_port]
    command += ["--mqtt-port", server.mqtt_port, "--ca", server.ca, "--device", name, "--hardware", "rev-a"]
    command += ["--tenant", "acme", "--token-file", here / "token", "--data-dir", here / "data"]
    command += ["--commands", here / "operations", "--boot-id", here / "boot", *arguments]
    with open(here / "agent.log", "ab") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(30)


def operation(server, name, op, body, policy=None):
    """A program of the owner of the device, and what becomes of it after a cut."""
    here = folder(server, name) / "operations"
    here.mkdir(parents=True, exist_ok=True)
    here.chmod(0o755)
    file = here / op
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    if policy:
        (here / f"{op}.policy").write_text(policy)
        (here / f"{op}.policy").chmod(0o644)
