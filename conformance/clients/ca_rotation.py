"""OpenSSL, curl and the agent through a change of the root and of an issuing authority: nobody is lost, whatever they hold."""

import contextlib
import subprocess
import time

from fleet.server import Server, programs, run
from fleet.story import Story, expect, holds, until

story = Story("ca-rotation")


def certificates(pem):
    """The certificates of a PEM text, each as a text of its own."""
    blocks = pem.split("-----BEGIN CERTIFICATE-----")[1:]
    return ["-----BEGIN CERTIFICATE-----" + block.split("-----END")[0] + "-----END CERTIFICATE-----\n" for block in blocks]


def about(certificate):
    """Subject and issuer."""
    said = run(["openssl", "x509", "-noout", "-subject", "-issuer"], stdin=certificate.encode()).stdout.decode()
    lines = [line.split("=", 1)[1].strip() for line in said.strip().splitlines()]
    return lines[0], lines[1]


def fetch(server, device=None, check=200):
    """cacerts, as a device or as nobody."""
    held = ["--cert", device.cert, "--key", device.key] if device else []
    status, body = server.est("acme/cacerts", None, *held)
    expect(status, check)
    name = f"cacerts-{time.monotonic_ns()}"
    return certificates(server.keep_certificate(name, body).read_text())


def reaches(server, anchors):
    """Whether somebody who holds these anchors alone believes the server."""
    done = run(["curl", "-sS", "--cacert", anchors, f"{server.device_url}/.well-known/est/acme/cacerts"], check=False)
    return done.returncode == 0


def shown(server):
    return server.ctl("ca", "rotation", "show", "--root")


@contextlib.contextmanager
def agent(server):
    """The agent's program, until the block ends. All that it ever believes comes from the root of its first day."""
    folder = server.folder / "agent"
    if not folder.exists():
        folder.mkdir()
        (folder / "ca.pem").write_text(server.old.read_text())
        (folder / "token").write_text(server.enrol_token("acme", "agent", "--hardware", "r1"))
    command = [programs() / "fleetward-agent", "run", "--server", "localhost", "--device-port", server.device_port]
    command += ["--mqtt-port", server.mqtt_port, "--ca", folder / "ca.pem", "--device", "agent", "--hardware", "r1"]
    command += ["--tenant", "acme", "--token-file", folder / "token", "--data-dir", folder / "data"]
    with open(folder / "agent.log", "ab") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            yield
        finally:
            child.terminate()
            child.wait(30)


def held(server):
    """Fingerprints of the roots that the agent has kept."""
    done = run([programs() / "fleetward-agent", "status", "--data-dir", server.folder / "agent" / "data"])
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    return [words[1] for words in lines if words and words[0] == "root"]


def fingerprint(pem):
    said = run(["openssl", "x509", "-noout", "-fingerprint", "-sha256"], stdin=pem.encode()).stdout.decode()
    return said.strip().split("=")[1].replace(":", "").lower()


def online(server):
    return server.ctl("device", "show", "agent", tenant="acme")["presence"] == "online"


@story.check
def publish(server):
    """cacerts carries both roots and both cross certificates; a device that fetches it as itself counts, and an agent is told"""
    server.old = server.folder / "old-root.pem"
    server.old.write_text(server.ca.read_text())
    server.agent = server.stack.enter_context(agent(server))
    until(lambda: online(server), "the agent")
    server.field = [server.enrol("acme", name) for name in ("gw-1", "gw-2")]
    for device in server.field:
        # A certificate is proven by its first use.
        fetch(server, device)
    server.ctl("ca", "rotation", "start", "--root", "--settle", "0")
    until(lambda: shown(server)["holding_devices"] == 1, "the agent's report")
    listed = [about(certificate) for certificate in fetch(server)]
    expect(shown(server)["holding_devices"], 1, "nobody in particular holds it")
    expect(sorted(held(server)), sorted(fingerprint(pem) for pem in fetch(server) if len(set(about(pem))) == 1))
    roots = {subject for subject, issuer in listed if subject == issuer}
    expect(len(roots), 2)
    pairs = {(subject, issuer) for subject, issuer in listed if subject in roots}
    expect(len(pairs), 4, "OldWithOld, OldWithNew, NewWithOld, NewWithNew")
    fetch(server, server.field[0])
    found = shown(server)
    expect((found["holding_devices"], found["active_devices"], found["stage"]), (2, 3, "publish"))
    refused = run_ctl(server, "ca", "rotation", "advance", "--root")
    holds(refused.returncode == 5 and b"2 of 3" in refused.stderr, refused)


