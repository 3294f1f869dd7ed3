"""Somebody who means harm, at the doors of the identity plane: stolen and foreign credentials, bytes that are nothing,
bodies without end, two at once, a server that is killed half way, and addresses that lead inside."""

import base64
import concurrent.futures
import hashlib
import hmac
import http.client
import http.server
import json
import os
import queue
import socket
import ssl
import threading
import time
import urllib.parse

import paho.mqtt.client as paho
from fleet.server import Device, Server, run
from fleet.story import Story, expect, holds, within

story = Story("attacker")
HERE, THERE = "acme", "globex"
WAIT = 15
EST = "/.well-known/est"
# What a door may answer to whoever has no business there. 5xx and silence are failures of ours.
NO = {400, 401, 403, 404, 405, 409, 411, 413, 414, 415, 422, 429, 431, 501}


def context(server, device=None):
    made = ssl.create_default_context(cafile=server.ca)
    if device:
        made.load_cert_chain(device.cert, device.key)
    return made


def send(server, method, path, body=None, headers=None, device=None, source=None):
    """One HTTPS exchange: the status and the body. Attempts are counted by address, so each attack comes from its own."""
    connection = http.client.HTTPSConnection(
        "localhost", server.device_port, timeout=40, context=context(server, device), source_address=source and (source, 0)
    )
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def basic(name, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def enrol(server, label, name, secret, request, **more):
    headers = {"Content-Type": "application/pkcs10", **basic(name, secret)}
    return send(server, "POST", f"{EST}/{label}/simpleenroll", base64.b64encode(request), headers, **more)


def alive(server):
    """The server still does what it is for."""
    expect(send(server, "GET", f"{EST}/acme/cacerts")[0], 200, "the door after the attack")


# --- EST


@story.check
def foreign_credentials(server):
    """EST: tokens, names and labels of others get nothing, and the token stays good for its own device"""
    token = server.enrol_token(HERE, "est-1")
    _, own = server.key_and_request("est-1")
    _, other = server.key_and_request("est-2")
    _, smuggled = server.key_and_request("est-1-org", "/CN=est-1/O=globex")
    _, two = server.key_and_request("est-1-two", "/CN=est-1/CN=est-2")
    for case, (label, name, secret, request) in {
        "no token": (HERE, "est-1", "", own),
        "a guess": (HERE, "est-1", "fwe_" + "A" * 43, own),
        "another tenant's label": (THERE, "est-1", token, own),
        "another device's name": (HERE, "est-2", token, own),
        "a request for another device": (HERE, "est-1", token, other),
        "a request for another tenant's name": (HERE, "est-1", token, smuggled),
        "a request for two": (HERE, "est-1", token, two),
    }.items():
        status, body = enrol(server, label, name, secret, request, source="127.0.1.1")
        holds(status in NO, f"{case}: {status} {body[:200]}")
    expect(enrol(server, HERE, "est-1", token, own)[0], 200, "its own request")


@story.check
def requests_for_more(server):
    """EST: requests to be an authority, with unknown critical extensions or names beside their own, are refused by the token's
    own holder too; what is left out of the request is not in the certificate"""
    token = server.enrol_token(HERE, "more-1")
    key = server.devices / "more-1.key"
    made = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
    own = "URI:urn:fleetward:acme:more-1"
    for extension in (
        "basicConstraints=critical,CA:TRUE",
        "basicConstraints=CA:TRUE,pathlen:0",
        "keyUsage=keyCertSign,digitalSignature",
        "keyUsage=cRLSign",
        "1.2.3.4.5=critical,DER:0500",
        "nameConstraints=critical,permitted;DNS:example.com",
        "subjectAltName=URI:urn:fleetward:acme:more-2",
        "subjectAltName=URI:urn:fleetward:globex:more-1",
        f"subjectAltName={own},URI:urn:fleetward:acme:more-2",
        f"subjectAltName={own},DNS:localhost",
        f"subjectAltName={own},IP:127.0.0.1",
        f"subjectAltName={own},email:a@example.com",
        f"subjectAltName={own},otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@example.com",
        f"subjectAltName={own},dirName:other\n[other]\nCN=more-2",
        "subjectAltName=URI:urn:fleetward-claim:acme:x",
        "subjectAltName=DNS:*.example.com",
    ):
        config = server.folder / "more.cnf"
        name, _, rest = extension.partition("\n")
        config.write_text(f"[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\n{name}\n{rest}\n")
        request = run([*made, "-config", config, "-subj", "/CN=more-1", "-outform", "DER"]).stdout
        status, body = enrol(server, HERE, "more-1", token, request, source=f"127.0.1.{30 + hash(extension) % 200}")
        expect(status, 400, f"{extension}: {body[:200]}")
    status, body = enrol(server, HERE, "more-1", token, server.key_and_request("more-1")[1])
    expect(status, 200)
    text = run(["openssl", "x509", "-in", server.keep_certificate("more-1", body), "-noout", "-text"]).stdout.decode()
    holds("CA:FALSE" in text or "CA:TRUE" not in text, text)
    expect(text.count("URI:urn:fleetward:"), 1, "names in the certificate")


@story.check
def two_at_once(server):
    """EST: of twenty requests with one token and twenty keys one is answered, and its certificate is the device's only one"""
    token = server.enrol_token(HERE, "race-1")
    requests = [server.key_and_request(f"race-1-{at}", "/CN=race-1")[1] for at in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda request: enrol(server, HERE, "race-1", token, request, source="127.0.1.2"), requests))
    statuses = [status for status, _ in answers]
    expect(statuses.count(200), 1, f"winners among {statuses}")
    holds(all(status in NO for status in statuses if status != 200), str(statuses))


