"""swtpm: the root key in a TPM 2.0, over a restart of both, bound to the state of the machine."""

import pathlib
import socket
import subprocess
import tempfile
import time

from fleet.server import Server, programs, run
from fleet.story import Story, expect, holds

story = Story("swtpm")


def free_ports():
    """Two ports, one after the other: tpm2-tools look for the control port there."""
    while True:
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                next_one.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port, port + 1


class Tpm:
    """A TPM with its state in a folder, on two ports that stay the same over its restarts."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.control = free_ports()
        self.child = None

    def start(self):
        command = ["swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate", f"dir={self.folder}"]
        command += ["--server", f"type=tcp,port={self.port},bindaddr=127.0.0.1"]
        command += ["--ctrl", f"type=tcp,port={self.control},bindaddr=127.0.0.1"]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.control)).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("swtpm does not start")

    def stop(self):
        self.child.terminate()
        self.child.wait()

    def extend(self, pcr):
        """As a boot with something else in it would, by tpm2-tools."""
        tcti = f"swtpm:host=127.0.0.1,port={self.port}"
        run(["tpm2_pcrextend", "-T", tcti, f"{pcr}:sha256={'07' * 32}"])

    def seal(self, query=""):
        return f"tpm:tcp:127.0.0.1:{self.port}{query}"


def status(server, seal, check=True):
    return run([programs() / "fleetward", "seal", "status", "--data-dir", server.data, "--seal", seal], check=check)


@story.check
def issues(server):
    """A device enrols at a server whose root key is in the TPM"""
    server.tenant("acme")
    server.enrol("acme", "gw-1")


@story.check
def over_a_restart(server):
    """The server and the TPM start again, and another device enrols"""
    server.stop()
    server.tpm.stop()
    server.tpm.start()
    server.start()
    server.enrol("acme", "gw-2")


@story.check
def bound_to_pcrs(server):
    """Bound to a PCR it opens until the PCR is another"""
    server.stop()
    bound = server.tpm.seal("?pcrs=16")
    migrate = [programs() / "fleetward", "seal", "migrate", "--data-dir", server.data]
    run([*migrate, "--seal", server.tpm.seal(), "--to", bound])
    holds(b"under tpm:" in status(server, bound).stdout, "it opens")
    server.tpm.extend(16)
    refused = status(server, bound, check=False)
    expect(refused.returncode, 1)
    holds(b"the PCRs are not as they were" in refused.stderr, refused.stderr)
    # As after a boot with the right things in it.
    server.tpm.stop()
    server.tpm.start()
    run([*migrate, "--seal", bound, "--to", server.tpm.seal()])
    server.start()
    server.enrol("acme", "gw-3")


@story.check
def another_tpm(server):
    """In another TPM it does not open, and without one the server says so"""
    server.stop()
    with tempfile.TemporaryDirectory(prefix="fleetward-tpm-") as folder:
        other = Tpm(folder)
        other.start()
        refused = status(server, other.seal(), check=False)
        other.stop()
    holds(b"another TPM sealed it" in refused.stderr, refused.stderr)
    refused = status(server, other.seal(), check=False)
    holds(b"out of reach" in refused.stderr, refused.stderr)
    server.start()


def main():
    with tempfile.TemporaryDirectory(prefix="fleetward-tpm-") as folder:
        tpm = Tpm(folder)
        tpm.start()
        try:
            server = Server(arguments=["--seal", tpm.seal()])
            server.tpm = tpm
            with server:
                story.tell(server)
        finally:
            tpm.stop()


if __name__ == "__main__":
    main()
