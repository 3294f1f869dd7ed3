"""The agent with a TPM in software: its key certified before it has a certificate, attested and let in; tampered with and
quarantined."""

import contextlib
import subprocess

from fleet.server import Server, programs
from fleet.story import Story, expect, holds, until
from fleet.swtpm import Swtpm

story = Story("swtpm")
HARDWARE = "rev-a"


@contextlib.contextmanager
def agent(server, name, token, tpm=None):
    """The agent's program, until the block ends."""
    folder = server.folder / f"agent-{name}"
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    command = [programs() / "fleetward-agent", "run", "--server", "localhost", "--device-port", server.device_port]
    command += ["--mqtt-port", server.mqtt_port, "--ca", server.ca, "--device", name, "--hardware", HARDWARE]
    command += ["--tenant", "acme", "--token-file", folder / "token", "--data-dir", folder / "data"]
    command += ["--event-log", folder / "none"]
    if tpm:
        command += ["--tpm", tpm.place, "--keys", f"tpm:{tpm.place}"]
    with open(folder / "agent.log", "ab") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            yield
        finally:
            child.terminate()
            child.wait(30)


def stands(server, name):
    return server.ctl("attestation", "show", name, tenant="acme")


def device(server, name):
    return server.ctl("device", "show", name, tenant="acme")


def events(server, name):
    return [row for row in server.ctl("event", "list", tenant="acme") if row["device"] == name]


def actions(server, name):
    return [row["action"] for row in events(server, name)]


def causes(server, name):
    return [row["detail"].get("cause") for row in events(server, name)]


def certificates(server, name):
    return server.ctl("device", "certificates", name, tenant="acme")


def reported(server, name):
    """Whether the agent could report into its shadow, which it may not while it is held back."""
    shadow = server.ctl("shadow", "get", name, tenant="acme", check=False)
    return bool(shadow) and shadow.get("state", {}).get("reported")


@story.check
def enrolled_attested_let_in(server):
    """The agent's TPM vouches for its key before there is a certificate; it attests, teaches its cohort, and gets all its rights"""
    server.ctl("attestation", "learn", "--hardware", HARDWARE, "--devices", "1", tenant="acme")
    token = server.enrol_token("acme", "gw-1", "--class", "gateway", "--hardware", HARDWARE)
    with agent(server, "gw-1", token, server.tpm):
        found = until(lambda: (it := stands(server, "gw-1"))["verdict"] and it, "a verdict")
        expect((found["verdict"], found["restricted"], found["root_of_trust"]), ("affirming", None, "tpm2"))
        until(lambda: reported(server, "gw-1"), "a report in its shadow")
        record = device(server, "gw-1")
        expect((record["status"], record["attestation"]["verdict"], record["attestation"]["format"]), ("active", "affirming", "tpm2"))
    holds("attestation.key_certified" in actions(server, "gw-1"), "the key was certified before")


@story.check
def no_certificate_for_another_key(server):
    """An agent of that class whose key is in a file gets no certificate at all, whatever its token"""
    token = server.enrol_token("acme", "gw-2", "--class", "gateway", "--hardware", HARDWARE)
    with agent(server, "gw-2", token):
        until(lambda: "key-not-certified" in causes(server, "gw-2"), "a refusal")
    holds(not server.ctl("device", "certificates", "gw-2", tenant="acme", check=False), "there is none")


@story.check
def without_a_tpm(server):
    """An agent of another class that cannot attest is connected and held back"""
    token = server.enrol_token("acme", "gw-3", "--class", "endpoint", "--hardware", HARDWARE)
    with agent(server, "gw-3", token):
        until(lambda: device(server, "gw-3")["presence"] == "online", "a connection")
        expect(stands(server, "gw-3")["restricted"], "never-attested")
        holds(not reported(server, "gw-3"), "its shadow is not its to write")


@story.check
def renewed(server):
    """Asked to renew, the agent has its TPM vouch for the next key too, and goes on with it"""
    before = device(server, "gw-1")["certificate"]["serial"]
    with agent(server, "gw-1", "", server.tpm):
        until(lambda: device(server, "gw-1")["presence"] == "online", "a connection")
        server.ctl("device", "renew", "gw-1", tenant="acme")
        until(lambda: device(server, "gw-1")["certificate"]["serial"] != before, "another certificate")
        newest = device(server, "gw-1")["certificate"]["serial"]
        proven = lambda: any(row["serial"] == newest and row["proven_at"] for row in certificates(server, "gw-1"))
        until(proven, "its first use")
    expect(actions(server, "gw-1").count("certificate.renewed"), 1)


@story.check
def reboots_and_stays(server):
    """After a reboot into the same state it attests again, and the count of starts grows"""
    before = stands(server, "gw-1")
    server.tpm.reboot()
    with agent(server, "gw-1", "", server.tpm):
        found = until(lambda: (it := stands(server, "gw-1"))["attested_at"] != before["attested_at"] and it, "another verdict")
        expect((found["verdict"], found["reasons"]), ("affirming", []))
        holds(found["boots"] > before["boots"], f"{before['boots']} starts, then {found['boots']}")


@story.check
def tampered(server):
    """A machine that booted something else is quarantined, with an event, and keeps what it needs to be updated"""
    before = stands(server, "gw-1")
    server.tpm.reboot()
    server.tpm.tool("pcrextend", "4:sha256=" + "ab" * 32)
    with agent(server, "gw-1", "", server.tpm):
        found = until(lambda: (it := stands(server, "gw-1"))["attested_at"] != before["attested_at"] and it, "another verdict")
        expect((found["verdict"], found["reasons"]), ("contraindicated", ["unknown-measurement:pcr/4"]))
        expect(device(server, "gw-1")["status"], "quarantined")
        until(lambda: device(server, "gw-1")["presence"] == "online", "a connection")
    critical = [row["action"] for row in events(server, "gw-1") if row["severity"] == "critical"]
    expect(sorted(critical), ["attestation.verdict", "device.status_changed"])


if __name__ == "__main__":
    with Server() as server, Swtpm(server.folder / "tpm") as tpm:
        server.tpm = tpm
        server.tenant("acme")
        gateway = '{"required": true, "root_of_trust": ["tpm2"], "certified_key": true}'
        asks = f'attestation.classes={{"gateway": {gateway}, "endpoint": {{"required": true}}}}'
        server.ctl("tenant", "policy", "set", asks, tenant="acme")
        server.ctl("attestation", "anchor", "add", "tpm-root", tpm.maker()[0], "--name", "swtpm", tenant="acme")
        story.tell(server)
