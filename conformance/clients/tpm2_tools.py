"""tpm2-tools and curl: a TPM's keys are activated, its state is quoted, and a wrong state is found out."""

import base64
import hashlib
import json
import struct

from fleet.server import Server, run
from fleet.story import Story, expect, holds
from fleet.swtpm import Swtpm

story = Story("tpm2-tools")
HARDWARE = "rev-a"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(server, device, path, body=None):
    """Status and body of one request on the devices' door."""
    command = ["curl", "-sS", "--cacert", server.ca, "--cert", device.cert, "--key", device.key]
    command += ["-H", "Content-Type: application/json", "--data-binary", "@-", "-w", "\n%{http_code}"]
    said = run([*command, server.device_url + path], stdin=json.dumps(body or {}).encode()).stdout.decode()
    text, status = said.rsplit("\n", 1)
    return int(status), json.loads(text)


class Tpm:
    """What a device does with tpm2-tools."""

    def __init__(self, swtpm: Swtpm):
        self.swtpm = swtpm
        self.folder = swtpm.folder

    def file(self, name):
        return self.folder / name

    def flush(self):
        for kind in ("-t", "-s", "-l"):
            self.swtpm.tool("flushcontext", kind)

    def keys(self, algorithm="rsa"):
        """The public areas of a new endorsement and attestation key, without the length before them."""
        self.flush()
        self.swtpm.tool("createek", "-c", self.file("ek.ctx"), "-G", algorithm, "-u", self.file("ek.pub"))
        self.flush()
        options = ["-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-u", self.file("ak.pub"), "-n", self.file("ak.name")]
        self.swtpm.tool("createak", "-C", self.file("ek.ctx"), "-c", self.file("ak.ctx"), *options)
        self.flush()
        return self.file("ek.pub").read_bytes()[2:], self.file("ak.pub").read_bytes()[2:]

    def certificate(self):
        self.swtpm.tool("nvread", "0x01c00002", "-o", self.file("ek.der"))
        return self.file("ek.der").read_bytes()

    def open(self, credential: bytes, secret: bytes) -> bytes:
        """TPM2_ActivateCredential; the tool's file has a magic and a version before both parts."""
        self.file("credential").write_bytes(struct.pack(">II", 0xBADCC0DE, 1) + credential + secret)
        self.flush()
        session = self.file("session.ctx")
        self.swtpm.tool("startauthsession", "--policy-session", "-S", session)
        self.swtpm.tool("policysecret", "-S", session, "-c", "e")
        options = ["-i", self.file("credential"), "-o", self.file("opened"), "-P", f"session:{session}"]
        self.swtpm.tool("activatecredential", "-c", self.file("ak.ctx"), "-C", self.file("ek.ctx"), *options)
        self.flush()
        return self.file("opened").read_bytes()

    def quote(self, nonce: bytes, pcrs, log=None) -> dict:
        wanted = "sha256:" + ",".join(map(str, pcrs))
        self.flush()
        options = ["-l", wanted, "-q", nonce.hex(), "-m", self.file("quoted"), "-s", self.file("signature"), "-g", "sha256"]
        self.swtpm.tool("quote", "-c", self.file("ak.ctx"), *options)
        self.flush()
        self.swtpm.tool("pcrread", wanted, "-o", self.file("pcrs"))
        values = self.file("pcrs").read_bytes()
        evidence = {
            "quoted": b64(self.file("quoted").read_bytes()),
            "signature": b64(self.file("signature").read_bytes()),
            "pcrs": {str(pcr): values[at * 32 : at * 32 + 32].hex() for at, pcr in enumerate(sorted(pcrs))},
        }
        if log is not None:
            evidence["event_log"] = b64(log)
        return {"format": "tpm2", "evidence": evidence}


def event_log(events) -> bytes:
    """A log in the crypto-agile format with the bank of SHA-256."""
    spec = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, 1) + struct.pack("<HH", 0x0B, 32) + b"\0"
    log = struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(spec)) + spec
    for pcr, digest in events:
        log += struct.pack("<IIIH", pcr, 0x0D, 1, 0x0B) + digest + struct.pack("<I", 4) + b"test"
    return log


