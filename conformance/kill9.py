#!/usr/bin/env python3
"""Kills the server with kill -9 again and again under load, and counts what it had acknowledged and does not know any more.

    conformance/kill9.py [--rounds N] [--seed N] [--postgres]

Acknowledged means: a PUBACK (QoS 1) or PUBCOMP (QoS 2) for a message that waits for a persistent session, or is on its way to it; a PUBACK for a
retained message; `update/accepted` of a shadow; the 200 of an enrolment. After each restart all of it must be there. Messages
may come twice, never not at all. It fails when anything is lost, and also when nothing was acknowledged. With --postgres the
server keeps its rows in a throw-away cluster, and every second round the cluster crashes instead of the server, which must
come back by itself.
"""

import argparse
import collections
import json
import pathlib
import queue
import random
import shutil
import sys
import threading
import time

sys.dont_write_bytecode = True
from fleet.python import run_in  # noqa: E402

run_in("clients")

import paho.mqtt.client as mqtt  # noqa: E402
from fleet.postgres import Postgres  # noqa: E402
from fleet.server import Device, Server, shared  # noqa: E402

TENANT = "crash"
PUBLISHERS, SHADOWS, ENROLLERS = 3, 3, 1
WINDOW = 20
SLOTS = 16
SETTLE_SECONDS = 60


class Link:
    """One MQTT connection that is told when it is up, and that stays down once it is down."""

    def __init__(self, server, device, clean=True):
        self.name = device.name
        self.up, self.down = threading.Event(), threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=device.name, protocol=mqtt.MQTTv311, clean_session=clean,
            reconnect_on_failure=False,
        )
        self.client.max_inflight_messages_set(100)
        self.client.tls_set(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key))
        self.client.on_connect = lambda _c, _u, _f, code, _p: None if code.is_failure else self.up.set()
        self.client.on_disconnect = lambda *_: self.down.set()
        self.port = server.mqtt_port

    def connect(self):
        self.client.connect("localhost", self.port, 60)
        self.client.loop_start()
        if not self.up.wait(20):
            raise RuntimeError(f"{self.name} was not let in")
        return self

    def subscribe(self, filters):
        done = threading.Event()
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: done.set()
        self.client.subscribe([(topic, 1) for topic in filters])
        if not done.wait(20):
            raise RuntimeError("no SUBACK")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Ledger:
    """What was acknowledged, and what was found again."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acked = collections.Counter()
        self.lost = []
        self.published = set()
        self.received = collections.Counter()
        self.retained = {}
        self.slots = {}
        self.versions = {}
        self.enrolled = {}
        self.counters = {}

    def total(self):
        with self.lock:
            return sum(self.acked.values())


class Load:
    """Everything that goes on while the server is about to be killed."""

    def __init__(self, server, devices, ledger, tokens):
        self.server, self.devices, self.ledger, self.tokens = server, devices, ledger, tokens
        self.over = threading.Event()
        self.threads = []

    def start(self):
        jobs = [(self.publish, name) for name in self.devices if name.startswith("pub-")]
        jobs += [(self.shadow, name) for name in self.devices if name.startswith("shadow-")]
        jobs += [(self.enrol, None)] * ENROLLERS
        for job, name in jobs:
            thread = threading.Thread(target=self.until_over, args=(job, name), daemon=True)
            thread.start()
            self.threads.append(thread)

    def until_over(self, job, name):
        try:
            job(name)
        except Exception as error:  # noqa: BLE001 - the server is killed under it
            if not self.over.is_set():
                # Its end may be seen here before the main thread has said so.
                if not self.over.wait(10):
                    print(f"\n{name}: {error}", file=sys.stderr)

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def publish(self, name):
        """Numbered messages for the sink, WINDOW of them in flight, one publisher's with QoS 2; each tenth is retained."""
        qos = 2 if name.endswith("-1") else 1
        link = Link(self.server, self.devices[name]).connect()
        flying, room = {}, threading.Semaphore(WINDOW)
        lock = threading.Lock()
        early = set()

        def acked(_client, _user, mid, code, _properties):
            with lock:
                message = flying.pop(mid, None)
                if message is None:
                    early.add(mid)
                    return
            self.settle_publish(message, code)
            room.release()

        link.client.on_publish = acked
        number = self.ledger.counters.get(name, 0)
        while not self.over.is_set() and not link.down.is_set():
            if not room.acquire(timeout=0.2):
                continue
            number += 1
            kept = number % 10 == 0
            topic, text = (shared(f"kept/{name}"), str(number)) if kept else (shared("crash"), f"{name}:{number}")
            message = ("retained", name, number) if kept else ("publish", name, text)
            mid = link.client.publish(topic, text, qos, kept).mid
            with lock:
                if mid in early:
                    early.discard(mid)
                    ended = True
                else:
                    flying[mid] = message
                    ended = False
            if ended:
                self.settle_publish(message, None)
                room.release()
        self.ledger.counters[name] = number
        link.client.loop_stop()

    def settle_publish(self, message, code):
        if code is not None and code.is_failure:
            return
        kind, name, what = message
        with self.ledger.lock:
            self.ledger.acked[kind] += 1
            if kind == "publish":
                self.ledger.published.add(what)
            else:
                self.ledger.retained[name] = max(what, self.ledger.retained.get(name, 0))

    def shadow(self, name):
        """Reported state in SLOTS keys, one after the other, so that each accepted one leaves its trace."""
        device = self.devices[name]
        link = Link(self.server, device).connect()
        answers = queue.Queue()
        link.client.on_message = lambda _c, _u, message: answers.put((message.topic, json.loads(message.payload)))
        link.subscribe([device.shadow("update/accepted"), device.shadow("update/rejected")])
        number = max(self.ledger.slots.get(name, {}).values(), default=0) + 1000
        while not self.over.is_set() and not link.down.is_set():
            number += 1
            body = {"state": {"reported": {f"k{number % SLOTS}": number}}, "clientToken": str(number)}
            link.client.publish(device.shadow("update"), json.dumps(body), 1)
            while not self.over.is_set():
                try:
                    topic, answer = answers.get(timeout=0.2)
                except queue.Empty:
                    continue
                if answer.get("clientToken") == str(number):
                    break
            else:
                break
            if topic.endswith("/rejected"):
                raise RuntimeError(f"rejected: {answer}")
            with self.ledger.lock:
                self.ledger.acked["shadow"] += 1
                self.ledger.slots.setdefault(name, {})[number % SLOTS] = number
                self.ledger.versions[name] = max(answer["version"], self.ledger.versions.get(name, 0))
        link.client.loop_stop()

    def enrol(self, _):
        """Devices with the tokens that stand ready; the certificate of each 200 is kept."""
        while not self.over.is_set() and self.tokens:
            name, token = self.tokens.popleft()
            key, request = self.server.key_and_request(name)
            try:
                status, body = self.server.est(f"{TENANT}/simpleenroll", request, "-u", f"{name}:{token}", "--max-time", "5")
            except RuntimeError:
                self.tokens.append((name, token))
                return
            if status == 200:
                device = Device(TENANT, name, key, self.server.keep_certificate(name, body), self.server.ca)
                with self.ledger.lock:
                    self.ledger.acked["enrol"] += 1
                    self.ledger.enrolled[name] = device
            elif status not in (500, 503):
                raise RuntimeError(f"enrolling {name}: {status} {body!r}")


