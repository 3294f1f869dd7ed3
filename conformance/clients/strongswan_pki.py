"""strongSwan's `pki` as Debian ships it: EST cacerts, enrolment with a token, re-enrolment with the certificate."""

from fleet.server import Server, run
from fleet.story import Story, expect, holds

story = Story("strongswan")


def pem(server, name, der):
    """A certificate in DER as PEM in a file."""
    path = server.devices / f"{name}.pem"
    path.write_bytes(run(["openssl", "x509", "-inform", "DER"], stdin=der).stdout)
    return path


def key(server, name, kind):
    path = server.devices / f"{name}.key"
    size = {"ecdsa": "256", "rsa": "2048"}[kind]
    path.write_bytes(run(["pki", "--gen", "--type", kind, "--size", size, "--outform", "pem"]).stdout)
    return path


def request(server, name, private, kind):
    made = run(["pki", "--req", "--type", kind, "--in", private, "--dn", f"CN={name}", "--outform", "der"])
    path = server.devices / f"{name}.req"
    path.write_bytes(made.stdout)
    return path


def enrol(server, kind, label):
    """Enrols and re-enrols; the URL has the label in front of the operation, as RFC 7030 §3.2.2 has it."""
    name = f"swan-{kind}-{label or 'none'}"
    token = server.enrol_token("acme", name)
    private = key(server, name, kind)
    wanted = request(server, name, private, kind)
    base = ["pki", "--est", "--url", f"{server.device_url}", "--cacert", server.ca]
    # 5.9.8 cannot name a label; the token names the tenant.
    issued = run([*base, "--in", wanted, "--userpass", f"{name}:{token}"]).stdout
    cert = pem(server, name, issued)
    text = run(["openssl", "x509", "-in", cert, "-noout", "-text"]).stdout.decode()
    holds(f"urn:fleetward:acme:{name}" in text, text)
    renewed = run([*base, "--in", wanted, "--cert", cert, "--key", private]).stdout
    second = pem(server, f"{name}-2", renewed)
    said = run(["openssl", "x509", "-in", second, "-noout", "-text"]).stdout.decode()
    holds(f"urn:fleetward:acme:{name}" in said, said)


@story.check
def ca_certificates(server):
    """pki --estca gets the authorities"""
    folder = server.folder / "estca"
    folder.mkdir()
    run(["pki", "--estca", "--url", server.device_url, "--cacert", server.ca, "--caout", folder / "ca.pem", "--outform", "pem"])
    holds(any(folder.iterdir()), "no file was written")


@story.check
def ecdsa(server):
    """pki --est enrols and re-enrols with an ECDSA key"""
    enrol(server, "ecdsa", None)


@story.check
def rsa(server):
    """pki --est enrols and re-enrols with an RSA key"""
    enrol(server, "rsa", None)


@story.check
def refused(server):
    """A wrong token gets nothing"""
    name = "swan-refused"
    server.enrol_token("acme", name)
    wanted = request(server, name, key(server, name, "ecdsa"), "ecdsa")
    base = ["pki", "--est", "--url", server.device_url, "--cacert", server.ca, "--in", wanted]
    done = run([*base, "--userpass", f"{name}:wrong"], check=False)
    holds(done.returncode != 0 and not done.stdout, f"{done}")


def main():
    with Server(arguments=["--default-tenant", "acme"]) as server:
        expect(server.tenant("acme"), "acme")
        story.tell(server)


if __name__ == "__main__":
    main()