def activated(server, device, tpm, algorithm="rsa"):
    endorsement, attestation = tpm.keys(algorithm)
    body = {"endorsement": b64(endorsement), "attestation": b64(attestation), "certificate": b64(tpm.certificate())}
    if algorithm != "rsa":
        del body["certificate"]
    status, made = post(server, device, "/v1/attest/activate", body)
    expect(status, 200, made)
    secret = tpm.open(base64.b64decode(made["credential"]), base64.b64decode(made["secret"]))
    status, proven = post(server, device, "/v1/attest/activate/proof", {"secret": b64(secret)})
    expect(status, 200, proven)
    return base64.b64decode(proven["certificate"])


def attest(server, device, tpm, log=None, change=None):
    status, challenge = post(server, device, "/v1/attest/challenge")
    expect(status, 200, challenge)
    evidence = tpm.quote(base64.b64decode(challenge["nonce"]), challenge["pcrs"], log)
    if change:
        change(evidence)
    return post(server, device, "/v1/attest", evidence)


def events(server, action):
    rows = server.ctl("event", "list", tenant="acme")
    return [row for row in rows if row["action"] == action]


@story.check
def activates_and_attests(server):
    """A gateway is held back, activates its keys, attests, and is let in; its key gets a certificate"""
    device = server.enrol("acme", "tpm-1", "--class", "gateway", "--hardware", HARDWARE)
    tpm = server.tpms[0]
    stands = server.ctl("attestation", "show", "tpm-1", tenant="acme")
    expect((stands["required"], stands["restricted"]), (True, "never-attested"))
    shadow = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", server.ca]
    shadow += ["--cert", device.cert, "--key", device.key, f"{server.device_url}/things/tpm-1/shadow"]
    expect(run(shadow).stdout, b"403", "its shadow, held back")
    certificate = activated(server, device, tpm)
    (server.folder / "ak.der").write_bytes(certificate)
    text = run(["openssl", "x509", "-inform", "DER", "-in", server.folder / "ak.der", "-noout", "-text"]).stdout.decode()
    holds("2.23.133.8.3" in text, text)
    server.ctl("attestation", "learn", "--hardware", HARDWARE, "--devices", "1", tenant="acme")
    status, verdict = attest(server, device, tpm)
    expect((status, verdict["verdict"], verdict["reasons"]), (200, "affirming", ["learned"]), verdict)
    expect(verdict["restricted"], False)
    expect(run(shadow).stdout, b"404", "its shadow, let in")
    references = server.ctl("attestation", "reference", "list", tenant="acme")
    expect([(row["state"], row["teachers"]) for row in references], [("locked", ["tpm-1"])])
    server.gateway = device


@story.check
def evidence_counts_once(server):
    """A challenge is used up; a nonce of one's own, changed values and another's signature prove nothing"""
    device, tpm = server.gateway, server.tpms[0]
    status, verdict = attest(server, device, tpm)
    expect((status, verdict["verdict"]), (200, "affirming"))
    status, problem = post(server, device, "/v1/attest", tpm.quote(b"x" * 32, [0]))
    expect((status, problem["code"]), (409, "no-challenge"))
    post(server, device, "/v1/attest/challenge")
    status, problem = post(server, device, "/v1/attest", tpm.quote(b"x" * 32, [0]))
    expect((status, problem["code"]), (422, "nonce"))

    def lie(evidence):
        evidence["evidence"]["pcrs"]["7"] = "00" * 31 + "01"

    status, problem = attest(server, device, tpm, change=lie)
    expect((status, problem["code"]), (422, "pcrs"))
    stands = server.ctl("attestation", "show", "tpm-1", tenant="acme")
    expect(stands["verdict"], "affirming", "what proves nothing changes nothing")


