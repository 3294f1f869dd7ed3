"""openssl as one who checks certificates: lists (CRL), OCSP by GET and POST, and the answer stapled by the server."""

import base64
import hashlib
import re
import urllib.error
import urllib.parse
import urllib.request

from fleet.server import Server, run
from fleet.story import Story, expect, holds, until

story = Story("openssl-pki")
# Lists follow a revocation within seconds.
SECONDS = 20


def text_of(device):
    return run(["openssl", "x509", "-in", device.cert, "-noout", "-text"]).stdout.decode()


def urls(device):
    """CRL, OCSP and issuer, as the certificate says them."""
    text = text_of(device)
    crl = re.search(r"Full Name:\s+URI:(\S+)", text).group(1)
    ocsp = re.search(r"OCSP - URI:(\S+)", text).group(1)
    issuer = re.search(r"CA Issuers - URI:(\S+)", text).group(1)
    return crl, ocsp, issuer


def fetch(url, headers=None):
    """Status, headers and body, over plain HTTP."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def keep(server, name, url):
    """Fetches what a URL of a certificate leads to, and keeps it as PEM."""
    status, headers, body = fetch(url)
    expect(status, 200, url)
    der, pem = server.folder / f"{name}.der", server.folder / f"{name}.pem"
    der.write_bytes(body)
    kind = "crl" if "crl" in headers["Content-Type"] else "x509"
    run(["openssl", kind, "-inform", "DER", "-in", der, "-out", pem])
    return pem, headers


def chain(server, device):
    """The issuing authority and the root, in one file."""
    issuer, _ = keep(server, f"{device.name}-issuer", urls(device)[2])
    both = server.folder / f"{device.name}-chain.pem"
    both.write_text(issuer.read_text() + server.ca.read_text())
    return issuer, both


@story.check
def lists(server):
    """openssl verify -crl_check: good before, revoked after, with the reason; the list's number grew and it has an ETag"""
    device, other = server.enrol("acme", "crl-1"), server.enrol("acme", "crl-2")
    crl_url = urls(device)[0]
    until(lambda: fetch(crl_url)[0] == 200, "the first list", SECONDS)
    _, both = chain(server, device)
    crl, headers = keep(server, "crl-before", crl_url)
    etag = headers["ETag"]
    expect(fetch(crl_url, {"If-None-Match": etag})[0], 304, "not modified")
    holds("max-age=" in headers["Cache-Control"] and headers["Last-Modified"], str(headers))
    check = ["openssl", "verify", "-crl_check", "-CAfile", both, "-CRLfile"]
    holds(b"OK" in run([*check, crl, device.cert]).stdout, "good before")

    server.ctl("revoke", "device", device.name, "--reason", "key_compromise", "--yes", tenant="acme")
    until(lambda: fetch(crl_url)[1]["ETag"] != etag, "another list", SECONDS)
    crl, _ = keep(server, "crl-after", crl_url)
    said = run([*check, crl, device.cert], check=False)
    holds(said.returncode != 0 and b"certificate revoked" in said.stdout + said.stderr, said.stdout + said.stderr)
    holds(b"OK" in run([*check, crl, other.cert]).stdout, "the other one is good")
    text = run(["openssl", "crl", "-in", crl, "-noout", "-text", "-CAfile", both]).stdout.decode()
    holds("Key Compromise" in text and device.serial() in text.lower().replace(":", ""), text)
    holds("X509v3 Authority Key Identifier" in text and "X509v3 CRL Number" in text, text)
    number = int(re.search(r"CRL Number:\s*(\d+)", text).group(1))
    holds(number >= 2, f"the number grew: {number}")

    # The root's own list: with it the whole chain is checked.
    root = run(["openssl", "x509", "-in", server.ca, "-outform", "DER"]).stdout
    root_url = crl_url.split("/pki/")[0] + f"/pki/{hashlib.sha256(root).hexdigest()[:16]}/crl.der"
    root_crl, _ = keep(server, "crl-root", root_url)
    all_lists = server.folder / "crl-all.pem"
    all_lists.write_text(crl.read_text() + root_crl.read_text())
    full = ["openssl", "verify", "-crl_check_all", "-CAfile", both, "-CRLfile", all_lists, other.cert]
    holds(b"OK" in run(full).stdout, "-crl_check_all")


def ask(issuer, both, device, url, *options):
    # The digest counts for what comes after it.
    command = ["openssl", "ocsp", *options, "-issuer", issuer, "-cert", device.cert, "-url", url, "-CAfile", both]
    done = run(command)
    return (done.stdout + done.stderr).decode()


