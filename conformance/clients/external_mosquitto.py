"""Debian's Mosquitto as the broker of the devices, and the server behind it: paho-mqtt <-> mosquitto <-> fleetward."""

import base64
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import threading
import time

import paho.mqtt.client as paho

from fleet.server import Server, run
from fleet.story import Story, expect, holds, quiet, until, within

story = Story("external-mosquitto")
TENANT = "acme"
# No device can have this name.
SERVER = "fleetward.server"


def acme(server, *arguments, check=True):
    return server.ctl(*arguments, tenant=TENANT, check=check)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Authority:
    """The broker's own authority, for its certificate and for the one that the server shows it."""

    def __init__(self, folder):
        self.folder = folder
        self.key, self.cert = folder / "broker-ca.key", folder / "broker-ca.pem"
        run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
            + ["-keyout", self.key, "-out", self.cert, "-subj", "/CN=broker CA"]
        )

    def issue(self, name, *extensions):
        key, csr, cert = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
            + ["-out", csr, "-subj", f"/CN={name}"]
        )
        text = self.folder / f"{name}.ext"
        text.write_text("\n".join(extensions) + "\n")
        signing = ["openssl", "x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial"]
        run([*signing, "-days", "30", "-extfile", text, "-out", cert])
        return key, cert


class Mosquitto:
    """mosquitto with mTLS, names from certificates, a list of who may what, and a store of its own."""

    def __init__(self, folder):
        self.folder = folder / "mosquitto"
        self.folder.mkdir(parents=True)
        os.chmod(self.folder, 0o777)
        self.port = free_port()
        self.authority = Authority(self.folder)
        self.server_key, self.server_cert = self.authority.issue(SERVER, "extendedKeyUsage=clientAuth")
        self.child = None

    def configure(self, trusted, access_list):
        key, cert = self.authority.issue("broker", "subjectAltName=DNS:localhost,IP:127.0.0.1", "extendedKeyUsage=serverAuth")
        clients = self.folder / "clients.pem"
        clients.write_text(trusted + self.authority.cert.read_text())
        acl = self.folder / "acl"
        acl.write_text(f"{access_list}\nuser {SERVER}\ntopic readwrite #\ntopic readwrite $aws/#\n")
        for path in (key, acl):
            path.chmod(0o644)
        (self.folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\ncafile {clients}\ncertfile {cert}\nkeyfile {key}\n"
            "require_certificate true\nuse_identity_as_username true\n"
            f"acl_file {acl}\npersistence true\npersistence_location {self.folder}/\nautosave_interval 1\n"
            # What waits for the server while it is away, which is a thousand otherwise; and who it runs as, which is itself here.
            f"max_queued_messages 0\n{'user root' if os.geteuid() == 0 else ''}\n"
        )

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.child = subprocess.Popen(
                ["mosquitto", "-c", self.folder / "mosquitto.conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self.answers, "mosquitto", 10)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            self.child.wait(10)


class Device:
    """A device as paho makes it: a session that the broker keeps, and what it heard."""

    def __init__(self, server, files):
        self.name, self.heard = files.name, queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=files.name, clean_session=False)
        self.client.tls_set(str(server.mosquitto.authority.cert), str(files.cert), str(files.key))
        self.client.on_message = lambda _client, _data, message: self.heard.put((message.topic, message.payload))
        self.ready, self.granted = queue.Queue(), queue.Queue()
        self.client.on_connect = lambda _client, _data, _flags, code, _properties: self.ready.put(code)
        self.client.on_subscribe = lambda _client, _data, _mid, codes, _properties: self.granted.put(codes)
        self.client.connect("localhost", server.mosquitto.port, 30)
        self.client.loop_start()
        expect(within(self.ready).value, 0)

    def subscribe(self, *rests):
        self.client.subscribe([(self.topic(rest), 1) for rest in rests])
        within(self.granted)

    def topic(self, rest):
        return f"$aws/things/{self.name}/{rest}"

    def say(self, rest, body):
        self.client.publish(self.topic(rest), json.dumps(body), 1).wait_for_publish(10)

    def next(self, seconds=10):
        topic, payload = within(self.heard, seconds)
        return topic.removeprefix(self.topic("")), json.loads(payload or b"null")

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()


@story.check
def shadow(server):
    """the shadow: update, accepted with its delta before it, get, rejected, and an operator's change"""
    device = Device(server, server.enrol(TENANT, "ext-1"))
    device.subscribe("shadow/get/+", "shadow/update/accepted", "shadow/update/rejected", "shadow/update/delta")
    device.say("shadow/get", {"clientToken": "t0"})
    topic, body = device.next()
    expect((topic, body["code"], body["clientToken"]), ("shadow/get/rejected", 404, "t0"))
    device.say("shadow/update", {"state": {"desired": {"a": 1}, "reported": {"b": 2}}, "clientToken": "t1"})
    topic, body = device.next()
    expect((topic, body["state"]), ("shadow/update/delta", {"a": 1}))
    topic, body = device.next()
    expect((topic, body["clientToken"]), ("shadow/update/accepted", "t1"))
    expect(acme(server, "shadow", "get", "ext-1")["state"]["reported"], {"b": 2})
    acme(server, "shadow", "set", "ext-1", '{"c": 3}')
    topic, body = device.next()
    expect((topic, body["state"]), ("shadow/update/delta", {"a": 1, "c": 3}))
    device.say("shadow/update", {"state": 5})
    expect(device.next()[0], "shadow/update/rejected")
    device.leave()


@story.check
def jobs(server):
    """jobs: a rollout is told of, taken, and reported"""
    files = server.enrol(TENANT, "ext-2", "--hardware", "rev-x")
    device = Device(server, files)
    device.subscribe("jobs/notify-next", "jobs/start-next/accepted", "jobs/+/update/accepted")
    release = server.release(TENANT, "9.0", b"image", "rev-x")
    rollout = server.rollout(TENANT, release, "ext-2")
    topic, body = device.next(30)
    expect((topic, body["execution"]["jobId"]), ("jobs/notify-next", rollout["id"]))
    device.say("jobs/start-next", {})
    topic, body = device.next()
    expect((topic, body["execution"]["status"]), ("jobs/start-next/accepted", "IN_PROGRESS"))
    device.say(f"jobs/{rollout['id']}/update", {"status": "SUCCEEDED", "statusDetails": {"firmware": "9.0"}})
    while device.next()[0] != f"jobs/{rollout['id']}/update/accepted":
        pass
    expect(acme(server, "device", "show", "ext-2")["firmware"], "9.0")
    device.leave()


@story.check
def others(server):
    """the broker's list: a device does not reach another's topics, nor answers of its own"""
    first, second = Device(server, server.enrol(TENANT, "ext-3")), Device(server, server.enrol(TENANT, "ext-4"))
    first.subscribe("shadow/update/accepted", "shadow/update/delta")
    second.client.subscribe([(first.topic("shadow/#"), 1)])
    within(second.granted)
    # Mosquitto may end the connection for that; with QoS 0 paho does not say it again when it is back.
    for topic in (first.topic("shadow/update"), second.topic("shadow/update/delta")):
        second.client.publish(topic, '{"state": {"reported": {"by": "another"}}}', 0)
        until(second.client.is_connected, "still there, or back", 10)
    first.say("shadow/update", {"state": {"reported": {"by": "itself"}}})
    expect(first.next()[0], "shadow/update/accepted")
    expect(acme(server, "shadow", "get", "ext-3")["state"]["reported"], {"by": "itself"})
    quiet(second.heard)
    first.leave()
    second.leave()


@story.check
def revoked(server):
    """a revoked device is still connected to that broker, and served no more"""
    device = Device(server, server.enrol(TENANT, "ext-5"))
    device.subscribe("shadow/update/accepted", "shadow/update/rejected")
    device.say("shadow/update", {"state": {"reported": {"n": 1}}})
    expect(device.next()[0], "shadow/update/accepted")
    acme(server, "device", "revoke", "ext-5")
    device.say("shadow/update", {"state": {"reported": {"n": 2}}})
    quiet(device.heard, 1)
    expect(acme(server, "shadow", "get", "ext-5")["state"]["reported"], {"n": 1})
    device.leave()


@story.check
def killed(server):
    """the server is killed again and again under load: no update that the broker took is lost, and it comes back by itself"""
    device = Device(server, server.enrol(TENANT, "ext-6"))
    device.subscribe("shadow/update/accepted")
    # No more at once than Mosquitto keeps for a session that is away.
    may, said, rounds, each = threading.Semaphore(0), [], 5, 80

    def load():
        for number in range(1, rounds * each + 1):
            may.acquire()
            body = {"state": {"reported": {f"k{number % 40}": number}}, "clientToken": str(number)}
            device.client.publish(device.topic("shadow/update"), json.dumps(body), 1).wait_for_publish(20)
            said.append(number)

    sender = threading.Thread(target=load)
    sender.start()
    for turn in range(rounds):
        may.release(each)
        if turn < rounds - 1:
            until(lambda: len(said) >= turn * each + each // 2, "half of the round")
            server.kill()
            server.start()
    sender.join(60)
    expect(len(said), rounds * each, "all are taken by the broker")
    wanted = {f"k{number % 40}": number for number in said}
    found = until(lambda: settled(server, "ext-6", wanted), "all that was acknowledged", 60)
    expect(found, wanted)
    print(f"{len(said)} updates acknowledged by the broker, none lost")
    tokens = set()
    while not device.heard.empty():
        tokens.add(device.next()[1].get("clientToken"))
    print(f"{len(tokens)} of them answered while the device was there")
    device.leave()


def settled(server, name, wanted):
    found = acme(server, "shadow", "get", name, check=False)
    found = found and found["state"].get("reported")
    return found if found == wanted else None


@story.check
def broker_restarts(server):
    """Mosquitto restarts: the server comes back to it, and so do the devices"""
    device = Device(server, server.enrol(TENANT, "ext-7"))
    device.subscribe("shadow/update/accepted")
    server.mosquitto.stop()
    server.mosquitto.start()
    expect(within(device.ready, 30).value, 0)
    device.say("shadow/update", {"state": {"reported": {"again": True}}})
    expect(device.next(40)[0], "shadow/update/accepted")
    device.leave()


@story.check
def asked(server):
    """the questions of plugins, in their own words: EMQX's and mosquitto-go-auth's"""
    token = acme(server, "api-token", "create", "plugin", "--role", "broker")["token"]
    files = server.enrol(TENANT, "ext-8")
    pem = files.cert.read_text()
    ask = Asker(server, token)
    allow = {"result": "allow", "is_superuser": False, "device": "ext-8"}
    expect(ask.json("authn", clientid="ext-8", username="ext-8", cert_common_name="ext-8", peerhost="192.0.2.7"), (200, allow))
    code, said = ask.json("authn", client_id="ext-8", cert_pem=pem)
    expect((code, said["result"]), (200, "allow"))
    holds(said["expire_at"] > time.time(), "the end of its certificate")
    expect(ask.json("authn", clientid="ext-9", cert_pem=pem)[1]["result"], "deny", "under another name")
    expect(ask.json("authn", clientid="ext-8", username="ext-8")[1]["result"], "deny", "a name that nobody has verified")
    expect(ask.json("authn", clientid="ext-8", username="ext-9", cert_common_name="ext-8")[1]["result"], "deny", "two names")
    expect(ask.json("authn", clientid="nobody", username="nobody")[1]["result"], "deny")
    expect(ask.json("authn", clientid=SERVER, username=SERVER)[1]["result"], "ignore", "no device")
    for topic, action, word in (
        ("devices/ext-8/log", "publish", "allow"),
        ("devices/ext-9/log", "publish", "deny"),
        ("$aws/things/ext-8/shadow/update", "publish", "allow"),
        ("$aws/things/ext-8/shadow/update/accepted", "publish", "deny"),
        ("$aws/things/ext-8/#", "subscribe", "allow"),
        ("$aws/things/+/shadow/update", "subscribe", "deny"),
        ("$share/g/devices/ext-9/#", "subscribe", "deny"),
        ("fleet/news", "publish", "deny"),
    ):
        said = ask.json("authz", clientid="ext-8", username="ext-8", topic=topic, action=action, qos=1, retain=False)
        expect(said, (200, {"result": word}), f"{action} {topic}")
    expect(ask.form("user", username="ext-8", password="", clientid="ext-8"), 200)
    expect(ask.form("superuser", username="ext-8"), 403)
    for topic, access, code in (("devices/ext-8/x", 2, 200), ("devices/ext-8/#", 4, 200), ("fleet/x", 2, 403), ("fleet/x", 1, 200)):
        expect(ask.form("acl", username="ext-8", clientid="ext-8", topic=topic, acc=access), code, f"{access} {topic}")
    acme(server, "device", "revoke", "ext-8")
    expect(ask.json("authn", clientid="ext-8", username="ext-8")[1]["result"], "deny", "revoked")
    expect(ask.json("authn", client_id="ext-8", cert_pem=pem)[1]["result"], "deny", "revoked, by its certificate")
    expect(ask.form("acl", username="ext-8", clientid="ext-8", topic="devices/ext-8/x", acc=2), 403)
    # Another tenant's broker learns nothing of these devices, and this token is good for nothing else.
    server.tenant("zenith")
    other = Asker(server, server.ctl("api-token", "create", "plugin", "--role", "broker", tenant="zenith")["token"])
    server.enrol(TENANT, "ext-10")
    expect(other.json("authn", clientid="ext-10", username="ext-10")[1]["result"], "deny")
    expect(other.form("acl", username="ext-10", clientid="ext-10", topic="devices/ext-10/x", acc=2), 403)
    expect(ask.get(f"/v1/tenants/{TENANT}/devices"), 403)
    expect(Asker(server, "fwa_no").json("authn", clientid="ext-10", username="ext-10")[0], 401)
    expect(Asker(server, server.token).json("authn", clientid="ext-10", username="ext-10")[0], 404, "of no tenant")


class Asker:
    """A plugin, by curl."""

    def __init__(self, server, token):
        self.url, self.ca, self.token = server.endpoints["operator_url"], server.ca, token

    def curl(self, *arguments):
        said = run(["curl", "-sS", "--cacert", self.ca, "-w", "\n%{http_code}", *arguments]).stdout.decode()
        body, _, code = said.rpartition("\n")
        return int(code), body

    def json(self, path, **fields):
        bearer = ["-H", f"authorization: Bearer {self.token}", "-H", "content-type: application/json"]
        code, body = self.curl(*bearer, "-d", json.dumps(fields), f"{self.url}/broker/{path}")
        return code, json.loads(body)

    def form(self, path, **fields):
        """As mosquitto-go-auth: a form, and the token as the password of the address."""
        sent = [part for name, value in fields.items() for part in ("--data-urlencode", f"{name}={value}")]
        return self.curl("-u", f"broker:{self.token}", *sent, f"{self.url}/broker/{path}")[0]

    def text(self, path):
        code, body = self.curl("-H", f"authorization: Bearer {self.token}", f"{self.url}/broker/{path}")
        expect(code, 200, body)
        return body

    def get(self, path):
        return self.curl("-H", f"authorization: Bearer {self.token}", f"{self.url}{path}")[0]


@story.check
def doctor(server):
    """the examination says how it stands with the broker"""
    until(lambda: verdict(server) == "ok", "connected", 60)
    server.mosquitto.stop()
    until(lambda: verdict(server) == "warn", "away", 30)
    server.mosquitto.start()
    until(lambda: verdict(server) == "ok", "connected again", 60)


@story.check
def sharing(server):
    """a shared subscription that the broker grants and never serves is found out, and not relied on"""
    alone = server.arguments
    server.stop()
    server.arguments = alone[: alone.index("--external-broker-group")]
    server.start()
    until(lambda: "below `$` to shared subscriptions" in server.log_tail(40), "what the server found out", 30)
    expect(verdict(server), "warn")
    server.stop()
    server.arguments = alone
    server.start()
    until(lambda: verdict(server) == "ok", "connected, without a group", 30)


def verdict(server):
    url = server.endpoints["operator_url"]
    said = run(["curl", "-sS", "--cacert", server.ca, f"{url}/healthz/deep"]).stdout
    return json.loads(said)["checks"].get("external-broker")


def main():
    # Once without a broker: its authorities and its list are what Mosquitto is configured with.
    server = Server()
    server.mosquitto = broker = Mosquitto(server.folder)
    with server:
        expect(server.tenant(TENANT), TENANT)
        token = acme(server, "api-token", "create", "list", "--role", "broker")["token"]
        access_list = Asker(server, token).text("acl")
        trusted = base64.b64decode(server.est(f"{TENANT}/cacerts")[1])
        trusted = run(["openssl", "pkcs7", "-inform", "DER", "-print_certs"], stdin=trusted).stdout.decode()
        broker.configure(trusted, access_list)
        broker.start()
        server.stop()
        files = {"ca": broker.authority.cert, "cert": broker.server_cert, "key": broker.server_key}
        server.arguments = ["--external-broker", f"localhost:{broker.port}", "--external-broker-tenant", TENANT]
        server.arguments += [part for name, path in files.items() for part in (f"--external-broker-{name}", path)]
        # Mosquitto grants shared subscriptions to topics below $ and never serves them.
        server.arguments += ["--external-broker-group", ""]
        server.start()
        try:
            until(lambda: verdict(server) == "ok", "connected", 30)
            story.tell(server)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
