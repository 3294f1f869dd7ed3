"""Python's paho-mqtt, 2.x and 1.6.x: the same story on both, MQTT 3.1.1 and 5."""

import queue
import socket
import ssl
import time

import paho.mqtt.client as mqtt
from fleet.server import Server, shared
from fleet.story import Story, expect, holds, quiet, within
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

story = Story("paho")
VERSIONS = {"v311": mqtt.MQTTv311, "v5": mqtt.MQTTv5}
TWO = hasattr(mqtt, "CallbackAPIVersion")


def number(code) -> int:
    """A reason code as a number, in both versions of paho."""
    return getattr(code, "value", code)


class Client:
    """A paho client in its own thread, with what happens to it in queues."""

    def __init__(self, server, device, version, clean=True, expiry=3600, will=None, websocket=False):
        self.version = version
        self.connects, self.disconnects = queue.Queue(), queue.Queue()
        self.messages, self.subacks, self.pubacks = queue.Queue(), queue.Queue(), queue.Queue()
        arguments = {"client_id": device.name, "protocol": version, "transport": "websockets" if websocket else "tcp"}
        if version != mqtt.MQTTv5:
            arguments["clean_session"] = clean
        if TWO:
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        self.client = mqtt.Client(**arguments)
        self.client.tls_set(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key))
        if will:
            self.client.will_set(*will)
        self.wire_callbacks()
        self.start = {}
        if version == mqtt.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else expiry
            self.start = {"clean_start": clean, "properties": properties}
        self.port = server.device_port if websocket else server.mqtt_port

    def wire_callbacks(self):
        """Both generations of callbacks end in the same queues."""
        client = self.client
        client.on_message = lambda _c, _u, message: self.messages.put(message)
        if TWO:
            client.on_connect = lambda _c, _u, flags, code, _p: self.connects.put((number(code), flags.session_present))
            client.on_disconnect = lambda _c, _u, _f, code, _p: self.disconnects.put(number(code))
            client.on_subscribe = lambda _c, _u, _m, codes, _p: self.subacks.put([number(code) for code in codes])
            client.on_publish = lambda _c, _u, mid, code, _p: self.pubacks.put((mid, number(code)))
            return
        client.on_connect = lambda _c, _u, flags, code, *_: self.connects.put((number(code), bool(flags["session present"])))
        client.on_disconnect = lambda _c, _u, code, *_: self.disconnects.put(number(code))
        client.on_subscribe = lambda _c, _u, _m, codes, *_: self.subacks.put([number(code) for code in codes])
        client.on_publish = lambda _c, _u, mid: self.pubacks.put((mid, 0))

    def connect(self, keepalive=60):
        self.client.connect("localhost", self.port, keepalive, **self.start)
        self.client.loop_start()
        code, present = within(self.connects, what="the CONNACK")
        expect(code, 0, "CONNACK")
        return present

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return within(self.subacks, what="the SUBACK")

    def publish(self, topic, payload, qos=1, retain=False):
        self.client.publish(topic, payload, qos, retain)
        return within(self.pubacks, what="the PUBACK")

    def message(self, seconds=10):
        message = within(self.messages, seconds)
        return message.topic, message.payload.decode(), message.qos, bool(message.retain)

    def disconnect(self):
        self.client.disconnect()
        within(self.disconnects, what="the end of the connection")
        self.client.loop_stop()

    def die(self):
        """The network goes away; nothing is said."""
        self.client.loop_stop()
        connection = self.client.socket()
        # Below TLS, so that not even its farewell is sent.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
        connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()


def each_version(check):
    """Runs the check on both versions of the protocol, with names that do not meet."""

    def both(server):
        for name, version in VERSIONS.items():
            check(server, name, version)

    both.__doc__, both.__name__ = check.__doc__, check.__name__
    return both


