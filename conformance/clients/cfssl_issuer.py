"""cfssl as Debian ships it, as the issuer of a tenant: `cfssl serve` with an authentication key signs for our devices."""

import json
import os
import pathlib
import re
import socket
import subprocess
import time

from fleet.server import Server, run
from fleet.story import Story, expect, holds

CFSSL = os.environ.get("FLEETWARD_CFSSL", "cfssl")
KEY = "00112233445566778899aabbccddeeff"
USAGES = ["digital signature", "client auth"]
# `hosts` of the request becomes the subjectAltName; cfssl up to 1.2 writes every name that is no address as a dNSName.
CONFIG = {
    "signing": {
        "default": {"usages": USAGES, "expiry": "24h"},
        "profiles": {
            "device": {"usages": USAGES, "expiry": "2000h", "auth_key": "fleetward"},
            "long": {"usages": USAGES, "expiry": "20000h", "auth_key": "fleetward"},
            "server": {"usages": ["digital signature", "server auth"], "expiry": "24h", "auth_key": "fleetward"},
            "open": {"usages": USAGES, "expiry": "24h"},
        },
    },
    "auth_keys": {"fleetward": {"type": "standard", "key": KEY}},
}

story = Story("cfssl")


class Cfssl:
    """`cfssl serve` on loopback with a CA of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.child = None
        folder.mkdir(parents=True, exist_ok=True)
        request = folder / "ca.json"
        request.write_text(json.dumps({"CN": "Elsewhere CA", "key": {"algo": "ecdsa", "size": 256}}))
        made = json.loads(run([CFSSL, "gencert", "-initca", request]).stdout)
        (folder / "ca.pem").write_text(made["cert"])
        (folder / "ca-key.pem").write_text(made["key"])
        (folder / "ca-key.pem").chmod(0o600)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def ca(self) -> pathlib.Path:
        return self.folder / "ca.pem"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [CFSSL, "serve", "-address", "127.0.0.1", "-port", str(self.port), "-ca", self.ca]
        command += ["-ca-key", self.folder / "ca-key.pem", "-config", self.folder / "config.json"]
        with open(self.folder / "cfssl.log", "ab") as log:
            self.child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("cfssl did not start")

    def stop(self):
        if self.child:
            self.child.kill()
            self.child.wait()
            self.child = None


def use(server, cfssl, profile, key=KEY):
    """Has cfssl sign for acme from now on."""
    file = server.folder / "auth.key"
    file.write_text(key)
    file.chmod(0o600)
    options = ["--authorities", cfssl.ca, "--profile", profile]
    return server.ctl("issuer", "set", "cfssl", *options, "--auth-key", file, cfssl.url, tenant="acme")


def ask(server, name):
    """One enrolment: the status and the headers."""
    token = server.enrol_token("acme", name)
    _, request = server.key_and_request(name)
    headers = server.folder / "headers"
    status, _ = server.est("acme/simpleenroll", request, "-u", f"{name}:{token}", "-D", headers)
    return status, headers.read_text().lower()


def waits(server, name):
    """The device is told to come back."""
    status, headers = ask(server, name)
    expect(status, 503)
    holds("retry-after:" in headers, headers)


@story.check
def enrols(server):
    """A device enrols, renews and is known by what cfssl signed"""
    shown = use(server, server.cfssl, "device")
    holds(shown["credential"] and KEY not in json.dumps(shown), shown)
    healthy = server.ctl("issuer", "check", tenant="acme")
    holds(healthy["healthy"], healthy)
    device = server.enrol("acme", "gw-1")
    text = run(["openssl", "x509", "-in", device.cert, "-noout", "-text"]).stdout.decode()
    holds(re.search(r"(URI|DNS):urn:fleetward:acme:gw-1\b", text), text)
    holds("Issuer: CN = Elsewhere CA" in text, text)
    run(["openssl", "verify", "-CAfile", server.cfssl.ca, "-purpose", "sslclient", device.cert])
    _, request = server.key_and_request("gw-1-next", "/CN=gw-1")
    held = ["--cert", device.cert, "--key", device.key]
    status, body = server.est("acme/simplereenroll", request, *held)
    expect(status, 200)
    renewed = run(["openssl", "x509", "-noout", "-issuer", "-in", server.keep_certificate("gw-1-next", body)])
    holds(b"Elsewhere CA" in renewed.stdout, renewed.stdout)


@story.check
def authorities(server):
    """EST cacerts has cfssl's authority before the root"""
    status, body = server.est("acme/cacerts")
    expect(status, 200)
    first = run(["openssl", "x509", "-noout", "-subject", "-in", server.keep_certificate("cacerts", body)]).stdout
    holds(b"Elsewhere CA" in first, first)


@story.check
def wrong_key(server):
    """With a wrong authentication key the device is told to come back, and nothing is kept"""
    use(server, server.cfssl, "device", key="ff" * 16)
    waits(server, "gw-wrong")
    shown = server.ctl("issuer", "show", tenant="acme")
    holds("invalid token" in (shown["recent"]["failure"] or ""), shown)


@story.check
def too_long(server):
    """A profile that lasts longer than the policy allows is refused when its certificate comes back"""
    use(server, server.cfssl, "long")
    waits(server, "gw-long")
    holds("longer than" in server.ctl("issuer", "show", tenant="acme")["recent"]["failure"], "no reason")


@story.check
def wrong_usage(server):
    """So is a profile for servers"""
    use(server, server.cfssl, "server")
    waits(server, "gw-server")
    # What it was refused for is that it is no client's.
    holds("usage" in server.ctl("issuer", "show", tenant="acme")["recent"]["failure"], "no reason")


@story.check
def needs_key(server):
    """A profile without a key is not asked with one"""
    use(server, server.cfssl, "open")
    waits(server, "gw-open")


@story.check
def away(server):
    """While cfssl is away devices are told to come back, and what it signed before still counts"""
    use(server, server.cfssl, "device")
    device = server.enrol("acme", "gw-2")
    server.cfssl.stop()
    waits(server, "gw-3")
    holds(not server.ctl("issuer", "check", tenant="acme")["healthy"], "it is away")
    held = ["--cert", device.cert, "--key", device.key]
    status, _ = server.est("acme/cacerts", None, *held)
    expect(status, 200)
    server.cfssl.start()
    expect(ask(server, "gw-3")[0], 200)


@story.check
def own_again(server):
    """The own key signs again, and a device of cfssl renews there"""
    device = server.enrol("acme", "gw-4")
    server.ctl("issuer", "set", "built-in", tenant="acme")
    _, request = server.key_and_request("gw-4-next", "/CN=gw-4")
    status, body = server.est("acme/simplereenroll", request, "--cert", device.cert, "--key", device.key)
    expect(status, 200)
    said = run(["openssl", "x509", "-noout", "-issuer", "-in", server.keep_certificate("gw-4-next", body)]).stdout
    holds(b"acme" in said, said)


def main():
    with Server() as server:
        server.cfssl = Cfssl(server.folder / "cfssl")
        try:
            server.cfssl.start()
            server.tenant("acme")
            story.tell(server)
        finally:
            server.cfssl.stop()


if __name__ == "__main__":
    main()
