"""curl and openssl: enrolment with its refusals, and artifacts with ranges and conditions."""

import base64
import hashlib
import re

from fleet.server import Device, Server, run
from fleet.story import Story, expect, holds

story = Story("curl")
HARDWARE = "rev-a"


@story.check
def cacerts(server):
    """cacerts gives the chain, with label and without, and it verifies an enrolled certificate"""
    status, body = server.est("acme/cacerts")
    expect(status, 200)
    chain = server.keep_certificate("acme-cacerts", body)
    device = server.enrol("acme", "curl-verify")
    said = run(["openssl", "verify", "-purpose", "sslclient", "-CAfile", chain, device.cert]).stdout
    holds(b"OK" in said, said)
    text = run(["openssl", "x509", "-in", device.cert, "-noout", "-text"]).stdout.decode()
    holds("urn:fleetward:acme:curl-verify" in text, f"the SAN names tenant and device:\n{text}")
    holds("TLS Web Client Authentication" in text and "CA:TRUE" not in text, text)


@story.check
def the_same_request_again(server):
    """The same request again gets the same certificate; another key with the same token gets none"""
    token = server.enrol_token("acme", "curl-twice")
    key, request = server.key_and_request("curl-twice")
    login = ("-u", f"curl-twice:{token}")
    status, first = server.est("acme/simpleenroll", request, *login)
    expect(status, 200)
    status, again = server.est("acme/simpleenroll", request, *login)
    expect((status, again), (200, first))
    _, other = server.key_and_request("curl-twice-other", subject="/CN=curl-twice")
    status, _ = server.est("acme/simpleenroll", other, *login)
    expect(status, 401, "a used token")


@story.check
def renews(server):
    """simplereenroll with the certificate gives the next one"""
    device = server.enrol("acme", "curl-renew")
    key, request = server.key_and_request("curl-renew-2", subject="/CN=curl-renew")
    mtls = ("--cert", device.cert, "--key", device.key)
    status, body = server.est("acme/simplereenroll", request, *mtls)
    expect(status, 200, body)
    renewed = Device("acme", device.name, key, server.keep_certificate("curl-renew-2", body), device.ca)
    holds(renewed.serial() != device.serial(), "a new serial number")
    status, _ = server.est("simplereenroll", request, *("--cert", renewed.cert, "--key", renewed.key))
    expect(status, 200, "without a label, by the certificate")


@story.check
def attributes(server):
    """csrattrs is read by openssl, and asks for channel binding where the tenant does"""
    expect(server.est("csrattrs")[0], 204, "without a tenant")
    for policy, expected in (("bound", False), ("required", True)):
        server.ctl("tenant", "policy", "set", f"est.challenge_password={policy}", tenant="globex")
        status, body = server.est("globex/csrattrs")
        expect(status, 200)
        said = run(["openssl", "asn1parse", "-inform", "DER"], stdin=base64.b64decode(body)).stdout.decode()
        holds("id-ecPublicKey" in said and "prime256v1" in said and "ecdsa-with-SHA256" in said, said)
        expect("challengePassword" in said, expected, said)
    server.ctl("tenant", "policy", "set", "est.challenge_password=null", tenant="globex")


@story.check
def server_keys(server):
    """serverkeygen gives a key and its certificate where the tenant allows it, and openssl finds that they fit"""
    token = server.enrol_token("globex", "curl-keyless")
    _, request = server.key_and_request("curl-keyless")
    login = ("-u", f"curl-keyless:{token}")
    expect(server.est("globex/serverkeygen", request, *login)[0], 403, "not allowed by default")
    server.ctl("tenant", "policy", "set", "est.server_keys=true", tenant="globex")
    status, body = server.est("globex/serverkeygen", request, *login)
    expect(status, 200, body)
    boundary = body.split(b"\r\n", 1)[0]
    parts = [part.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[0] for part in body.split(boundary + b"\r\n")[1:]]
    expect(len(parts), 2)
    key = server.devices / "curl-keyless-made.key"
    key.write_bytes(run(["openssl", "pkey", "-inform", "DER"], stdin=base64.b64decode(parts[0])).stdout)
    cert = server.keep_certificate("curl-keyless", parts[1])
    public = run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"]).stdout
    expect(run(["openssl", "pkey", "-in", key, "-pubout"]).stdout, public, "key and certificate fit")
    status, _ = server.est("globex/simplereenroll", request, "--cert", cert, "--key", key)
    expect(status, 200, "it is a certificate like any other")


@story.check
def refuses(server):
    """No token, a wrong one, another tenant's, for another device: nothing is issued"""
    token = server.enrol_token("acme", "curl-refused")
    _, request = server.key_and_request("curl-refused")
    _, other = server.key_and_request("curl-somebody", subject="/CN=curl-somebody")
    expect(server.est("acme/simpleenroll", request)[0], 401, "no token")
    expect(server.est("acme/simpleenroll", request, "-u", "curl-refused:wrong")[0], 401, "a wrong token")
    expect(server.est("globex/simpleenroll", request, "-u", f"curl-refused:{token}")[0], 401, "another tenant's label")
    expect(server.est("acme/simpleenroll", request, "-u", f"curl-somebody:{token}")[0], 401, "another device's name")
    status = server.est("acme/simpleenroll", other, "-u", f"curl-refused:{token}")[0]
    holds(400 <= status < 500, f"a request for another device: {status}")
    for label, body in (("not base64", b"%%%"), ("not a request", b"AAAA"), ("nothing", b"")):
        command = ["curl", "-sS", "--cacert", server.ca, "-o", "/dev/null", "-w", "%{http_code}", "-u"]
        command += [f"curl-refused:{token}", "-H", "Content-Type: application/pkcs10", "--data-binary", "@-"]
        done = run([*command, f"{server.device_url}/.well-known/est/acme/simpleenroll"], stdin=body)
        expect(done.stdout, b"400", label)
    status, _ = server.est("acme/simpleenroll", request, "-u", f"curl-refused:{token}")
    expect(status, 200, "the token is still good after all that")


