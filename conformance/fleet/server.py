"""A server of one's own: started on free ports in a folder of its own, reached through its public doors only."""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 60


def programs() -> pathlib.Path:
    """The folder with the programs: FLEETWARD_BIN_DIR, or the newer build of this tree."""
    if given := os.environ.get("FLEETWARD_BIN_DIR"):
        return pathlib.Path(given).resolve()
    built = [ROOT / "target" / kind / "fleetward" for kind in ("release", "debug")]
    there = [path for path in built if path.exists()]
    if not there:
        raise SystemExit("no programs: run `make build`, or set FLEETWARD_BIN_DIR")
    return max(there, key=lambda path: path.stat().st_mtime).parent


def run(command, stdin=None, env=None, check=True, timeout=120) -> subprocess.CompletedProcess:
    """Runs a program and gives its output; what it said stands in the error when it fails."""
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, timeout=timeout, env={**os.environ, **(env or {})}
    )
    if check and done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}: {said}")
    return done


def shared(rest: str) -> str:
    """A topic that every device of a tenant may publish and subscribe to."""
    return f"shared/{rest}"


@dataclass
class Device:
    """An enrolled device: the files that a client needs."""

    tenant: str
    name: str
    key: pathlib.Path
    cert: pathlib.Path
    ca: pathlib.Path

    def topic(self, rest: str) -> str:
        """A topic that this device may use."""
        return f"devices/{self.name}/{rest}"

    def shadow(self, rest: str) -> str:
        return f"$aws/things/{self.name}/shadow/{rest}"

    def serial(self) -> str:
        said = run(["openssl", "x509", "-in", self.cert, "-noout", "-serial"]).stdout.decode()
        return said.strip().split("=")[1].lower()


