"""Tokens of PyJWT, unmodified: exchanged for a certificate with curl, and as the password of paho-mqtt."""

import base64
import hashlib
import hmac
import http.server
import json
import queue
import ssl
import threading
import time

import jwt
import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fleet.server import Server, run
from fleet.story import Story, expect, holds, within
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

story = Story("jwt")
TENANT, OTHER = "acme", "zenith"
AUDIENCE = "fleet.example"
KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
COUNT = iter(range(1, 10_000))


def issuer(name):
    return f"https://{name}.example"


def jwk(alg, kid, key=None):
    """The public half as PyJWT writes it."""
    algorithm = jwt.get_algorithm_by_name(alg)
    fields = algorithm.to_jwk((key or KEYS[alg]).public_key(), as_dict=True)
    fields.pop("key_ops", None)
    return {**fields, "kid": kid, "alg": alg, "use": "sig"}


def token(service, alg, device, key=None, kid=None, life=600, **claims):
    now = int(time.time())
    said = {"iss": issuer(service), "aud": AUDIENCE, "sub": device, "iat": now, "exp": now + life, "jti": str(next(COUNT))}
    said = {name: value for name, value in {**said, **claims}.items() if value is not None}
    return jwt.encode(said, key or KEYS[alg], algorithm=alg, headers={"kid": kid or alg})


def register(server, service, alg, *options, tenant=TENANT):
    keys = server.folder / f"{service}.jwks.json"
    keys.write_text(json.dumps({"keys": [jwk(alg, alg)]}))
    arguments = ["--issuer", issuer(service), "--audience", AUDIENCE, "--jwks", keys, "--algorithm", alg, *options]
    return server.ctl("token-issuer", "register", service, *arguments, tenant=tenant)


def policy(server, tenant=TENANT, **tokens):
    server.ctl("tenant", "policy", "set", *(f"tokens.{name}={json.dumps(value)}" for name, value in tokens.items()), tenant=tenant)


def exchange(server, text, name, tenant=TENANT, request=None, source="127.0.0.1"):
    made = request or server.key_and_request(name)[1]
    return server.est(f"{tenant}/simpleenroll", made, "-H", f"Authorization: Bearer {text}", "--interface", source)


class Client:
    """paho without a certificate of its own."""

    def __init__(self, server, user, password, name, version=mqtt.MQTTv5):
        self.connects, self.ends = queue.Queue(), queue.Queue()
        self.messages, self.subacks = queue.Queue(), queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version)
        self.client.tls_set(ca_certs=str(server.ca))
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda _c, _u, _f, code, _p: self.connects.put(code.value)
        self.client.on_disconnect = lambda _c, _u, _f, code, _p: self.ends.put(code.value)
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self.subacks.put([code.value for code in codes])
        start = {}
        if version == mqtt.MQTTv5:
            start = {"clean_start": True, "properties": Properties(PacketTypes.CONNECT)}
        self.client.connect("localhost", server.mqtt_port, 30, **start)
        self.client.loop_start()

    def answer(self):
        return within(self.connects, what="the CONNACK")

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


def refused(server, *arguments, **options):
    client = Client(server, *arguments, **options)
    code = client.answer()
    client.stop()
    holds(code != 0, f"{arguments[0]} got in")
    return code


@story.check
def every_algorithm_gets_a_certificate(server):
    """ES256, EdDSA and RS256 tokens are exchanged for a certificate, once"""
    for alg in KEYS:
        service = alg.lower()
        register(server, service, alg, "--registers")
        name = f"gw-{service}"
        text = token(service, alg, name)
        request = server.key_and_request(name)[1]
        status, body = exchange(server, text, name, request=request)
        expect(status, 200, f"{alg}: {body[:200]}")
        cert = server.keep_certificate(name, body)
        subject = run(["openssl", "x509", "-in", cert, "-noout", "-subject"]).stdout.decode()
        holds(name in subject, subject)
        expect(exchange(server, text, name, request=request)[0], 200, "the same request, whose answer was lost")
        expect(exchange(server, text, name)[0], 401, "the same token with another key")