@story.check
@each_version
def delivers(server, name, version):
    """QoS 0, 1 and 2 arrive, payloads of 100 bytes and of 128 KiB"""
    reader, writer = server.enrol("acme", f"p-reader-{name}"), server.enrol("acme", f"p-writer-{name}")
    topic = shared(f"paho/{name}")
    with Client(server, reader, version) as one, Client(server, writer, version) as other:
        one.connect()
        other.connect()
        expect(one.subscribe(topic, 2), [2], "SUBACK")
        for qos, payload in ((0, "x" * 100), (1, "x" * 100), (1, "y" * 128 * 1024), (2, "x" * 100), (2, "y" * 128 * 1024)):
            other.publish(topic, payload, qos)
            expect(one.message(), (topic, payload, qos, False))


@story.check
@each_version
def delivers_over_websocket(server, name, version):
    """The same over WebSocket, on the port of HTTPS, to a reader without it and back"""
    plain, web = server.enrol("acme", f"p-plain-{name}"), server.enrol("acme", f"p-web-{name}")
    topic = shared(f"web/{name}")
    with Client(server, plain, version) as one, Client(server, web, version, websocket=True) as other:
        one.connect()
        other.connect()
        one.subscribe(topic)
        for payload in ("x", "y" * 128 * 1024):
            other.publish(topic, payload)
            expect(one.message(), (topic, payload, 1, False))
        expect(other.subscribe(other_topic := shared(f"back/{name}")), [1], "SUBACK")
        for payload in ("x", "y" * 128 * 1024):
            one.publish(other_topic, payload)
            expect(other.message(), (other_topic, payload, 1, False))
        expect(other.subscribe("devices/" + "someone-else/#"), [0x87 if version == mqtt.MQTTv5 else 0x80], "SUBACK")


@story.check
@each_version
def resumes(server, name, version):
    """A persistent session is resumed and gets what came while it was away, in order"""
    reader, writer = server.enrol("acme", f"p-away-{name}"), server.enrol("acme", f"p-busy-{name}")
    topic = shared(f"away/{name}")
    with Client(server, reader, version, clean=False) as one:
        expect(one.connect(), False, "session present at first")
        one.subscribe(topic)
        one.disconnect()
    with Client(server, writer, version) as other:
        other.connect()
        for count in range(50):
            other.publish(topic, str(count))
    with Client(server, reader, version, clean=False) as one:
        expect(one.connect(), True, "session present on return")
        expect([one.message()[1] for _ in range(50)], [str(count) for count in range(50)])
    with Client(server, reader, version, clean=True) as one:
        expect(one.connect(), False, "session present after a clean start")
        quiet(one.messages, what="a message of a session that was thrown away")


@story.check
@each_version
def exactly_once(server, name, version):
    """QoS 2: what came while it was away comes once and in order, though the server is killed in between"""
    reader, writer = server.enrol("acme", f"p-once-{name}"), server.enrol("acme", f"p-teller-{name}")
    topic = shared(f"once/{name}")
    with Client(server, reader, version, clean=False) as one:
        one.connect()
        one.subscribe(topic, 2)
        one.disconnect()
    with Client(server, writer, version, clean=False) as other:
        other.connect()
        for count in range(20):
            other.publish(topic, str(count), 2)
        other.disconnect()
    server.kill()
    server.start()
    with Client(server, reader, version, clean=False) as one:
        expect(one.connect(), True, "session present on return")
        expect([one.message()[1:3] for _ in range(20)], [(str(count), 2) for count in range(20)])
        quiet(one.messages, what="a message that was there already")


@story.check
@each_version
def shares(server, name, version):
    """A shared subscription gives each message to one of its members"""
    topic = shared(f"work/{name}")
    workers = [server.enrol("acme", f"p-worker-{name}-{number}") for number in range(2)]
    boss = server.enrol("acme", f"p-boss-{name}")
    with Client(server, workers[0], version) as one, Client(server, workers[1], version) as two:
        for worker in (one, two):
            worker.connect()
            worker.subscribe(f"$share/crew/{topic}")
        with Client(server, boss, version) as other:
            other.connect()
            for count in range(10):
                other.publish(topic, str(count))
        seen = [worker.message()[1] for worker in (one, two) for _ in range(5)]
        expect(sorted(seen, key=int), [str(count) for count in range(10)])
        quiet(one.messages, what="a second copy")