@story.check
def strangers(server):
    """Without a certificate nobody is heard; an unknown maker, and a TPM of another device, are found out"""
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", server.ca, "-X", "POST"]
    for path in ("/v1/attest/challenge", "/v1/attest/activate", "/v1/attest/activate/proof", "/v1/attest"):
        expect(run([*command, server.device_url + path]).stdout, b"401", path)
    device = server.enrol("acme", "tpm-2", "--class", "gateway", "--hardware", HARDWARE)
    other = server.tpms[1]
    endorsement, attestation = other.keys()
    body = {"endorsement": b64(endorsement), "attestation": b64(attestation), "certificate": b64(other.certificate())}
    status, problem = post(server, device, "/v1/attest/activate", body)
    expect((status, problem["code"]), (422, "endorsement"), problem)
    activated(server, device, server.tpms[0])
    status, verdict = attest(server, device, server.tpms[0])
    expect((status, verdict["verdict"]), (200, "contraindicated"))
    holds("hardware-elsewhere" in verdict["reasons"], verdict)
    expect(server.ctl("device", "show", "tpm-2", tenant="acme")["status"], "quarantined")
    server.tpms[0].keys()
    activated(server, server.gateway, server.tpms[0])


@story.check
def listed_key_on_a_curve(server):
    """An endorsement key on P-256 without a certificate counts when its hash is on the list"""
    device = server.enrol("acme", "tpm-3", "--class", "gateway", "--hardware", HARDWARE)
    tpm = server.tpms[1]
    endorsement, attestation = tpm.keys("ecc")
    body = {"endorsement": b64(endorsement), "attestation": b64(attestation)}
    status, problem = post(server, device, "/v1/attest/activate", body)
    expect((status, problem["code"]), (422, "endorsement"), problem)
    tpm.flush()
    tpm.swtpm.tool("readpublic", "-c", tpm.file("ek.ctx"), "-f", "der", "-o", tpm.file("ek.spki"))
    digest = hashlib.sha256(tpm.file("ek.spki").read_bytes()).hexdigest()
    server.ctl("attestation", "anchor", "add", "endorsement-key", digest, "--name", "bench-3", tenant="acme")
    activated(server, device, tpm, "ecc")
    status, verdict = attest(server, device, tpm)
    expect((status, verdict["verdict"]), (200, "affirming"), verdict)
    expect(server.ctl("attestation", "show", "tpm-3", tenant="acme")["hardware_identity"], digest)


@story.check
def event_logs(server):
    """With a log, known events are what counts, in whatever number; an unknown one is found out, and one left out too"""
    device, tpm = server.gateway, server.tpms[0]
    known = [hashlib.sha256(text).digest() for text in (b"shim", b"kernel-1", b"kernel-2")]
    zeros = bytes(32).hex()
    good = {"pcr/0": [zeros], "pcr/2": [zeros], "pcr/7": [zeros], "event/4": [digest.hex() for digest in known]}
    file = server.folder / "reference.json"
    file.write_text(json.dumps(good))
    server.ctl("attestation", "reference", "set", "--hardware", HARDWARE, file, tenant="acme")
    for digest in known[:2]:
        tpm.swtpm.tool("pcrextend", f"4:sha256={digest.hex()}")
    log = [(4, known[0]), (4, known[1])]
    status, verdict = attest(server, device, tpm, event_log(log))
    expect((status, verdict["verdict"], verdict["reasons"]), (200, "affirming", []), verdict)
    status, problem = attest(server, device, tpm, event_log(log[:1]))
    expect((status, problem["code"]), (422, "event-log"), problem)
    evil = hashlib.sha256(b"rootkit").digest()
    tpm.swtpm.tool("pcrextend", f"4:sha256={evil.hex()}")
    status, verdict = attest(server, device, tpm, event_log([*log, (4, evil)]))
    expect((status, verdict["verdict"]), (200, "contraindicated"), verdict)
    expect(verdict["reasons"], ["unknown-measurement:event/4"])
    expect(server.ctl("device", "show", "tpm-1", tenant="acme")["status"], "quarantined")
    seen = [row for row in events(server, "attestation.verdict") if row["device"] == "tpm-1"]
    holds(any(row["severity"] == "critical" for row in seen), seen)


if __name__ == "__main__":
    with Server() as server, Swtpm(server.folder / "tpm-a") as first, Swtpm(server.folder / "tpm-b") as second:
        server.tenant("acme")
        server.tpms = [Tpm(first), Tpm(second)]
        asks = 'attestation.classes={"gateway": {"required": true, "root_of_trust": ["tpm2"]}}'
        server.ctl("tenant", "policy", "set", asks, tenant="acme")
        server.ctl("attestation", "anchor", "add", "tpm-root", first.maker()[0], "--name", "swtpm", tenant="acme")
        story.tell(server)