@story.check
def bytes_that_are_nothing(server):
    """EST, SCEP, DPS, device flow, attestation, OCSP: cut, random and empty bodies are refused and never a fault"""
    _, request = server.key_and_request("noise")
    token = server.enrol_token(HERE, "noise")
    noise = [request[:at] for at in range(0, len(request), 17)] + [os.urandom(at) for at in (1, 64, 900, 4000)]
    noise += [b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" * 2000, b"\x00" * 4096, b"{" * 4000, b"[" * 4000]
    device = server.enrol(HERE, "noise-own")
    doors = [
        ("POST", f"{EST}/acme/simpleenroll", {"Content-Type": "application/pkcs10", **basic("noise", token)}, base64.b64encode),
        ("POST", f"{EST}/acme/simplereenroll", {"Content-Type": "application/pkcs10"}, base64.b64encode),
        ("POST", "/scep/acme?operation=PKIOperation", {}, bytes),
        ("PUT", "/0ne0000000/registrations/x/register?api-version=2019-03-31", {"Content-Type": "application/json"}, bytes),
        ("POST", "/oauth/device_authorization", {"Content-Type": "application/x-www-form-urlencoded"}, bytes),
        ("POST", "/oauth/token", {"Content-Type": "application/x-www-form-urlencoded"}, bytes),
        ("POST", "/v1/attest", {"Content-Type": "application/json"}, bytes),
        ("POST", "/v1/attest/activate", {"Content-Type": "application/json"}, bytes),
        ("POST", "/things/noise-own/shadow", {"Content-Type": "application/json"}, bytes),
    ]
    for number, (method, path, headers, form) in enumerate(doors):
        for at, body in enumerate(noise):
            source = f"127.0.2.{1 + (number * len(noise) + at) // 10 % 250}"
            with_device = device if path.startswith(("/v1", "/things")) or "simplereenroll" in path else None
            status, said = send(server, method, path, form(body), headers, with_device, source)
            holds(status in NO, f"{method} {path}, noise {at}: {status} {said[:200]}")
    alive(server)
    # The address that made the most noise is not the device's: it enrols.
    expect(enrol(server, HERE, "noise", server.enrol_token(HERE, "noise"), request)[0], 200)


@story.check
def paths_that_lead_elsewhere(server):
    """Paths with dots, escapes and slashes reach no other tenant and no file"""
    for path in (
        f"{EST}/../est/acme/csrattrs/..",
        f"{EST}/acme/../globex/simpleenroll",
        f"{EST}/%61cme%2f..%2fglobex/simpleenroll",
        f"{EST}//acme//simpleenroll",
        f"{EST}/acme%00/cacerts",
        "/scep/%2e%2e/%2e%2e/etc/passwd?operation=GetCACert",
        "/artifacts/../../../etc/passwd",
        "/pki/..%2f..%2f/crl.der",
        "/" + "a/" * 3000,
        "/" + "%ff" * 300,
    ):
        status, said = send(server, "GET", path, source="127.0.1.3")
        holds(status in NO, f"{path[:60]}: {status} {said[:100]}")
        holds(b"root:" not in said, path)


@story.check
def bodies_without_end(server):
    """Announced, chunked and lying lengths are stopped at the limit; a head of 64 KiB too"""
    raw = raw_tls(server)
    raw.sendall(b"POST /.well-known/est/acme/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nAAAA")
    holds(read_all(raw).startswith(b"HTTP/1.1 413"), "announced too large, and refused before it came")

    def endless():
        while True:
            yield b"A" * 65536

    for path in (f"{EST}/acme/simpleenroll", "/scep/acme?operation=PKIOperation", "/oauth/token"):
        try:
            status, _ = send(server, "POST", path, endless(), source="127.0.1.4")
            holds(status in NO, f"{path}: {status}")
        except (ConnectionError, ssl.SSLError):
            pass  # closed while it was still being sent to
    raw = raw_tls(server)
    try:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65536 + b"\r\n\r\n")
    except (ConnectionError, ssl.SSLError):
        pass  # closed while it was still being sent to
    answer = read_all(raw)
    holds(answer.startswith(b"HTTP/1.1 431") or answer == b"", answer[:40])
    # Two lengths at once are a smuggler's (RFC 9112 §6.1).
    raw = raw_tls(server)
    raw.sendall(
        b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    answer = read_all(raw)
    holds(answer.count(b"HTTP/1.1 ") <= 2, answer[:300])
    alive(server)


def raw_tls(server):
    return context(server).wrap_socket(socket.create_connection(("localhost", server.device_port), 10), server_hostname="localhost")


def read_all(raw, seconds=5):
    raw.settimeout(seconds)
    read = b""
    try:
        while piece := raw.recv(65536):
            read += piece
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    raw.close()
    return read


@story.check
def many_that_say_nothing(server):
    """Three hundred connections that say nothing, and a hundred each that stop in hand-shake and body, keep nobody out"""
    port = server.device_port
    silent = [socket.create_connection(("localhost", port), 10, ("127.0.1.20", 0)) for _ in range(300)]
    for _ in range(100):
        stopped = socket.create_connection(("localhost", port), 10, ("127.0.1.21", 0))
        said = ssl.MemoryBIO()
        try:
            context(server).wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost").do_handshake()
        except ssl.SSLWantReadError:
            stopped.sendall(said.read())
        silent.append(stopped)
    slow = []
    for _ in range(100):
        raw = raw_tls(server)
        raw.sendall(b"POST /.well-known/est/acme/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nAA")
        slow.append(raw)
    begun = time.monotonic()
    alive(server)
    holds(time.monotonic() - begun < 5, f"{time.monotonic() - begun:.1f} s")
    for each in silent + slow:
        each.close()


# --- revoked, and resumed


@story.check
def revoked_is_out(server):
    """A revoked device has no door: EST, shadow, attestation, artifacts, MQTT, with a new connection and a resumed one"""
    device = server.enrol(HERE, "gone")
    made = context(server, device)
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    first = made.wrap_socket(socket.create_connection(("localhost", server.device_port), 10), server_hostname="localhost")
    session = first.session
    first.close()
    server.ctl("device", "revoke", "gone", tenant=HERE)
    _, request = server.key_and_request("gone-2", "/CN=gone")
    pkcs10 = {"Content-Type": "application/pkcs10"}
    for method, path, body in (
        ("POST", f"{EST}/acme/simplereenroll", base64.b64encode(request)),
        ("GET", "/things/gone/shadow", None),
        ("POST", "/v1/attest/challenge", b"{}"),
        ("GET", "/artifacts/" + "0" * 64, None),
    ):
        status, said = send(server, method, path, body, pkcs10, device)
        holds(status in {401, 403}, f"{path}: {status} {said[:100]}")
    again = made.wrap_socket(
        socket.create_connection(("localhost", server.device_port), 10), server_hostname="localhost", session=session
    )
    holds(again.session_reused, "the session is resumed")
    again.sendall(b"GET /things/gone/shadow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    holds(read_all(again)[:12] in (b"HTTP/1.1 401", b"HTTP/1.1 403"), "and gets nothing")
    _, code, _ = mqtt(server, device)
    holds(code != 0, "MQTT")


def mqtt(server, device):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, device.name, protocol=paho.MQTTv5)
    client.tls_set(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key))
    connects, messages = queue.Queue(), queue.Queue()
    client.on_connect = lambda _c, _u, _f, code, _p: connects.put(code.value)
    client.on_message = lambda _c, _u, message: messages.put((message.topic, message.payload))
    client.connect("localhost", server.mqtt_port)
    client.loop_start()
    return client, within(connects, WAIT, "a CONNACK"), messages


# --- DPS


def signature(scope, name, key, resource=None, expires=None, policy="registration"):
    resource = urllib.parse.quote(resource or f"{scope}/registrations/{name}", safe="")
    expires = int(time.time()) + 600 if expires is None else expires
    tag = hmac.new(base64.b64decode(key), f"{resource}\n{expires}".encode(), hashlib.sha256).digest()
    tag = urllib.parse.quote(base64.b64encode(tag).decode(), safe="")
    return f"SharedAccessSignature sr={resource}&sig={tag}&se={expires}&skn={policy}"


@story.check
def registrations(server):
    """DPS: signatures that are old, of other keys, names, scopes and tenants, and none at all"""
    own = server.ctl("enrollment-group", "create", "dps-1", "--individual", tenant=HERE)
    theirs = server.ctl("enrollment-group", "create", "dps-1", "--individual", tenant=THERE)
    scope, key = own["id_scope"], own["primary_key"]
    path = f"/{scope}/registrations/dps-1/register?api-version=2019-03-31"
    now = int(time.time())
    for case, sas in {
        "none": None,
        "nonsense": "SharedAccessSignature sr=&sig=&se=",
        "an old one": signature(scope, "dps-1", key, expires=now - 3600),
        "one of 1970": signature(scope, "dps-1", key, expires=0),
        "one without end": signature(scope, "dps-1", key, expires=2**63),
        "another tenant's key": signature(scope, "dps-1", theirs["primary_key"]),
        "another's resource": signature(scope, "dps-1", key, resource=f"{scope}/registrations/dps-2"),
        "another scope's": signature(scope, "dps-1", key, resource=f"{theirs['id_scope']}/registrations/dps-1"),
        "an empty key": signature(scope, "dps-1", ""),
    }.items():
        headers = {"Content-Type": "application/json", **({"Authorization": sas} if sas else {})}
        status, said = send(server, "PUT", path, b'{"registrationId":"dps-1"}', headers, source="127.0.1.5")
        expect(status, 401, f"{case}: {said[:200]}")
    good = {"Content-Type": "application/json", "Authorization": signature(scope, "dps-1", key)}
    status, said = send(server, "PUT", path, b'{"registrationId":"dps-2"}', good)
    holds(status in NO, f"a body for another device: {status} {said[:200]}")
    elsewhere = f"/{theirs['id_scope']}/registrations/dps-1/register?api-version=2019-03-31"
    expect(send(server, "PUT", elsewhere, b"{}", good, source="127.0.1.6")[0], 401, "at another tenant's scope")
    expect(send(server, "PUT", path, b'{"registrationId":"dps-1"}', good)[0], 202, "its own")
    device = server.enrol(THERE, "dps-1")
    status, _ = send(server, "PUT", path, b"{}", {"Content-Type": "application/json"}, device, "127.0.1.6")
    expect(status, 401, "the certificate of another tenant's device of the same name")


# --- the device flow


@story.check
def device_flow(server):
    """OAuth: no client, no guess, no other tenant's operator; a code is granted to whoever holds it and bound to its key"""
    scope = server.ctl("enrollment-group", "create", "flow", tenant=HERE)["id_scope"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    grant = "urn:ietf:params:oauth:grant-type:device_code"

    def post(path, fields, source="127.0.1.7"):
        status, body = send(server, "POST", path, urllib.parse.urlencode(fields), form, source=source)
        return status, json.loads(body)

    expect(post("/oauth/device_authorization", {"client_id": "0ne00000000", "device": "flow-1"})[0], 401)
    status, said = post("/oauth/device_authorization", [("client_id", scope), ("client_id", scope), ("device", "flow-1")])
    expect((status, said["error"]), (400, "invalid_request"))
    _, request = server.key_and_request("flow-1")
    _, other = server.key_and_request("flow-1-other", "/CN=flow-1")
    asked = {"client_id": scope, "device": "flow-1", "csr": base64.b64encode(request)}
    status, said = post("/oauth/device_authorization", asked)
    expect(status, 200, said)
    code, poll = said["device_code"], {"grant_type": grant, "client_id": scope}
    expect(post("/oauth/token", {**poll, "device_code": code})[1]["error"], "authorization_pending")
    waiting = server.ctl("enrollment", "list", tenant=HERE)
    holds(waiting, "it waits for a person")
    holds(not server.ctl("enrollment", "list", tenant=THERE), "whom another tenant has not")
    done = subprocess_ctl(server, "enrollment", "approve", said["user_code"], tenant=THERE)
    holds(done != 0, "another tenant's operator approves nothing")
    server.ctl("enrollment", "approve", said["user_code"], tenant=HERE)
    time.sleep(said["interval"])  # the pause that the device is told to make (RFC 8628 §3.2)
    status, granted = post("/oauth/token", {**poll, "device_code": code})
    expect(status, 200, granted)
    bearer = {"Content-Type": "application/pkcs10", "Authorization": f"Bearer {granted['access_token']}"}
    stolen = send(server, "POST", f"{EST}/acme/simpleenroll", base64.b64encode(other), bearer, source="127.0.1.8")
    holds(stolen[0] in NO, f"another key with the token: {stolen}")
    elsewhere = send(server, "POST", f"{EST}/globex/simpleenroll", base64.b64encode(request), bearer, source="127.0.1.8")
    holds(elsewhere[0] in NO, f"at another tenant: {elsewhere}")
    expect(send(server, "POST", f"{EST}/acme/simpleenroll", base64.b64encode(request), bearer)[0], 200, "the key that was shown")
    guesses = [post("/oauth/token", {**poll, "device_code": "fwc_" + "A" * 43}, "127.0.1.9")[0] for _ in range(60)]
    holds(429 in guesses and 200 not in guesses, f"guesses: {guesses}")


def subprocess_ctl(server, *arguments, tenant):
    try:
        server.ctl(*arguments, tenant=tenant)
        return 0
    except RuntimeError:
        return 1


# --- attestation


@story.check
def attestation(server):
    """Attestation: nobody without a certificate; another device's challenge, and evidence that is none, change nothing"""
    one, two = server.enrol(HERE, "at-1"), server.enrol(HERE, "at-2")
    kind = {"Content-Type": "application/json"}
    expect(send(server, "POST", "/v1/attest/challenge", b"{}", kind)[0], 401)
    status, said = send(server, "POST", "/v1/attest/challenge", b"{}", kind, one)
    expect(status, 200, said)
    nonce = json.loads(said)["nonce"]
    before = server.ctl("device", "show", "at-2", tenant=HERE)["status"]
    for device in (two, one):
        for evidence in (
            {"format": "eat-cwt", "nonce": nonce, "token": ""},
            {"format": "tpm2", "nonce": nonce, "quoted": "AAAA", "signature": "AAAA", "pcrs": {}, "log": "AAAA"},
            {"format": "none", "nonce": nonce},
            {"format": "eat-cwt", "nonce": "A" * 100_000},
        ):
            status, answer = send(server, "POST", "/v1/attest", json.dumps(evidence), kind, device)
            holds(status in NO or json.loads(answer).get("verdict") != "affirming", f"{evidence}: {status} {answer[:200]}")
    expect(server.ctl("device", "show", "at-2", tenant=HERE)["status"], before)


# --- identifiers and hooks: addresses that lead inside


class Trap:
    """A listener inside that nobody may be led to; it counts who comes."""

    def __init__(self, host="127.0.0.1"):
        self.socket = socket.create_server((host, 0))
        self.port = self.socket.getsockname()[1]
        self.visits = 0
        threading.Thread(target=self.wait, daemon=True).start()

    def wait(self):
        while True:
            try:
                visitor, _ = self.socket.accept()
            except OSError:
                return
            self.visits += 1
            visitor.close()


def rest(server, method, path, body):
    address = urllib.parse.urlsplit(server.endpoints["operator_url"])
    connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=40, context=context(server))
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@story.check
def identifiers_lead_nowhere(server):
    """did:web of hosts inside is refused without a connection, whatever the name looks like"""
    server.enrol(HERE, "did-1")
    trap = Trap()
    names = ["localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]", "169.254.169.254", "localhost.", "0.0.0.0"]
    header = base64.urlsafe_b64encode(b'{"alg":"ES256"}').rstrip(b"=").decode()
    for name in names:
        did = f"did:web:{urllib.parse.quote(name, safe='')}%3A{trap.port}"
        for path, body in (
            ("/v1/tenants/acme/devices/did-1/dids/challenge", {"did": did}),
            ("/v1/tenants/acme/devices/did-1/dids", {"did": did, "proof": f"{header}.{header}.{'A' * 86}"}),
        ):
            status, said = rest(server, "POST", path, body)
            holds(status in NO or (status == 200 and "nonce" in said.decode()), f"{did}: {status} {said[:200]}")
    expect(trap.visits, 0, "visits at the listener inside")


class Hook(http.server.BaseHTTPRequestHandler):
    """A hook that does what its path says."""

    trap = None

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        what = self.path.strip("/")
        if what == "redirect":
            self.send_response(307)
            self.send_header("location", f"https://127.0.0.1:{Hook.trap.port}/")
            self.send_header("content-length", "0")
            self.end_headers()
        elif what == "huge":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65536)
            except OSError:
                return
        elif what == "slow":
            time.sleep(30)
        elif what == "liar":
            self.send_response(200)
            self.send_header("content-length", "9")
            self.end_headers()
            self.wfile.write(b"{}       ")

    def log_message(self, *_):
        pass


TEMPLATE = {
    "Parameters": {"SerialNumber": {"Type": "String"}},
    "Resources": {
        "thing": {
            "Type": "AWS::IoT::Thing",
            "Properties": {"ThingName": {"Fn::Join": ["-", ["hk", {"Ref": "SerialNumber"}]]}},
        },
        "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}},
    },
}
PROVISION = "$aws/provisioning-templates/{}/provision/json"


def claim(server, name, template):
    server.ctl("claim", "create", name, "--template", template, "--dir", server.devices, tenant=HERE)
    key, cert = (server.devices / f"{name}.claim.{end}" for end in ("key", "pem"))
    return Device(HERE, f"maker-{name}", key, cert, server.ca)


def certificate_of(client, messages, server, name):
    """A certificate for a claim's request, and the token that goes with it."""
    client.subscribe("$aws/certificates/create-from-csr/json/+", 1)
    _, der = server.key_and_request(name)
    pem = run(["openssl", "req", "-inform", "DER"], stdin=der).stdout.decode()
    client.publish("$aws/certificates/create-from-csr/json", json.dumps({"certificateSigningRequest": pem}), 1)
    topic, payload = within(messages, WAIT, "a certificate")
    holds(topic.endswith("/accepted"), f"{topic} {payload}")
    return json.loads(payload)


def hook_server(server):
    key, cert, config = (server.folder / f"trap.{end}" for end in ("key", "pem", "cnf"))
    config.write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert]
        + ["-config", config, "-subj", "/CN=hook", "-days", "1", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:FALSE"]
    )
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(cert, key)
    listener.socket = made.wrap_socket(listener.socket, server_side=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    return listener.server_address[1], cert


@story.check
def hooks_that_misbehave(server):
    """A hook that redirects, answers without end, not at all, or nonsense is a no within its time, and leads nowhere"""
    Hook.trap = Trap()
    port, cert = hook_server(server)
    template = server.folder / "hook.json"
    template.write_text(json.dumps(TEMPLATE))
    for what in ("redirect", "huge", "slow", "liar"):
        url = f"https://127.0.0.1:{port}/{what}"
        server.ctl("template", "create", what, template, "--hook-url", url, "--hook-ca", cert, tenant=HERE)
        client, code, messages = mqtt(server, claim(server, f"hook-{what}", what))
        expect(code, 0)
        made = certificate_of(client, messages, server, f"hook-{what}-device")
        topic = PROVISION.format(what)
        client.subscribe(f"{topic}/+", 1)
        body = {"certificateOwnershipToken": made["certificateOwnershipToken"], "parameters": {"SerialNumber": what}}
        begun = time.monotonic()
        client.publish(topic, json.dumps(body), 1)
        answered, payload = within(messages, 20, f"an answer after {what}")
        holds(answered.endswith("/rejected"), f"{what}: {answered} {payload}")
        holds(time.monotonic() - begun < 10, f"{what}: {time.monotonic() - begun:.1f} s")
        client.disconnect(), client.loop_stop()
    expect(Hook.trap.visits, 0, "visits where the redirect led")


# --- claims


@story.check
def a_claim_twice_at_once(server):
    """A token is used twice at once on its connection: one device comes of it; a claim reaches no data topic"""
    template = server.folder / "plain.json"
    template.write_text(json.dumps(TEMPLATE))
    server.ctl("template", "create", "plain", template, tenant=HERE)
    client, code, messages = mqtt(server, claim(server, "plain", "plain"))
    expect(code, 0)
    made = certificate_of(client, messages, server, "plain-device")
    topic = PROVISION.format("plain")
    client.subscribe(f"{topic}/+", 1)
    for serial in range(10):
        body = {"certificateOwnershipToken": made["certificateOwnershipToken"], "parameters": {"SerialNumber": f"p{serial}"}}
        client.publish(topic, json.dumps(body), 1)
    answers = [within(messages, WAIT, "an answer")[0].rsplit("/", 1)[1] for _ in range(10)]
    expect(answers.count("accepted"), 1, str(answers))
    reasons = queue.Queue()
    client.on_publish = lambda _c, _u, _mid, code, _p: reasons.put(code.value)
    for data in ("devices/hk-p0/x", "shared/x", "$aws/things/hk-p0/shadow/update", "$dps/registrations/PUT/iotdps-register/?$rid=1"):
        client.publish(data, b"{}", 1)
        expect(within(reasons, WAIT, "a PUBACK"), 0x87, data)
    client.publish(topic, b"{" * 200_000, 1)
    client.disconnect(), client.loop_stop()
    # Nor is a claim anybody at the other doors.
    used = claim(server, "other-doors", "plain")
    _, request = server.key_and_request("hk-p0-again", "/CN=hk-p0")
    for method, path, body in (
        ("POST", f"{EST}/acme/simplereenroll", base64.b64encode(request)),
        ("POST", f"{EST}/acme/simpleenroll", base64.b64encode(request)),
        ("POST", f"{EST}/acme/serverkeygen", base64.b64encode(request)),
        ("GET", "/things/hk-p0/shadow", None),
        ("POST", "/v1/attest/challenge", b"{}"),
        ("GET", "/artifacts/" + "0" * 64, None),
    ):
        status, said = send(server, method, path, body, {"Content-Type": "application/pkcs10"}, used)
        holds(status in {401, 403}, f"a claim at {path}: {status} {said[:100]}")
    alive(server)


# --- killed half way


@story.check
def killed_between(server):
    """kill -9 among forty enrolments: what was answered stands, and the same request with the same token is answered again"""
    wanted = []
    for at in range(40):
        name = f"kill-{at}"
        wanted.append((name, server.enrol_token(HERE, name), server.key_and_request(name)[1]))
    answers = {}

    def one(item):
        name, token, request = item
        try:
            answers[name] = enrol(server, HERE, name, token, request)
        except OSError:
            answers[name] = None
        if len([answer for answer in answers.values() if answer]) == 12:
            server.kill()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, wanted))
    server.start()
    lost = 0
    for name, token, request in wanted:
        status, body = enrol(server, HERE, name, token, request)
        expect(status, 200, f"{name} again: {body[:100]}")
        before = answers[name]
        lost += before is None
        if before and before[0] == 200:
            expect(body, before[1], f"{name}: the certificate that it was given")
    holds(lost, "nobody was cut off: the kill came too late to mean anything")


def main():
    with Server(arguments=["--hook-network", "127.0.0.0/8"]) as server:
        for tenant in (HERE, THERE):
            server.tenant(tenant)
        server.ctl("tenant", "policy", "set", "scep.enabled=true", tenant=HERE)
        story.tell(server)


if __name__ == "__main__":
    main()