class Sink:
    """The session that is offline while messages come, and must get them all."""

    def __init__(self, server, device, ledger, clean=False):
        self.ledger = ledger
        self.kept = queue.Queue()
        self.link = Link(server, device, clean)
        self.link.client.on_message = self.take

    def take(self, _client, _user, message):
        if message.topic.startswith(shared("kept/")):
            self.kept.put((message.topic.rsplit("/", 1)[1], int(message.payload)))
            return
        with self.ledger.lock:
            self.ledger.received[message.payload.decode()] += 1

    def connect(self):
        self.link.connect()
        self.link.subscribe([shared("crash")])
        return self

    def drain(self):
        """Waits until everything acknowledged so far has come; what does not come is lost."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            with self.ledger.lock:
                missing = [text for text in self.ledger.published if text not in self.ledger.received]
            if not missing:
                return []
            time.sleep(0.02)
        with self.ledger.lock:
            self.ledger.published -= set(missing)
        return [f"publish {text}" for text in sorted(missing)]

    def retained(self, names):
        """The retained messages as they stand."""
        self.link.subscribe([shared(f"kept/{name}") for name in names])
        seen = {}
        while len(seen) < len(names):
            try:
                name, number = self.kept.get(timeout=10)
            except queue.Empty:
                break
            seen[name] = number
        return seen


def check_retained(server, device, ledger):
    """Through a session of its own that is new each time: subscribing anew is what shows retained messages."""
    if not ledger.retained:
        return []
    reader = Sink(server, device, ledger, clean=True)
    reader.link.connect()
    seen = reader.retained(sorted(ledger.retained))
    reader.link.close()
    wanted = ledger.retained.items()
    return [f"retained {name}: {number} acknowledged, {seen.get(name)} there" for name, number in wanted if seen.get(name, 0) < number]


def check_shadows(server, devices, ledger):
    lost = []
    for name, slots in ledger.slots.items():
        device = devices[name]
        link = Link(server, device).connect()
        answers = queue.Queue()
        link.client.on_message = lambda _c, _u, message, answers=answers: answers.put(json.loads(message.payload))
        link.subscribe([device.shadow("get/accepted"), device.shadow("get/rejected")])
        link.client.publish(device.shadow("get"), "{}", 1)
        answer = answers.get(timeout=20)
        link.close()
        if answer.get("version", 0) < ledger.versions[name]:
            lost.append(f"shadow {name}: version {ledger.versions[name]} acknowledged, {answer.get('version')} there")
        reported = answer.get("state", {}).get("reported", {})
        for slot, number in slots.items():
            if reported.get(f"k{slot}", 0) < number:
                lost.append(f"shadow {name}: k{slot}={number} acknowledged, {reported.get(f'k{slot}')} there")
    return lost


def check_enrolled(server, ledger, since):
    """Those enrolled since are known with that serial, and are let in."""
    lost = []
    for name in since:
        device = ledger.enrolled[name]
        shown = server.ctl("device", "show", name, tenant=TENANT)
        if shown["certificate"]["serial"].lower().lstrip("0") != device.serial().lstrip("0"):
            lost.append(f"enrol {name}: serial {device.serial()} issued, {shown['certificate']['serial']} known")
            continue
        try:
            Link(server, device).connect().close()
        except (RuntimeError, OSError) as error:
            lost.append(f"enrol {name}: {error}")
    return lost


def bar(done, rounds, ledger):
    if sys.stderr.isatty():
        width = 30
        filled = "#" * (width * done // rounds)
        text = f"\r[{filled:<{width}}] {done}/{rounds}  acknowledged {ledger.total()}  lost {len(ledger.lost)} "
        print(text, end="", file=sys.stderr, flush=True)


def patiently(connect):
    """Connects, and tries again while the server still looks for its database."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return connect()
        except (RuntimeError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def fail(server, cluster, load):
    """Takes away the server, or its database; how long it took to be there again."""
    if cluster:
        cluster.crash()
        load.finish()
        begun = time.monotonic()
        cluster.start()
    else:
        server.kill()
        load.finish()
        begun = time.monotonic()
        server.start()
    return time.monotonic() - begun


def one_round(server, devices, ledger, tokens, chance, online, cluster=None):
    """Load, then the failure at a moment of chance, then a look. Returns how long the start took."""
    enrolled_before = set(ledger.enrolled)
    sink = Sink(server, devices["sink"], ledger).connect()
    if not online:
        sink.link.close()
    load = Load(server, devices, ledger, tokens)
    before = ledger.total()
    load.start()
    deadline = time.monotonic() + SETTLE_SECONDS
    while ledger.total() < before + 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.uniform(0.05, 1.0))
    took = fail(server, cluster, load)
    if online:
        sink.link.close()
    sink = patiently(lambda: Sink(server, devices["sink"], ledger).connect())
    ledger.lost += sink.drain()
    sink.link.close()
    ledger.lost += check_retained(server, devices["reader"], ledger)
    ledger.lost += check_shadows(server, devices, ledger)
    ledger.lost += check_enrolled(server, ledger, sorted(set(ledger.enrolled) - enrolled_before))
    return took


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--postgres", action="store_true", help="on a throw-away PostgreSQL cluster, which crashes too")
    given = options.parse_args()
    if not given.postgres:
        return tell(given, None)
    with Postgres() as cluster:
        return tell(given, cluster)