@story.check
def ocsp(server):
    """openssl ocsp: POST with a nonce and without, GET, SHA-1 and SHA-256; good, revoked and unknown"""
    device, other = server.enrol("acme", "ocsp-1"), server.enrol("acme", "ocsp-2")
    issuer, both = chain(server, device)
    url = urls(device)[1]
    for options in ([], ["-no_nonce"], ["-sha256"], ["-sha256", "-no_nonce"]):
        said = ask(issuer, both, device, url, *options)
        holds("Response verify OK" in said and f"{device.cert}: good" in said, said)
        if "-no_nonce" not in options:
            holds("no nonce in response" not in said and "Nonce" not in said.replace("nonce", ""), said)

    request = server.folder / "ocsp-request.der"
    run(["openssl", "ocsp", "-issuer", issuer, "-cert", device.cert, "-no_nonce", "-reqout", request])
    encoded = base64.b64encode(request.read_bytes()).decode()
    answer = server.folder / "ocsp-answer.der"
    for form in (urllib.parse.quote(encoded, safe=""), encoded):
        status, headers, body = fetch(f"{url}/{form}")
        expect((status, headers["Content-Type"]), (200, "application/ocsp-response"), form)
        holds("max-age=" in headers["Cache-Control"], str(headers))
        answer.write_bytes(body)
        read = ["openssl", "ocsp", "-respin", answer, "-issuer", issuer, "-cert", device.cert, "-CAfile", both]
        said = run(read)
        holds("good" in (said.stdout + said.stderr).decode(), said.stdout + said.stderr)

    server.ctl("revoke", "certificate", device.serial(), "--reason", "superseded", "--yes", tenant="acme")
    until(lambda: "revoked" in ask(issuer, both, device, url, "-no_nonce"), "revoked", SECONDS)
    said = ask(issuer, both, device, url)
    holds("Reason: superseded" in said, said)
    holds("good" in ask(issuer, both, other, url), "the other one")
    # A number that was never issued.
    done = run(["openssl", "ocsp", "-issuer", issuer, "-serial", "0x1234", "-url", url, "-CAfile", both])
    holds("unknown" in (done.stdout + done.stderr).decode(), done.stdout + done.stderr)


@story.check
def malformed(server):
    """What is no request, too large, or of nobody here is answered as such"""
    device = server.enrol("acme", "ocsp-bad")
    url = urls(device)[1]
    for body, status, answer in ((b"nonsense", 200, b"\x30\x03\x0a\x01\x01"), (b"x" * 9000, 413, None)):
        asked = urllib.request.Request(url, data=body, headers={"Content-Type": "application/ocsp-request"})
        try:
            with urllib.request.urlopen(asked, timeout=10) as got:
                seen = (got.status, got.read())
        except urllib.error.HTTPError as error:
            seen = (error.code, None)
        expect(seen, (status, answer))
    expect(fetch(f"{url}/%%%")[2], b"\x30\x03\x0a\x01\x01", "not base64")
    nobody = re.sub(r"/pki/[0-9a-f]+/", "/pki/0123456789abcdef/", url)
    expect(fetch(nobody.replace("/ocsp", "/crl.der"))[0], 404, "an authority that is not here")
    expect(fetch(url.split("/pki/")[0] + "/.well-known/est/acme/cacerts")[0], 404, "nothing else without TLS")


@story.check
def stapled(server):
    """openssl s_client -status: the server's hand-shake brings an OCSP answer on its own certificate"""
    command = ["openssl", "s_client", "-connect", f"localhost:{server.device_port}", "-CAfile", server.ca, "-status"]

    def there():
        said = run(command, stdin=b"").stdout.decode(errors="replace")
        return "OCSP Response Status: successful" in said and "Cert Status: good" in said

    until(there, "a stapled answer", SECONDS)


@story.check
def https_too(server):
    """The same is served on the devices' HTTPS port"""
    device = server.enrol("acme", "crl-https")
    path = urllib.parse.urlsplit(urls(device)[0]).path
    command = ["curl", "-sS", "--cacert", server.ca, "-o", "/dev/null", "-w", "%{http_code} %{content_type}"]
    said = run([*command, f"{server.device_url}{path}"]).stdout.decode()
    expect(said, "200 application/pkix-crl")


def main():
    with Server(arguments=["--pki-listen", "127.0.0.1:0"]) as server:
        expect(server.tenant("acme"), "acme")
        story.tell(server)


if __name__ == "__main__":
    main()
