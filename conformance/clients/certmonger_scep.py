"""certmonger's `scep-submit` without its daemon: capabilities, authorities, and PKIOperations with real messages.

The daemon makes the message that `-p` sends; here it is made by OpenSSL (request, envelope, signature) and the few lines of
DER below, which are an encoder of their own and share nothing with the server's.
"""

import base64
import hashlib
import re
import secrets

from fleet.server import Server, run
from fleet.story import Story, expect, holds

SUBMIT = "/usr/lib/certmonger/scep-submit"
story = Story("certmonger")

ARC = "2.16.840.1.113733.1.9"


def submit(server, *more):
    return run([SUBMIT, "-u", f"{server.device_url}/scep/acme", "-R", server.ca, *more])


def pems(text):
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", text, re.S)


@story.check
def capabilities(server):
    """scep-submit -c prints what the service can do"""
    said = submit(server, "-c").stdout.decode().split()
    holds({"AES", "SHA-256", "POSTPKIOperation", "SCEPStandard", "Renewal", "GetNextCACert"} <= set(said), said)
    holds(not {"DES3", "SHA-1"} & set(said), said)


@story.check
def authorities(server):
    """scep-submit -C prints the registration authority first, and the chain above it"""
    certificates = pems(submit(server, "-C").stdout.decode())
    subjects = [run(["openssl", "x509", "-noout", "-subject"], stdin=pem.encode()).stdout.decode() for pem in certificates]
    holds(len(subjects) == 3 and "acme SCEP" in subjects[0], subjects)


def der(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | (arc & 0x7F))
        out += bytes(reversed(septets))
    return der(0x06, bytes(out))