def tell(given, cluster):
    """All rounds and the count at their end."""
    chance, ledger = random.Random(given.seed), Ledger()
    server = Server(database=cluster.url if cluster else None)
    print(f"kill9: seed {given.seed}, in {server.folder}", flush=True)
    slowest = 0.0
    with server:
        server.tenant(TENANT)
        names = ["sink", "reader", *(f"pub-{n}" for n in range(PUBLISHERS)), *(f"shadow-{n}" for n in range(SHADOWS))]
        devices = {name: server.enrol(TENANT, name) for name in names}
        tokens = collections.deque()
        for done in range(given.rounds):
            bar(done, given.rounds, ledger)
            # Fewer than the limit per address lets through in a row.
            for _ in range(5 - len(tokens)):
                name = f"late-{done}-{len(tokens)}"
                tokens.append((name, server.enrol_token(TENANT, name)))
            struck = cluster if done % 2 == 1 else None
            slowest = max(slowest, one_round(server, devices, ledger, tokens, chance, done % 4 >= 2, struck))
    bar(given.rounds, given.rounds, ledger)
    twice = sum(count - 1 for count in ledger.received.values())
    print(f"\nrounds {given.rounds}, acknowledged {ledger.total()}: {dict(sorted(ledger.acked.items()))}")
    print(f"delivered twice {twice}, slowest start {slowest:.2f} s, lost {len(ledger.lost)}")
    for line in ledger.lost[:50]:
        print(f"  lost: {line}")
    idle = [kind for kind in ("publish", "retained", "shadow", "enrol") if not ledger.acked[kind]]
    if idle:
        print(f"nothing of this kind was acknowledged, so nothing is proven: {', '.join(idle)}")
    bad = bool(ledger.lost or idle)
    if not bad:
        shutil.rmtree(pathlib.Path(server.folder))
    print(f"kill9 {'failed' if bad else 'passed'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