def run_ctl(server, *arguments):
    """wardctl that may fail."""
    try:
        server.ctl(*arguments)
    except RuntimeError as error:
        return type("Done", (), {"returncode": int(str(error).split("exit ")[1].split(":")[0]), "stderr": str(error).encode()})
    return type("Done", (), {"returncode": 0, "stderr": b""})


@story.check
def issue(server):
    """The new root vouches for the server at once; who holds the old one alone, or the new one alone, believes it"""
    listed = fetch(server, server.field[1])
    old = about(server.old.read_text())[0]
    new = next(pem for pem in listed if about(pem)[0] == about(pem)[1] != (old, old) and about(pem)[0] != old)
    server.new = server.folder / "new-root.pem"
    server.new.write_text(new)
    # The reconciler may have been quicker.
    if shown(server)["stage"] == "publish":
        server.ctl("ca", "rotation", "advance", "--root")
    expect(shown(server)["stage"], "issue")
    holds(reaches(server, server.old), "by NewWithOld")
    holds(reaches(server, server.new), "by the new root")


@story.check
def retired(server):
    """Tenants go under the new root with the keys that they have, and the old one is forgotten"""
    server.ca.write_text(server.old.read_text() + server.new.read_text())
    until(lambda: shown(server)["stage"] == "retired", "the end of the rotation", 120)
    holds(not reaches(server, server.old), "the old root vouches for nobody")
    holds(reaches(server, server.new), "the new one does")
    until(lambda: held(server) == [fingerprint(server.new.read_text())], "the agent to give the old root up")
    server.stack.close()
    until(lambda: not online(server), "its end")
    with agent(server):
        until(lambda: online(server), "the agent, which was never given another file")
    server.ca.write_text(server.new.read_text())
    listed = fetch(server, server.field[0])
    expect(len(listed), 2, "issuing authority and root")
    chain = server.folder / "chain.pem"
    chain.write_text("".join(listed))
    for device in server.field:
        # Issued under the old root, and verified under the new one.
        run(["openssl", "verify", "-purpose", "sslclient", "-CAfile", server.new, "-untrusted", chain, device.cert])
    fetch(server, server.enrol("acme", "gw-3"))


@story.check
def issuing(server):
    """An issuing authority is followed by another; what the old one signed counts until it is retired by force"""
    before = about(fetch(server)[0])[0]
    server.ctl("ca", "rotation", "start", tenant="acme")
    expect(len(fetch(server)), 3, "the next one is shown")
    server.ctl("ca", "rotation", "advance", "--force", tenant="acme")
    device = server.enrol("acme", "gw-4")
    issuer = run(["openssl", "x509", "-noout", "-issuer", "-in", device.cert]).stdout.decode()
    holds(before.split("CN = ")[1] not in issuer, issuer)
    _, request = server.key_and_request("gw-1-next", "/CN=gw-1")
    held = ["--cert", server.field[0].cert, "--key", server.field[0].key]
    expect(server.est("acme/simplereenroll", request, *held)[0], 200, "known by the old one")
    server.ctl("ca", "rotation", "advance", "--force", tenant="acme")
    _, request = server.key_and_request("gw-2-next", "/CN=gw-2")
    held = ["--cert", server.field[1].cert, "--key", server.field[1].key]
    try:
        status = server.est("acme/simplereenroll", request, *held)[0]
    except RuntimeError:
        status = 401  # The handshake was refused already.
    holds(status in (401, 403), status)
    fetch(server, device)


def main():
    with Server() as server, contextlib.ExitStack() as stack:
        server.stack = stack
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