def children(body):
    """The elements in a SEQUENCE's content, whole."""
    while body:
        size, start = body[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(body[2:start], "big")
        yield body[: start + size]
        body = body[start + size :]


def content(element):
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


class Party:
    """A device: an RSA key, and the certificate that it signs with."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.key, self.cert = server.devices / f"{name}.key", server.devices / f"{name}.pem"
        run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "1"]
            + ["-keyout", self.key, "-out", self.cert]
        )

    def request(self, challenge=None, key=None):
        config = self.server.devices / f"{self.name}.cnf"
        attribute = f"attributes=a\n[a]\nchallengePassword={challenge}\n" if challenge else ""
        config.write_text(f"[req]\nprompt=no\ndistinguished_name=d\n{attribute}[d]\nCN={self.name}\n")
        return run(["openssl", "req", "-new", "-key", key or self.key, "-config", config, "-outform", "DER"]).stdout

    def message(self, kind, data, ra):
        """A pkiMessage (RFC 8894 §3) as PEM, the way scep-submit takes it."""
        envelope = run(["openssl", "cms", "-encrypt", "-binary", "-aes128", "-outform", "DER", ra], stdin=data).stdout
        own = run(["openssl", "x509", "-in", self.cert, "-outform", "DER"]).stdout
        fields = list(children(content(next(children(content(own))))))
        serial, issuer = (fields[1], fields[3]) if fields[0][0] == 0xA0 else (fields[0], fields[2])
        text = lambda value: der(0x13, value.encode())
        attribute = lambda name, value: der(0x30, oid(name), der(0x31, value))
        attributes = b"".join(
            sorted(
                [
                    attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.7.1")),
                    attribute("1.2.840.113549.1.9.4", der(0x04, hashlib.sha256(envelope).digest())),
                    attribute(f"{ARC}.2", text(str(kind))),
                    attribute(f"{ARC}.5", der(0x04, secrets.token_bytes(16))),
                    attribute(f"{ARC}.7", text(secrets.token_hex(16))),
                ]
            )
        )
        signature = run(["openssl", "dgst", "-sha256", "-sign", self.key], stdin=der(0x31, attributes)).stdout
        digest = der(0x30, oid("2.16.840.1.101.3.4.2.1"), der(0x05))
        rsa = der(0x30, oid("1.2.840.113549.1.1.1"), der(0x05))
        one = der(0x02, b"\x01")
        info = der(0x30, one, der(0x30, issuer, serial), digest, der(0xA0, attributes), rsa, der(0x04, signature))
        encapsulated = der(0x30, oid("1.2.840.113549.1.7.1"), der(0xA0, der(0x04, envelope)))
        signed = der(0x30, one, der(0x31, digest), encapsulated, der(0xA0, own), der(0x31, info))
        whole = der(0x30, oid("1.2.840.113549.1.7.2"), der(0xA0, signed))
        lines = base64.encodebytes(whole).decode()
        return f"-----BEGIN PKCS7-----\n{lines}-----END PKCS7-----\n".encode()

    def certificate(self, enveloped):
        """The certificate in the envelope that scep-submit prints."""
        opened = run(
            ["openssl", "cms", "-decrypt", "-inform", "PEM", "-binary", "-recip", self.cert, "-inkey", self.key],
            stdin=enveloped.replace(b"PKCS7", b"CMS"),
        ).stdout
        return run(["openssl", "pkcs7", "-inform", "DER", "-print_certs"], stdin=opened).stdout.decode()


def trusted(server):
    """The files that -r and -I want: the registration authority's certificate, and the chain above it."""
    certificates = pems(submit(server, "-C").stdout.decode())
    ra, chain = server.folder / "ra.pem", server.folder / "chain.pem"
    ra.write_text(certificates[0])
    chain.write_text("".join(certificates[1:]))
    return ra, chain


def operate(server, party, kind, data, check=True):
    ra, chain = trusted(server)
    message = server.devices / f"{party.name}-{kind}.p7"
    message.write_bytes(party.message(kind, data, ra))
    # 0.79.17 passes on the authority of -R with -c and -C only, so a PKIOperation needs plain HTTP. It sends it by GET.
    url = f"{server.endpoints['pki_url']}/scep/acme"
    return run([SUBMIT, "-u", url, "-p", "-r", ra, "-N", server.ca, "-I", chain, message], check=check)


@story.check
def enrols_and_renews(server):
    """scep-submit -p sends a PKCSReq and a RenewalReq, verifies the answers and hands out what is in them"""
    party = Party(server, "monger")
    challenge = server.ctl("scep-challenge", "create", party.name, tenant="acme")["challenge"]
    pem = party.certificate(operate(server, party, 19, party.request(challenge)).stdout)
    text = run(["openssl", "x509", "-noout", "-text"], stdin=pem.encode()).stdout.decode()
    holds("urn:fleetward:acme:monger" in text, text)
    party.cert.write_text(pems(pem)[0])
    key = server.devices / "monger-2.key"
    run(["openssl", "genrsa", "-out", key, "2048"])
    renewed = party.certificate(operate(server, party, 17, party.request(key=key)).stdout)
    text = run(["openssl", "x509", "-noout", "-text"], stdin=renewed.encode()).stdout.decode()
    holds("urn:fleetward:acme:monger" in text and renewed != pem, text)


@story.check
def refused(server):
    """A challenge that was used by another key is refused, with exit status 2"""
    first, second = Party(server, "monger-once"), Party(server, "monger-once-2")
    second.name = first.name
    challenge = server.ctl("scep-challenge", "create", first.name, tenant="acme")["challenge"]
    operate(server, first, 19, first.request(challenge))
    done = operate(server, second, 19, second.request(challenge), check=False)
    expect(done.returncode, 2, f"{done}")


def main():
    with Server(arguments=["--default-tenant", "acme", "--pki-listen", "127.0.0.1:0"]) as server:
        expect(server.tenant("acme"), "acme")
        server.ctl("tenant", "policy", "set", "scep.enabled=true", tenant="acme")
        story.tell(server)


if __name__ == "__main__":
    main()
