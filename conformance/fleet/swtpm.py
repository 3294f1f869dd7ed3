"""A TPM in software with a maker of its own: swtpm, on a free port or a socket, in a folder of its own."""

import pathlib
import signal
import socket
import subprocess
import time

from fleet.server import run


def two_ports() -> int:
    """A free port whose next one is free too: tpm2-tools look for the control channel there."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                return port
            except (OSError, OverflowError):
                continue


class Swtpm:
    """Use it with `with`. The state stays in the folder, so that it can be started again: a reboot."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = None
        # The same after a reboot: whoever knows where it is knows it still.
        self.port = two_ports()
        (self.folder / "state").mkdir(exist_ok=True)
        names = {key: self.folder / key for key in ("signkey.pem", "issuercert.pem", "serial")}
        (self.folder / "localca.conf").write_text(
            f"statedir = {self.folder}\nsigningkey = {names['signkey.pem']}\n"
            f"issuercert = {names['issuercert.pem']}\ncertserial = {names['serial']}\n"
        )
        (self.folder / "localca.options").write_text(
            "--platform-manufacturer Fleetward\n--platform-version 1\n--platform-model test\n"
        )
        (self.folder / "setup.conf").write_text(
            "create_certs_tool = /usr/bin/swtpm_localca\n"
            f"create_certs_tool_config = {self.folder / 'localca.conf'}\n"
            f"create_certs_tool_options = {self.folder / 'localca.options'}\n"
            "active_pcr_banks = sha256\n"
        )
        command = ["swtpm_setup", "--tpm2", "--create-ek-cert", "--tpmstate", self.folder / "state"]
        run([*command, "--config", self.folder / "setup.conf", "--logfile", self.folder / "setup.log"])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        command = ["swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear"]
        command += ["--tpmstate", f"dir={self.folder / 'state'}"]
        for name, port in (("server", self.port), ("ctrl", self.port + 1)):
            command += [f"--{name}", f"type=tcp,port={port},bindaddr=127.0.0.1"]
        with open(self.folder / "swtpm.log", "ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port + 1), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("swtpm did not begin")

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            self.child.wait(30)

    def reboot(self):
        self.stop()
        self.start()

    @property
    def place(self) -> str:
        """As the agent takes it."""
        return f"tcp:127.0.0.1:{self.port}"

    def tool(self, name: str, *arguments) -> bytes:
        """One of tpm2-tools, unmodified."""
        env = {"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={self.port}"}
        return run([f"tpm2_{name}", *arguments], env=env).stdout

    def maker(self) -> tuple[pathlib.Path, pathlib.Path]:
        """Certificates of its maker: the one that issues, and the root."""
        return self.folder / "issuercert.pem", self.folder / "swtpm-localca-rootca-cert.pem"