@story.check
def refused_while_sending(server):
    """A refusal reaches a client that still sends its body, on HTTP/1.1 and HTTP/2"""
    body = b"a" * 300_000
    for version in ("--http1.1", "--http2"):
        command = ["curl", "-sS", version, "--cacert", server.ca, "-o", "/dev/null", "-w", "%{http_code}"]
        command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
        for url, status in (
            (f"{server.endpoints['operator_url']}/v1/tenants", b"401"),
            (f"{server.device_url}/.well-known/est/acme/simpleenroll", b"413"),
            (f"{server.device_url}/nowhere", b"404"),
        ):
            expect(run([*command, url], stdin=body).stdout, status, f"{version} {url}")


def fetch(device, url, *options):
    """Status, headers in lower case, and body."""
    curl = ["curl", "-sS", "-D", "/dev/stderr", "--cacert", device.ca, "--cert", device.cert, "--key", device.key]
    done = run([*curl, *options, url])
    head = done.stderr.decode()
    status = int(re.findall(r"HTTP/\S+ (\d+)", head)[-1])
    headers = dict(re.findall(r"(?m)^([\w-]+): *(.*?)\r?$", head))
    return status, {name.lower(): value for name, value in headers.items()}, done.stdout


@story.check
def artifacts(server):
    """An artifact: whole, HEAD, ranges, If-Range, If-None-Match; not for a stranger"""
    device = server.enrol("acme", "curl-artifact", "--hardware", HARDWARE)
    content = bytes(range(256)) * 4096
    server.rollout("acme", server.release("acme", "3.0.0", content, HARDWARE), device.name)
    url = f"{server.device_url}/artifacts/{hashlib.sha256(content).hexdigest()}"
    wait_until_assigned(server, device)

    status, headers, body = fetch(device, url)
    expect((status, len(body), body == content), (200, len(content), True))
    expect(headers["accept-ranges"], "bytes")
    etag = headers["etag"]
    status, headers, body = fetch(device, url, "--head", "-o", "/dev/null")
    expect((status, headers["content-length"], body), (200, str(len(content)), b""))
    for asked, first, last in (("0-0", 0, 0), ("100-199", 100, 199), ("1048000-", 1048000, 1048575), ("-5", 1048571, 1048575)):
        status, headers, body = fetch(device, url, "-r", asked)
        expect((status, body), (206, content[first : last + 1]), f"range {asked}")
        expect(headers["content-range"], f"bytes {first}-{last}/{len(content)}")
    status, headers, _ = fetch(device, url, "-r", f"{len(content)}-")
    expect((status, headers["content-range"]), (416, f"bytes */{len(content)}"), "a range past the end")
    expect(fetch(device, url, "-H", "Range: cats=1-2")[0], 200, "an unknown unit is ignored")
    expect(fetch(device, url, "-r", "0-9", "-H", f"If-Range: {etag}")[0], 206, "If-Range that matches")
    expect(fetch(device, url, "-r", "0-9", "-H", 'If-Range: "other"')[0], 200, "If-Range that does not")
    expect(fetch(device, url, "-H", f"If-None-Match: {etag}")[0], 304)
    expect(fetch(device, url, "-H", 'If-Match: "other"')[0], 412)

    half = server.folder / "half.img"
    half.write_bytes(content[:500_000])
    curl = ["curl", "-fsS", "--cacert", device.ca, "--cert", device.cert, "--key", device.key, "-C", "-", "-o", half, url]
    run(curl)
    holds(half.read_bytes() == content, "curl -C - resumes to the same bytes")

    neighbour = server.enrol("acme", "curl-neighbour")
    foreigner = server.enrol("globex", "curl-foreigner")
    expect(fetch(neighbour, url)[0], 404, "a device that has no deployment with it")
    expect(fetch(foreigner, url)[0], 404, "another tenant's device")
    anonymous = run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", device.ca, url])
    holds(anonymous.stdout in (b"401", b"403"), f"no certificate: {anonymous.stdout}")


def wait_until_assigned(server, device):
    """The rollout hands the device its deployment on its next tick."""
    followed = ["wardctl", "rollout", "list"]
    for _ in range(200):
        rollouts = server.ctl("rollout", "list", tenant="acme")
        rollouts = rollouts if isinstance(rollouts, list) else rollouts["items"]
        newest = max(rollouts, key=lambda rollout: rollout["created_at"])
        if server.ctl("rollout", "deployments", newest["id"], tenant="acme"):
            return
    raise AssertionError(f"{' '.join(followed)}: no deployment for {device.name}")


def main():
    with Server() as server:
        server.tenant("acme")
        server.tenant("globex")
        story.tell(server)


if __name__ == "__main__":
    main()