class Server:
    """`fleetward serve` as a child. Use it with `with`; it is killed at the end."""

    def __init__(self, folder=None, database=None, arguments=(), listen=None):
        given = folder or os.environ.get("FLEETWARD_CONFORMANCE_DIR")
        self.folder = pathlib.Path(given or tempfile.mkdtemp(prefix="fleetward-conformance-"))
        self.data = self.folder / "data"
        self.devices = self.folder / "devices"
        self.devices.mkdir(parents=True, exist_ok=True)
        self.database = database
        self.arguments = list(arguments)
        # Where a client knows one port only; any free one otherwise.
        self.listen = {**dict.fromkeys(("operator", "device", "mqtt", "metrics"), "127.0.0.1:0"), **(listen or {})}
        self.child = None
        self.endpoints = {}
        self.token = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    # --- life

    def start(self):
        """Starts it and waits until it is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        ready = self.data / "endpoints.json"
        ready.unlink(missing_ok=True)
        command = [programs() / "fleetward", "serve", "--data-dir", self.data, "--public-host", "localhost"]
        for door, address in self.listen.items():
            command += [f"--{door}-listen", address]
        if self.database:
            command += ["--database", self.database]
        with open(self.folder / "server.log", "ab") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command + self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise RuntimeError(f"the server ended with {self.child.returncode}:\n{self.log_tail()}")
            try:
                self.endpoints = json.loads(ready.read_text())
                break
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.02)
        else:
            raise RuntimeError(f"the server was not ready after {START_SECONDS} s:\n{self.log_tail()}")
        if self.token is None:
            setup = (self.data / "setup-token").read_text().strip()
            self.token = self.ctl("setup", setup)["token"]

    def kill(self):
        """kill -9, which gives it no chance to write anything."""
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()

    def stop(self):
        """Asks it to stop and waits."""
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(30)
        if code != 0:
            raise RuntimeError(f"the server stopped with {code}:\n{self.log_tail()}")

    def log_tail(self, lines=20) -> str:
        return "\n".join((self.folder / "server.log").read_text(errors="replace").splitlines()[-lines:])

    # --- where it is

    @property
    def ca(self) -> pathlib.Path:
        return pathlib.Path(self.endpoints["ca_file"])

    @property
    def mqtt_port(self) -> int:
        return int(self.endpoints["mqtt_port"])

    @property
    def device_port(self) -> int:
        return int(self.endpoints["device_port"])

    @property
    def device_url(self) -> str:
        host = self.listen["device"].rpartition(":")[0]
        return f"https://{'localhost' if host == '127.0.0.1' else host}:{self.device_port}"

    # --- operators

    def ctl(self, *arguments, tenant=None, check=True):
        """`wardctl ... -o json`; what it answered, or None where it answered nothing."""
        env = {
            "FLEETWARD_URL": self.endpoints["operator_url"],
            "FLEETWARD_CA_FILE": str(self.ca),
            "FLEETWARD_TOKEN": self.token or "",
            "FLEETWARD_TENANT": tenant or "",
        }
        done = run([programs() / "wardctl", *arguments, "-o", "json"], env=env, check=check)
        text = done.stdout.decode().strip()
        return json.loads(text) if text else None

    def tenant(self, name: str) -> str:
        self.ctl("tenant", "create", name)
        return name

    # --- devices

    def enrol_token(self, tenant: str, name: str, *arguments) -> str:
        return self.ctl("enroll-token", "create", name, *arguments, tenant=tenant)["token"]

    def key_and_request(self, name: str, subject: str | None = None) -> tuple[pathlib.Path, bytes]:
        """A fresh P-256 key in a file, and a request for it in DER."""
        key = self.devices / f"{name}.key"
        made = run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
            + ["-subj", subject or f"/CN={name}", "-outform", "DER"]
        )
        return key, made.stdout

    def est(self, path: str, request: bytes | None = None, *curl) -> tuple[int, bytes]:
        """One EST exchange by curl: the status and the body. Without a request it is a GET."""
        command = ["curl", "-sS", "--cacert", self.ca, "-o", "-", "-w", "%{stderr}%{http_code}", *curl]
        if request is not None:
            command += ["-H", "Content-Type: application/pkcs10", "--data-binary", "@-"]
        body = base64.b64encode(request) if request is not None else None
        done = run([*command, f"{self.device_url}/.well-known/est/{path}"], stdin=body, check=False)
        status = re.search(rb"(\d{3})$", done.stderr)
        if status is None or status.group(1) == b"000":
            raise RuntimeError(f"EST {path}: {done.stderr.decode(errors='replace')}")
        return int(status.group(1)), done.stdout

    def keep_certificate(self, name: str, body: bytes) -> pathlib.Path:
        """The certificate out of an EST answer, as PEM in a file."""
        cert = self.devices / f"{name}.pem"
        pem = run(["openssl", "pkcs7", "-inform", "DER", "-print_certs"], stdin=base64.b64decode(body)).stdout
        cert.write_bytes(pem)
        return cert

    def enrol(self, tenant: str, name: str, *arguments) -> Device:
        """A device with a key and a certificate of its own, by EST with openssl and curl."""
        token = self.enrol_token(tenant, name, *arguments)
        key, request = self.key_and_request(name)
        status, body = self.est(f"{tenant}/simpleenroll", request, "-u", f"{name}:{token}")
        if status != 200:
            raise RuntimeError(f"enrolling {name}: {status} {body.decode(errors='replace')}")
        return Device(tenant, name, key, self.keep_certificate(name, body), self.ca)

    # --- updates

    def release(self, tenant: str, version: str, content: bytes, hardware: str, name: str = "firmware") -> str:
        """A signed release with one artifact; the signing key is made on first use and stays here."""
        key = self.folder / f"{tenant}-release.key"
        if not key.exists():
            self.ctl("key", "create", key)
            self.ctl("key", "register", key, "--name", "conformance", tenant=tenant)
        artifact = self.folder / f"{name}-{version}.img"
        artifact.write_bytes(content)
        options = ["--name", name, "--version", version, "--key", key, "--artifact", f"{artifact}={hardware}"]
        self.ctl("release", "create", *options, tenant=tenant)
        return f"{name}@{version}"

    def rollout(self, tenant: str, release: str, *devices: str) -> dict:
        """A rollout to these devices, all at once."""
        options = ["--release", release, "--device", ",".join(devices), "--phase", "100%", "--soak", "0"]
        return self.ctl("rollout", "create", *options, tenant=tenant)
