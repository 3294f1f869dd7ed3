"""strongSwan's `pki` as Debian ships it: SCEP authorities, enrolment with a challenge, renewal with the certificate.

Over plain HTTP: its fetcher takes only the system's authorities for https, and SCEP protects its messages itself.
"""

from fleet.server import Server, run
from fleet.story import Story, expect, holds

story = Story("strongswan-scep")


class Enrolled:
    """A device as strongSwan has it: its key, its certificate, and the authorities that it was told of."""

    def __init__(self, server, name):
        self.server, self.name, self.folder = server, name, server.devices / name
        self.folder.mkdir()
        self.key = self.new_key("1")
        self.ca, self.ra, self.root = authorities(server, self.folder)
        self.cert = None

    def new_key(self, number):
        path = self.folder / f"{number}.key"
        path.write_bytes(run(["pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem"]).stdout)
        return path

    def scep(self, key, *more, check=True):
        command = ["pki", "--scep", "--url", f"{self.server.endpoints['pki_url']}/scep/acme", "--in", key, "--dn", f"CN={self.name}"]
        command += ["--cacert-enc", self.ra, "--cacert-sig", self.ra, "--cacert", self.ca, "--cacert", self.root]
        return run([*command, "--outform", "pem", *more], check=check)

    def enrol(self, *more):
        challenge = self.server.ctl("scep-challenge", "create", self.name, tenant="acme")["challenge"]
        self.cert = self.keep("1", self.scep(self.key, "--password", challenge, *more).stdout)
        return self

    def keep(self, number, pem):
        path = self.folder / f"{number}.pem"
        path.write_bytes(pem)
        said = run(["openssl", "x509", "-in", path, "-noout", "-text"]).stdout.decode()
        holds(f"urn:fleetward:acme:{self.name}" in said, said)
        return path


def authorities(server, folder):
    """pki --scepca; the files with the issuing authority, the registration authority and the root."""
    run(
        ["pki", "--scepca", "--url", f"{server.endpoints['pki_url']}/scep/acme", "--outform", "pem", "--force"]
        + ["--caout", folder / "ca.pem", "--raout", folder / "ra.pem"]
    )
    files = {path.name for path in folder.glob("*.pem")}
    subjects = {}
    for name in files:
        subjects[name] = run(["openssl", "x509", "-in", folder / name, "-noout", "-subject"]).stdout.decode()
    find = lambda words: folder / next((name for name, subject in subjects.items() if words in subject), f"no {words}")
    found = find("acme Devices"), find("acme SCEP"), find("Fleetward Root")
    holds(all(path.exists() for path in found), f"{subjects}")
    return found


@story.check
def ca_certificates(server):
    """pki --scepca gets registration authority, issuing authority and root"""
    folder = server.folder / "scepca"
    folder.mkdir()
    ca, ra, _ = authorities(server, folder)
    said = run(["openssl", "x509", "-in", ra, "-noout", "-text"]).stdout.decode()
    holds("Digital Signature, Key Encipherment" in said and "CA:TRUE" not in said, said)


@story.check
def enrols(server):
    """pki --scep enrols with a challenge, once"""
    device = Enrolled(server, "scep-first").enrol()
    listed = server.ctl("scep-challenge", "list", tenant="acme")
    expect([row["state"] for row in listed if row["device"] == device.name], ["used"])
    said = run(["openssl", "verify", "-CAfile", device.root, "-untrusted", device.ca, "-purpose", "sslclient", device.cert])
    holds(b"OK" in said.stdout, said)


@story.check
def renews(server):
    """pki --scep renews with certificate and key, to a new key; the new certificate opens the data plane"""
    device = Enrolled(server, "scep-renew").enrol()
    second = device.new_key("2")
    renewed = device.keep("2", device.scep(second, "--cert", device.cert, "--key", device.key).stdout)
    body = run(
        ["curl", "-sS", "--cacert", server.ca, "--cert", renewed, "--key", second]
        + [f"{server.device_url}/.well-known/est/cacerts"]
    ).stdout
    holds(len(body) > 100, body)


@story.check
def paddings_and_ciphers(server):
    """PSS signatures and SHA-512 are read; 3DES and SHA-1 are refused with badAlg"""
    Enrolled(server, "scep-pss").enrol("--rsa-padding", "pss")
    Enrolled(server, "scep-512").enrol("--digest", "sha512")
    for number, more in enumerate((["--cipher", "des3"], ["--digest", "sha1"])):
        device = Enrolled(server, f"scep-weak-{number}")
        challenge = server.ctl("scep-challenge", "create", device.name, tenant="acme")["challenge"]
        done = device.scep(device.key, "--password", challenge, *more, check=False)
        holds(done.returncode != 0 and not done.stdout, f"{more}: {done}")


@story.check
def refused(server):
    """A wrong challenge and one of another device get nothing; nor does a revoked certificate"""
    device = Enrolled(server, "scep-refused")
    other = server.ctl("scep-challenge", "create", "scep-other", tenant="acme")["challenge"]
    for challenge in ("wrong", other):
        done = device.scep(device.key, "--password", challenge, check=False)
        holds(done.returncode != 0 and not done.stdout, f"{done}")
    device.enrol()
    server.ctl("device", "revoke", device.name, tenant="acme")
    done = device.scep(device.new_key("2"), "--cert", device.cert, "--key", device.key, check=False)
    holds(done.returncode != 0 and not done.stdout, f"{done}")


@story.check
def off(server):
    """A tenant that did not switch it on has no such service"""
    expect(server.tenant("plain"), "plain")
    done = run(
        ["pki", "--scepca", "--url", f"{server.endpoints['pki_url']}/scep/plain"]
        + ["--caout", server.folder / "no.pem", "--raout", server.folder / "none.pem"],
        check=False,
    )
    holds(done.returncode != 0, f"{done}")


def main():
    with Server(arguments=["--default-tenant", "acme", "--pki-listen", "127.0.0.1:0"]) as server:
        expect(server.tenant("acme"), "acme")
        server.ctl("tenant", "policy", "set", "scep.enabled=true", tenant="acme")
        story.tell(server)


if __name__ == "__main__":
    main()