@story.check
@each_version
def takes_over(server, name, version):
    """A second connection of the same device ends the first"""
    device = server.enrol("acme", f"p-twice-{name}")
    with Client(server, device, version) as first, Client(server, device, version) as second:
        first.client.reconnect_delay_set(30, 60)
        first.connect()
        second.connect()
        code = within(first.disconnects, what="the end of the first")
        if version == mqtt.MQTTv5:
            expect(code, 0x8E, "reason: session taken over")
        first.client.loop_stop()
        second.publish(device.topic("still-here"), "x")


@story.check
@each_version
def last_will(server, name, version):
    """The last will comes when the network goes away, and not after a DISCONNECT"""
    reader, mortal = server.enrol("acme", f"p-heir-{name}"), server.enrol("acme", f"p-mortal-{name}")
    topic = shared(f"wills/{name}")
    with Client(server, reader, version) as heir:
        heir.connect()
        heir.subscribe(topic)
        polite = Client(server, mortal, version, will=(topic, "gone", 1, False))
        polite.connect()
        polite.disconnect()
        quiet(heir.messages, what="a will after DISCONNECT")
        rude = Client(server, mortal, version, will=(topic, "gone", 1, False))
        rude.connect()
        rude.die()
        expect(heir.message(), (topic, "gone", 1, False))


@story.check
@each_version
def retains(server, name, version):
    """A retained message comes to who subscribes later, marked as such"""
    device = server.enrol("acme", f"p-retain-{name}")
    topic = shared(f"kept/{name}")
    with Client(server, device, version) as client:
        client.connect()
        client.publish(topic, "kept", retain=True)
        client.subscribe(topic)
        expect(client.message(), (topic, "kept", 1, True))


@story.check
@each_version
def denies(server, name, version):
    """Foreign topics are refused: in the SUBACK, and in the PUBACK of MQTT 5"""
    one, other = server.enrol("acme", f"p-deny-{name}"), server.enrol("acme", f"p-other-{name}")
    with Client(server, one, version) as client:
        client.connect()
        refused = 0x87 if version == mqtt.MQTTv5 else 0x80
        for topic in (other.topic("#"), "#", "$SYS/#", "$aws/things/" + other.name + "/#"):
            expect(client.subscribe(topic), [refused], f"SUBACK for {topic}")
        expect(client.subscribe("$share/g/" + other.topic("#")), [refused], "SUBACK for a share of it")
        if version == mqtt.MQTTv5 and TWO:
            expect(client.publish(other.topic("x"), "x")[1], 0x87, "PUBACK")


@story.check
@each_version
def revoked(server, name, version):
    """A revoked device is out within a second, with the reason that MQTT 5 has for it, and does not come back"""
    device = server.enrol("acme", f"p-revoked-{name}")
    client = Client(server, device, version)
    client.client.reconnect_delay_set(30, 60)
    client.connect()
    begun = time.monotonic()
    server.ctl("device", "revoke", device.name, tenant="acme")
    code = within(client.disconnects, seconds=2, what="the end of the session")
    took = time.monotonic() - begun
    holds(took < 1.0, f"it took {took:.3f} s")
    if version == mqtt.MQTTv5:
        expect(code, 0x98, "reason: administrative action")
    client.client.loop_stop()
    again = Client(server, device, version)
    again.client.reconnect_delay_set(30, 60)
    try:
        again.client.connect("localhost", again.port, 60, **again.start)
    except (ssl.SSLError, OSError):
        return  # refused while shaking hands
    again.client.loop_start()
    deadline = time.monotonic() + 10
    while again.connects.empty() and again.disconnects.empty() and time.monotonic() < deadline:
        time.sleep(0.01)
    holds(again.connects.empty() or again.connects.get()[0] != 0, "a revoked device came back")
    holds(time.monotonic() < deadline, "a revoked device was neither refused nor cut off")
    again.client.loop_stop()


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
