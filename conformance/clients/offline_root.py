"""OpenSSL and curl under a root that is kept offline: the whole ceremony with the real programs, and a change of the root."""

import pathlib
import stat
import tempfile

from fleet.server import Server, programs, run
from fleet.story import Story, expect, holds
from fleet.token import LIBRARY, Token

story = Story("offline-root")
PASSPHRASE = {"ROOT_PASSPHRASE": "correct horse battery staple"}
OPENS = ["--passphrase", "env:ROOT_PASSPHRASE"]


def safe(*arguments, env=None, check=True, stdin=None):
    """wardctl on the machine in the safe: it has no server, no token and no network to ask."""
    nowhere = {"FLEETWARD_URL": "https://localhost:1", "FLEETWARD_TOKEN": "", **PASSPHRASE, **(env or {})}
    return run([programs() / "wardctl", "ca", *arguments], env=nowhere, check=check, stdin=stdin)


def carried(server, folder):
    """The requests of the server, as files."""
    folder.mkdir(exist_ok=True)
    return {row["id"]: pathlib.Path(row["file"]) for row in server.ctl("ca", "csr", "--out", folder)}


def text(*arguments):
    return run(["openssl", *arguments]).stdout.decode()


def enrols(server, name):
    """Whether a device enrols, by curl."""
    token = server.enrol_token("acme", name)
    _, request = server.key_and_request(name)
    return server.est("acme/simpleenroll", request, "-u", f"{name}:{token}")


@story.check
def waits(server):
    """Without the ceremony the server starts with the root's certificate, says what it waits for, and enrols nobody"""
    server.tenant("acme")
    status, body = server.est("acme/cacerts")
    expect(status, 503, body)
    holds(b"wardctl ca csr" in server_says(server), "the next step")
    status, _ = enrols(server, "gw-0")
    expect(status, 503)
    key = server.root / "root.key"
    expect(stat.S_IMODE(key.stat().st_mode), 0o600)
    again = safe("root", "create", "--offline", "--out", server.root, *OPENS, check=False)
    holds(again.returncode == 2 and b"there already" in again.stderr, again)
    for path in server.data.rglob("*"):
        if path.is_file():
            holds(key.read_bytes().split()[2] not in path.read_bytes(), f"the root's key in {path}")


def server_says(server):
    return (server.folder / "server.log").read_bytes()


@story.check
def ceremony(server):
    """csr, sign and import: requests that OpenSSL reads, certificates that it verifies, and the server believed at once"""
    requests = carried(server, server.folder / "requests")
    expect(sorted(name.split("-")[0] for name in requests), ["servers", "tenants"])
    signed = []
    for name, file in requests.items():
        said = text("req", "-in", file, "-noout", "-text", "-verify")
        holds("CA:TRUE, pathlen:" in said, said)
        out = server.folder / f"{name}.pem"
        refused = safe("sign", "--root", server.root, file, "--out", out, *OPENS, check=False, stdin=b"no\n")
        holds(refused.returncode == 1 and b"not signed" in refused.stderr and not out.exists(), refused)
        shown = safe("sign", "--root", server.root, file, "--out", out, *OPENS, stdin=b"yes\n").stderr.decode()
        holds("is to sign    an authority for" in shown and "SHA-256" in shown, shown)
        run(["openssl", "verify", "-x509_strict", "-CAfile", server.root / "root.pem", out])
        signed.append(out)
    wrong = safe("sign", "--root", server.root, file, "--out", server.folder / "x.pem", *OPENS, check=False,
                 env={"ROOT_PASSPHRASE": "another passphrase"})
    holds(b"another passphrase" in wrong.stderr and wrong.returncode == 2, wrong)
    done = server.ctl("ca", "import", *signed)
    expect((len(done["imported"]), done["tenants"], done["waiting"]), (2, 1, []))
    again = run_ctl(server, "ca", "import", signed[0])
    holds("imported before" in again, again)


