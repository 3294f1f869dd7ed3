"""Python's paho-mqtt, 2.x and 1.6.x: the shared story, and what paho shows beyond it; the same on both, MQTT 3.1.1 and 5."""

import contextlib
import queue
import ssl
import threading
import time

import paho.mqtt.client as mqtt
from fleet import matrix
from fleet.matrix import Way, ways
from fleet.server import Server, shared
from fleet.story import Story, expect, holds, quiet, until, within
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

story = Story("paho")
VERSIONS = {"v311": mqtt.MQTTv311, "v5": mqtt.MQTTv5}
TWO = hasattr(mqtt, "CallbackAPIVersion")


def number(code) -> int:
    """A reason code as a number, in both versions of paho."""
    return getattr(code, "value", code)


def properties(packet, **values):
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Client(matrix.Client):
    """A paho client in its own thread, with what happens to it in queues."""

    def __init__(self, device, line, way, clean=True, will=None, returns=False):
        super().__init__(device, line, way, clean, will, returns)
        self.connacks, self.subacks, self.pubacks = queue.Queue(), queue.Queue(), queue.Queue()
        self.over = threading.Event()
        arguments = {"client_id": device.name, "protocol": mqtt.MQTTv5 if way.five else mqtt.MQTTv311}
        arguments["transport"] = "websockets" if way.door == "WSS" else "tcp"
        if not way.five:
            arguments["clean_session"] = clean
        if TWO:
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        self.client = mqtt.Client(**arguments)
        tls = ssl.create_default_context(cafile=str(device.ca))
        tls.load_cert_chain(str(device.cert), str(device.key))
        if way.alpn:
            tls.set_alpn_protocols(way.alpn)
        self.client.tls_set_context(tls)
        # It has no way to stay away: it waits longer than any story.
        self.client.reconnect_delay_set(*((1, 1) if returns else (300, 300)))
        if will:
            told = {"properties": properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay)} if way.five else {}
            self.client.will_set(will.topic, will.payload, 1, False, **told)
        self.wire_callbacks()
        self.start = {}
        if way.five:
            self.start = {"clean_start": clean}
            self.start["properties"] = properties(PacketTypes.CONNECT, SessionExpiryInterval=0 if clean else 3600)

    def wire_callbacks(self):
        """Both generations of callbacks end in the same queues."""
        client = self.client
        client.on_message = lambda _c, _u, it: self.messages.put((it.topic, it.payload, it.qos, bool(it.retain)))
        if TWO:
            client.on_connect = lambda _c, _u, flags, code, told: self.connected(number(code), flags.session_present, told)
            client.on_disconnect = lambda _c, _u, _f, code, _p: self.ends.put(number(code))
            client.on_subscribe = lambda _c, _u, _m, codes, _p: self.subacks.put([number(code) for code in codes])
            client.on_publish = lambda _c, _u, mid, code, _p: self.pubacks.put((mid, number(code)))
            return
        client.on_connect = lambda _c, _u, flags, code, told=None: self.connected(number(code), bool(flags["session present"]), told)
        client.on_disconnect = lambda _c, _u, code, *_: self.ends.put(number(code))
        client.on_subscribe = lambda _c, _u, _m, codes, *_: self.subacks.put([number(code) for code in codes])
        client.on_publish = lambda _c, _u, mid: self.pubacks.put((mid, 0))

    def connected(self, code, present, told):
        self.connacks.put((code, told))
        if code == 0:
            self.ups.put(present)

    def connect(self, *filters, qos=1, keepalive=60):
        self.client.connect(self.line.host, self.line.port, keepalive, **self.start)
        self.client.loop_start()
        if not TWO:
            threading.Thread(target=self.live, daemon=True).start()
        expect(within(self.connacks, what="the CONNACK")[0], 0, "CONNACK")
        for topic in filters:
            expect(self.subscribe(topic, qos), [qos], f"SUBACK for {topic}")
        return within(self.ups)

    def live(self):
        """paho 1.6 throws what a lost line does to a write out of its thread: who uses it has it reconnect, and begins again."""
        while True:
            self.client._thread.join()
            if not self.returns or self.over.wait(1):
                return
            self.client.loop_stop()
            with contextlib.suppress(OSError):
                self.client.reconnect()
            self.client.loop_start()

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return within(self.subacks, what="the SUBACK")

    def publish(self, topic, payload, qos=1, retain=False):
        self.client.publish(topic, payload, qos, retain)
        return within(self.pubacks, matrix.WAIT, "the PUBACK")[1]

    def leave(self):
        self.over.set()
        self.client.disconnect()
        within(self.ends, what="the end of the connection")
        self.client.loop_stop()

    def drop(self):
        self.over.set()
        self.client.disconnect()
        self.client.loop_stop()


matrix.tell(story, Client, ways("8883", "ALPN"))


def plain(server, device, version, door="8883", **options):
    """One on a line of its own, for checks beyond the shared story."""
    way = Way("5" if version == mqtt.MQTTv5 else "3.1.1", door)
    return Client(device, matrix.plain_line(server, way), way, **options)


def each_version(check):
    """Runs the check on both versions of the protocol, with names that do not meet."""

    def both(server):
        for name, version in VERSIONS.items():
            check(server, name, version)

    both.__doc__, both.__name__ = check.__doc__, check.__name__
    return both