@story.check
def what_pyjwt_can_forge_is_refused(server):
    """Wrong audience, issuer, key, life, and a shared secret made of the public key"""
    pem = KEYS["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    now = int(time.time())
    claims = {"iss": issuer("rs256"), "aud": AUDIENCE, "sub": "gw-x", "iat": now, "exp": now + 60, "jti": "forged"}
    # PyJWT itself refuses to sign with a public key; whoever forges does it by hand.
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")  # noqa: E731
    signed = part({"alg": "HS256", "kid": "RS256"}) + b"." + part(claims)
    mac = base64.urlsafe_b64encode(hmac.new(pem, signed, hashlib.sha256).digest()).rstrip(b"=")
    confused = (signed + b"." + mac).decode()
    forged = {
        "audience": token("es256", "ES256", "gw-x", aud="elsewhere"),
        "issuer": token("nobody", "ES256", "gw-x"),
        "another service's key": token("es256", "ES256", "gw-x", key=ec.generate_private_key(ec.SECP256R1())),
        "another algorithm": token("es256", "RS256", "gw-x", kid="ES256"),
        "expired": token("es256", "ES256", "gw-x", iat=now - 600, exp=now - 300),
        "too long": token("es256", "ES256", "gw-x", life=7200),
        "not yet": token("es256", "ES256", "gw-x", nbf=now + 600),
        "no end": token("es256", "ES256", "gw-x", exp=None),
        "no device": token("es256", "ES256", "gw-x", sub=None),
        "none": jwt.encode(claims, None, algorithm="none", headers={"kid": "RS256"}),
        "shared secret": confused,
    }
    # An address that is refused too often has to wait: each comes from one of its own.
    for number, (what, text) in enumerate(forged.items(), start=1):
        expect(exchange(server, text, "gw-x", source=f"127.0.2.{number}")[0], 401, what)
    told = server.ctl("event", "list", "--action", "enrollment.refused", tenant=TENANT)
    causes = {event["detail"].get("cause") for event in told}
    wanted = {"jwt-audience", "jwt-issuer", "jwt-signature", "jwt-algorithm", "jwt-expired", "jwt-too-long", "jwt-no-device"}
    holds(wanted <= causes, f"missing {wanted - causes}")


@story.check
def a_token_is_a_password(server):
    """paho-mqtt connects with a token, works as its device, and is out when the token ends"""
    for version in (mqtt.MQTTv5, mqtt.MQTTv311):
        text = token("es256", "ES256", "gw-mqtt", life=4)
        client = Client(server, f"{TENANT}/gw-mqtt", text, "gw-mqtt", version)
        expect(client.answer(), 0, "CONNACK")
        client.client.subscribe("devices/gw-mqtt/in", 1)
        within(client.subacks, what="the SUBACK")
        client.client.publish("devices/gw-mqtt/in", "hello", 1)
        expect(within(client.messages).payload, b"hello")
        code = within(client.ends, 15, "the end of the session")
        if version == mqtt.MQTTv5:
            expect(code, 0xA0, "maximum connect time")
        client.client.loop_stop()
    again = Client(server, TENANT, token("es256", "ES256", "gw-mqtt"), "gw-mqtt")
    expect(again.answer(), 0, "with a new token it is back")
    again.stop()


@story.check
def nobody_comes_in_by_anothers_name(server):
    """Another tenant, another device, another client id, no tenant at all"""
    text = token("es256", "ES256", "gw-mqtt")
    for user, name in ((f"{OTHER}/gw-mqtt", "gw-mqtt"), (f"{TENANT}/gw-1", "gw-1"), (TENANT, "gw-1"), ("", "gw-mqtt")):
        refused(server, user, text, name)
    refused(server, f"{TENANT}/gw-mqtt", "a password", "gw-mqtt")


@story.check
def who_is_not_believed_is_out(server):
    """Disabling the service and suspending the device end the session at once"""
    connect = lambda: Client(server, TENANT, token("eddsa", "EdDSA", "gw-out"), "gw-out")  # noqa: E731
    client = connect()
    expect(client.answer(), 0)
    begun = time.monotonic()
    server.ctl("token-issuer", "disable", "eddsa", tenant=TENANT)
    expect(within(client.ends, what="the end of the session"), 0x98)
    holds(time.monotonic() - begun < 2, "it took too long")
    client.client.loop_stop()
    refused(server, TENANT, token("eddsa", "EdDSA", "gw-out"), "gw-out")
    server.ctl("token-issuer", "enable", "eddsa", tenant=TENANT)
    client = connect()
    expect(client.answer(), 0)
    server.ctl("device", "suspend", "gw-out", tenant=TENANT)
    within(client.ends, what="the end of the session")
    client.client.loop_stop()
    refused(server, TENANT, token("eddsa", "EdDSA", "gw-out"), "gw-out")


@story.check
def keys_at_a_url_are_fetched_and_rotated(server):
    """A JWKS over pinned TLS: a key that is new is fetched, one that is gone counts no more"""
    folder, first, second = server.folder, ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    key, cert, config = folder / "idp.key", folder / "idp.pem", folder / "idp.cnf"
    config.write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
        + ["-out", cert, "-config", config, "-subj", "/CN=idp", "-days", "1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    )
    published = {"keys": [jwk("ES256", "one", first)]}
    asked = []

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps(published).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{listener.server_port}/keys"
    register_at = ["--issuer", issuer("remote"), "--audience", AUDIENCE, "--jwks-url", url, "--registers"]
    failed = server.ctl("token-issuer", "register", "remote", *register_at, tenant=TENANT, check=False)
    holds(not failed, "an unpinned certificate of its own was believed")
    server.ctl("token-issuer", "register", "remote", *register_at, "--anchors", cert, tenant=TENANT)
    expect(exchange(server, token("remote", "ES256", "gw-r1", key=first, kid="one"), "gw-r1")[0], 200)
    before = len(asked)
    expect(exchange(server, token("remote", "ES256", "gw-r2", key=second, kid="two"), "gw-r2")[0], 401, "not published")
    published["keys"] = [jwk("ES256", "two", second)]
    # The keys are asked for at most once in a while; registering anew forgets them.
    server.ctl("token-issuer", "register", "remote", *register_at, "--anchors", cert, tenant=TENANT)
    expect(exchange(server, token("remote", "ES256", "gw-r2", key=second, kid="two"), "gw-r2")[0], 200, "published now")
    expect(exchange(server, token("remote", "ES256", "gw-r1", key=first, kid="one"), "gw-r1")[0], 401, "gone")
    holds(len(asked) - before <= 4, f"asked {len(asked) - before} times")
    listener.shutdown()


if __name__ == "__main__":
    with Server(arguments=["--hook-network", "127.0.0.0/8"]) as started:
        for home in (TENANT, OTHER):
            started.tenant(home)
            policy(started, home, exchange=True, mqtt=True)
        story.tell(started)