def run_ctl(server, *arguments):
    """wardctl that must fail; what it said."""
    try:
        said = server.ctl(*arguments)
    except RuntimeError as error:
        return str(error)
    raise AssertionError(f"it did not fail: {said}")


@story.check
def enrols_and_verifies(server):
    """A device that trusts the offline root alone enrols by curl; its chain holds under OpenSSL, and a restart changes nothing"""
    server.ca.write_text((server.root / "root.pem").read_text())
    device = server.enrol("acme", "gw-1")
    chain(server, device, server.root / "root.pem")
    server.kill()
    server.start()
    expect(server.ca.read_text(), (server.root / "root.pem").read_text())
    chain(server, server.enrol("acme", "gw-2"), server.root / "root.pem")


def chain(server, device, root):
    status, body = server.est("acme/cacerts")
    expect(status, 200)
    bundle = server.keep_certificate("cacerts", body)
    run(["openssl", "verify", "-purpose", "sslclient", "-CAfile", root, "-untrusted", bundle, device.cert])


@story.check
def foreign_answers(server):
    """What another root signed, and what answers nothing here, is not taken in"""
    other = server.folder / "other-root"
    safe("root", "create", "--offline", "--out", other, "--name", "Other Root", *OPENS)
    file = next((server.folder / "requests").glob("servers-*.pem"))
    refused = safe("sign", "--root", other, file, "--out", server.folder / "y.pem", "--yes", *OPENS, check=False)
    holds(b"asks another root" in refused.stderr, refused)
    holds("no open request" in run_ctl(server, "ca", "import", other / "root.pem"), "nothing is open")


@story.check
def follows(server):
    """Another offline root follows, its key in a token of SoftHSM2; the server is believed by who holds the old one, then the new"""
    new = server.folder / "new-root"
    token = ["--pkcs11-module", LIBRARY, "--pkcs11-pin", "env:TOKEN_PIN"]
    name = "pkcs11:token=fleet;object=fleet-root"
    safe("root", "create", "--offline", "--out", new, "--name", "Acme Root 2", "--key", name, *token)
    started = server.ctl("ca", "rotation", "start", "--root", "--settle", "3600", "--threshold", "0",
                         "--root-certificate", new / "root.pem")
    expect((started["stage"], "ca import" in started["waits"]), ("publish", True))
    signed = []
    for request, file in carried(server, server.folder / "requests-2").items():
        out = server.folder / f"{request}.pem"
        by_old = request.endswith(started["old"][:8])
        root, opens = (server.root, OPENS) if by_old else (new, token)
        safe("sign", "--root", root, file, "--out", out, "--yes", *opens)
        signed.append(out)
    expect(len(signed), 4)
    server.ctl("ca", "import", *signed)
    # The reconciler may have been quicker.
    if server.ctl("ca", "rotation", "show", "--root")["stage"] == "publish":
        server.ctl("ca", "rotation", "advance", "--root")
    expect(server.ctl("ca", "rotation", "show", "--root")["stage"], "issue")
    for root in (server.root, new):
        holds(believed(server, root / "root.pem"), f"by who holds {root.name} alone")
    server.ca.write_text((new / "root.pem").read_text())
    chain(server, server.enrol("acme", "gw-3"), new / "root.pem")
    server.ctl("ca", "rotation", "advance", "--root", "--force")
    holds(not believed(server, server.root / "root.pem"), "the old root vouches for nobody")
    chain(server, server.enrol("acme", "gw-4"), new / "root.pem")


def believed(server, anchors):
    done = run(["curl", "-sS", "--cacert", anchors, f"{server.device_url}/.well-known/est/acme/cacerts"], check=False)
    return done.returncode == 0


def main():
    with tempfile.TemporaryDirectory(prefix="fleetward-offline-root-") as place:
        place = pathlib.Path(place)
        # Its environment is that of the programs.
        Token(place)
        root = place / "root"
        safe("root", "create", "--offline", "--out", root, "--name", "Acme Root", *OPENS)
        with Server(arguments=["--offline-root", root / "root.pem"]) as server:
            server.root = root
            story.tell(server)


if __name__ == "__main__":
    main()