@story.check
@each_version
def delivers_over_websocket(server, name, version):
    """QoS 1 and 128 KiB over WebSocket, on the port of HTTPS, to a reader without it and back"""
    near, web = server.enrol("acme", f"p-plain-{name}"), server.enrol("acme", f"p-web-{name}")
    there, back = shared(f"web/{name}"), shared(f"back/{name}")
    with plain(server, near, version) as one, plain(server, web, version, "WSS") as other:
        one.connect(there)
        other.connect(back)
        for payload in (b"x", b"y" * 128 * 1024):
            other.publish(there, payload)
            expect(one.message(), (there, payload, 1, False))
            one.publish(back, payload)
            expect(other.message(), (back, payload, 1, False))
        expect(other.subscribe("devices/someone-else/#"), [0x87 if version == mqtt.MQTTv5 else 0x80], "SUBACK")


@story.check
@each_version
def shares(server, name, version):
    """A shared subscription gives each message to one of its members"""
    topic = shared(f"work/{name}")
    workers = [server.enrol("acme", f"p-worker-{name}-{number}") for number in range(2)]
    boss = server.enrol("acme", f"p-boss-{name}")
    with plain(server, workers[0], version) as one, plain(server, workers[1], version) as two:
        for worker in (one, two):
            worker.connect(f"$share/crew/{topic}")
        with plain(server, boss, version) as other:
            other.connect()
            other.publish_all(topic, [str(count) for count in range(10)])
        seen = [worker.text() for worker in (one, two) for _ in range(5)]
        expect(sorted(seen, key=int), [str(count) for count in range(10)])
        quiet(one.messages, what="a second copy")


@story.check
@each_version
def retains(server, name, version):
    """A retained message comes to who subscribes later, marked as such"""
    device = server.enrol("acme", f"p-retain-{name}")
    topic = shared(f"kept/{name}")
    with plain(server, device, version) as one:
        one.connect()
        one.publish(topic, b"kept", retain=True)
        one.subscribe(topic)
        expect(one.message(), (topic, b"kept", 1, True))


@story.check
@each_version
def denies(server, name, version):
    """Foreign topics are refused: in the SUBACK, and in the PUBACK of MQTT 5"""
    device, other = server.enrol("acme", f"p-deny-{name}"), server.enrol("acme", f"p-other-{name}")
    with plain(server, device, version) as one:
        one.connect()
        refused = 0x87 if version == mqtt.MQTTv5 else 0x80
        for topic in (other.topic("#"), "#", "$SYS/#", "$aws/things/" + other.name + "/#"):
            expect(one.subscribe(topic), [refused], f"SUBACK for {topic}")
        expect(one.subscribe("$share/g/" + other.topic("#")), [refused], "SUBACK for a share of it")
        if version == mqtt.MQTTv5 and TWO:
            expect(one.publish(other.topic("x"), b"x"), 0x87, "PUBACK")


@story.check
@each_version
def keeps_alive(server, name, version):
    """Who asks for a keep-alive of 18 hours, or for none, gets 20 minutes or a little less, and on MQTT 5 is told so"""
    device = server.enrol("acme", f"p-alive-{name}")
    # With 0, paho 1.6 does not wait for its own hand-shake.
    for asked in (0xFFFF, 0) if TWO else (0xFFFF,):
        one = plain(server, device, version)
        told = queue.Queue()
        one.connected = lambda code, present, properties, told=told: told.put((code, properties))
        one.client.connect(one.line.host, one.line.port, asked, **one.start)
        one.client.loop_start()
        code, properties = within(told, what="the CONNACK")
        expect(code, 0)
        if version == mqtt.MQTTv5:
            # Soon after a start the server takes up to a tenth off, for each device its own.
            holds(1080 <= properties.ServerKeepAlive <= 1200, properties.ServerKeepAlive)
        expect(one.publish(device.topic("alive"), b"x"), 0)
        one.drop()


@story.check
@each_version
def tight_loop(server, name, version):
    """In a tight loop of connections a device is refused above its rate, others do not notice, and it is let in when it waits"""
    wild, calm = server.enrol("acme", f"p-wild-{name}"), server.enrol("acme", f"p-calm-{name}")
    codes = []

    def once():
        one = plain(server, wild, version)
        one.client.connect(one.line.host, one.line.port, 60, **one.start)
        one.client.loop_start()
        codes.append(within(one.connacks, what="the CONNACK")[0])
        one.drop()
        return codes[-1] == 0

    with plain(server, calm, version) as other:
        other.connect(shared(f"calm/{name}"))
        for number in range(30):
            once()
            if number % 10 == 0:
                other.publish(shared(f"calm/{name}"), b"x")
                expect(other.text(), "x")
    # paho 2 says the codes of 3.1.1 in those of 5.
    busy = 0x9F if version == mqtt.MQTTv5 else 0x88 if TWO else 3
    expect(codes[:10], [0] * 10, "the burst that each device has")
    expect(set(codes), {0, busy})
    until(once, "its way in")


@story.check
@each_version
def revoked(server, name, version):
    """A revoked device is out within a second, with the reason that MQTT 5 has for it, and does not come back"""
    device = server.enrol("acme", f"p-revoked-{name}")
    one = plain(server, device, version)
    one.connect()
    begun = time.monotonic()
    server.ctl("device", "revoke", device.name, tenant="acme")
    code = within(one.ends, seconds=2, what="the end of the session")
    took = time.monotonic() - begun
    holds(took < 1.0, f"it took {took:.3f} s")
    if version == mqtt.MQTTv5:
        expect(code, 0x98, "reason: administrative action")
    one.client.loop_stop()
    again = plain(server, device, version)
    try:
        again.client.connect(again.line.host, again.line.port, 60, **again.start)
    except (ssl.SSLError, OSError):
        return  # refused while shaking hands
    again.client.loop_start()
    # Either it is told that it may not, or it is cut off.
    until(lambda: not (again.connacks.empty() and again.ends.empty()), "an answer", 10)
    holds(again.ups.empty(), "a revoked device came back")
    again.client.loop_stop()


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
