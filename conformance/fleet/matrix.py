"""One story for every client that keeps a connection: reconnect, resume, take-over, last will, big and bad payloads.

A script brings an adapter, which says in the words of this story what its client does by its own means; where the client has no
word for something, the adapter says so in `Can`. The matrix of docs/conformance.md names these functions.
"""

import json
import queue
import threading
from dataclasses import dataclass

from fleet.line import Line
from fleet.server import shared
from fleet.story import expect, holds, titled, until, within

WAIT = 30
# What a client does by itself after a loss: some wait for seconds before they try again.
RETURN = 90
PAYLOAD = 128 * 1024
SHADOW = 8 * 1024
WILL_DELAY = 5


@dataclass(frozen=True)
class Way:
    """A version of the protocol and a door: `8883` is MQTT's own port, `ALPN` and `WSS` share the one of HTTPS."""

    version: str
    door: str

    def __str__(self):
        return f"{self.version}/{self.door}"

    @property
    def slug(self) -> str:
        """As part of a name."""
        return str(self).lower().replace(".", "").replace("/", "-")

    @property
    def five(self) -> bool:
        return self.version == "5"

    @property
    def alpn(self) -> list[str]:
        return {"ALPN": ["x-amzn-mqtt-ca"], "WSS": ["http/1.1"]}.get(self.door, [])

    def port(self, server) -> int:
        return server.mqtt_port if self.door == "8883" else server.device_port


def ways(*doors):
    return [Way(version, door) for version in ("3.1.1", "5") for door in doors]


@dataclass
class Will:
    topic: str
    payload: str
    # Seconds, on MQTT 5.
    delay: int = 0


@dataclass
class Can:
    """What a client is able to, and what it shows of what happens."""

    qos: int = 2
    # Its half of QoS 2 holds over a lost connection: it hands each message on once.
    exactly_once: bool = True
    # It shows the reason of a server's DISCONNECT.
    reasons: bool = True
    # It shows whether its session was there.
    session_present: bool = True


class Client:
    """One client of one device. An adapter makes `connect`, `publish` and `leave`, and fills the queues."""

    can = Can()

    def __init__(self, device, line, way, clean=True, will=None, returns=False):
        self.device, self.line, self.way = device, line, way
        # `clean`: nothing is kept of its session. `returns`: its own logic brings it back after a loss.
        self.clean, self.will, self.returns = clean, will, returns
        # What it is told: (topic, payload, QoS, retained); whether its session was there, at each connection; why each one ended.
        self.messages, self.ups, self.ends = queue.Queue(), queue.Queue(), queue.Queue()

    def connect(self, *filters, qos=1):
        """Connects, subscribes, and says whether its session was there."""
        raise NotImplementedError

    def publish(self, topic, payload, qos=1, retain=False):
        """Publishes, and is back when it is acknowledged; what it was answered with, where the client shows it."""
        raise NotImplementedError

    def leave(self):
        """Takes leave with DISCONNECT."""
        raise NotImplementedError

    def drop(self):
        """Away with it; what it says then is its own affair."""
        raise NotImplementedError

    def publish_all(self, topic, texts, qos=1):
        for text in texts:
            self.publish(topic, text.encode(), qos)

    def ask(self, topic, payload, answer):
        """A request to a service; what comes on the topic of the answer, which it is subscribed to."""
        self.publish(topic, payload)
        at, body, *_ = self.message()
        expect(at, answer)
        return body

    def overflow(self, topic, payload):
        """Publishes what is too big; what the connection was ended with, where the client shows it. QoS 0, or it would come back with it."""
        self.publish(topic, payload, 0)
        return within(self.ends, WAIT, "the end of the connection")

    def message(self, seconds=WAIT):
        return within(self.messages, seconds)

    def text(self, seconds=WAIT) -> str:
        return self.message(seconds)[1].decode()

    def texts(self, count) -> list[str]:
        return [self.text() for _ in range(count)]

    def until(self, last) -> list[str]:
        """What comes, up to this one."""
        seen = [self.text()]
        while seen[-1] != last:
            seen.append(self.text())
        return seen

    def back(self):
        """Waits until its own logic has brought it back to its session."""
        self.had(True, within(self.ups, RETURN, "its return"))

    def had(self, wanted, present):
        if self.can.session_present:
            expect(present, wanted, "session present")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()


class Told:
    """A story as it is told to one client on one way: devices, lines and clients, with names that meet no others."""

    def __init__(self, server, adapter, way, line, test):
        self.server, self.adapter, self.way, self.make_line = server, adapter, way, line
        self.stem = f"{test.replace('_', '-')}-{way.slug}"
        self.topic = shared(self.stem)
        # Who has no line of its own shares one.
        self.lines, self.common, self.teller = [], None, None

    def device(self, role):
        return self.server.enrol("acme", f"{self.stem}-{role}")

    def line(self):
        self.lines.append(self.make_line(self.server, self.way))
        return self.lines[-1]

    def client(self, device, line=None, **options):
        if line is None:
            line = self.common = self.common or self.line()
        return self.adapter(device, line, self.way, **options)

    def say(self, topic, *texts, qos=1):
        """Another device of the tenant publishes these; they are acknowledged."""
        self.teller = self.teller or self.device("teller")
        with self.client(self.teller) as one:
            one.connect()
            one.publish_all(topic, texts, min(qos, one.can.qos))
            one.leave()

    def restart(self):
        """kill -9, and back."""
        self.server.kill()
        self.server.start()

    def end(self):
        for line in self.lines:
            line.__exit__()


def plain_line(server, way):
    return Line(lambda: way.port(server))


def numbers(*span) -> list[str]:
    return [str(number) for number in range(*span)]


def comes_back(t):
    """cut off, and left by a server that is killed: it comes back by itself, to its session, and has missed nothing"""
    line = t.line()
    with t.client(t.device("self"), line, clean=False, returns=True) as one:
        one.had(False, one.connect(t.topic))
        line.cut()
        t.say(t.topic, *numbers(10))
        line.mend()
        one.back()
        expect(one.texts(10), numbers(10))
        t.restart()
        one.back()
        t.say(t.topic, "after")
        # What it had acknowledged when the server died may have been lost on the way, and come again.
        seen = one.until("after")
        expect([text for text in seen if text not in numbers(10)], ["after"])


def resumes(t):
    """a session that is kept has what came while it was away, in order, over a server that is killed; a clean start has nothing"""
    device = t.device("self")
    with t.client(device, clean=False) as one:
        qos = one.can.qos
        one.had(False, one.connect(f"{t.topic}/+", qos=qos))
        one.leave()
    for span in ((0, 10), (10, 20)):
        for level in range(1, qos + 1):
            t.say(f"{t.topic}/{level}", *numbers(*span), qos=level)
        if span[0] == 0:
            t.restart()
    with t.client(device, clean=False) as one:
        one.had(True, one.connect())
        seen = [one.message() for _ in range(20 * qos)]
        one.leave()
    for level in range(1, qos + 1):
        expect([(body.decode(), how) for at, body, how, _ in seen if at.endswith(f"/{level}")], [(n, level) for n in numbers(20)])
    with t.client(device) as one:
        one.had(False, one.connect(f"{t.topic}-now"))
        t.say(f"{t.topic}/1", "to nobody")
        t.say(f"{t.topic}-now", "now")
        expect(one.text(), "now")


def takes_over(t):
    """a second connection under its name ends the first, which MQTT 5 is told (0x8E) and whose last will comes; the second goes on"""
    device, line = t.device("self"), t.line()
    with t.client(t.device("heir")) as heir:
        heir.connect(f"{t.topic}/will")
        with t.client(device, line, will=Will(f"{t.topic}/will", "gone")) as first:
            first.connect(f"{t.topic}/first")
            line.refuse()
            with t.client(device) as second:
                second.connect(f"{t.topic}/second")
                within(line.ends, WAIT, "the end of the first connection")
                if t.way.five and first.can.reasons:
                    expect(within(first.ends, WAIT, "what the first was told"), 0x8E)
                first.drop()
                expect(heir.text(), "gone")
                t.say(f"{t.topic}/second", "still here")
                expect(second.text(), "still here")


def takes_itself_over(t):
    """half open again and again, with messages under way, it takes its own session over: none is lost, and none of QoS 2 comes twice"""
    line = t.line()
    with t.client(t.device("self"), line, clean=False, returns=True) as one:
        qos = 2 if one.can.exactly_once and one.can.qos == 2 else 1
        one.connect(t.topic, qos=qos)
        teller = threading.Thread(target=t.say, args=(t.topic, *numbers(200)), kwargs={"qos": qos}, daemon=True)
        teller.start()
        # In the middle of it, wherever each message stands; then with all of them sent into a line that is dead.
        seen = one.texts(20)
        for begin in (200, 220, 240):
            line.orphan()
            teller.join(RETURN)
            if begin < 240:
                t.say(t.topic, *numbers(begin, begin + 20), qos=qos)
            line.mend()
            one.back()
        t.say(t.topic, "the end", qos=qos)
        seen += one.until("the end")
        expect(seen if qos == 2 else list(dict.fromkeys(seen)), [*numbers(240), "the end"])


def last_will(t):
    """its last will comes when its line is cut, and not when it takes leave"""
    polite, rude, line = t.device("polite"), t.device("rude"), t.line()
    with t.client(t.device("heir")) as heir:
        heir.connect(t.topic)
        with t.client(polite, will=Will(t.topic, "of who took leave")) as one:
            one.connect()
            one.leave()
        with t.client(rude, line, will=Will(t.topic, "of who was cut off")) as one:
            one.connect(f"{t.topic}/rude")
            line.cut()
            expect(heir.text(), "of who was cut off")


def will_waits(t):
    """MQTT 5: a last will with a delay comes after it, and not at all if its client was back before"""
    there, gone = t.line(), t.line()
    with t.client(t.device("heir")) as heir:
        heir.connect(t.topic)
        with t.client(t.device("back"), there, clean=False, returns=True, will=Will(t.topic, "too early", WILL_DELAY)) as one:
            one.connect()
            with t.client(t.device("gone"), gone, clean=False, will=Will(t.topic, "in time", WILL_DELAY)) as two:
                two.connect()
                there.cut()
                there.mend()
                one.back()
                # Cut later: when this one's delay has passed, so has the other's.
                gone.cut()
                expect(heir.text(), "in time")
                t.say(t.topic, "and nothing between")
                expect(heir.text(), "and nothing between")


def big(t):
    """128 KiB arrive with each QoS, a byte more ends the connection; a shadow holds 8 KiB, a byte more is 413; what follows is as before"""
    device, whole = t.device("self"), b"y" * PAYLOAD
    with t.client(t.device("reader")) as reader, t.client(device) as one:
        reader.connect(t.topic, qos=one.can.qos)
        one.connect()
        for qos in range(one.can.qos + 1):
            one.publish(t.topic, whole, qos)
            at, body, level, _ = reader.message()
            expect((at, len(body), body == whole, level), (t.topic, PAYLOAD, True, qos))
        reason = one.overflow(t.topic, whole + b"y")
        if t.way.five and one.can.reasons:
            expect(reason, 0x95, "packet too large")
        one.drop()
        update, answers = device.shadow("update"), [device.shadow(f"update/{it}") for it in ("accepted", "rejected")]
        with t.client(device) as again:
            again.connect(*answers)
            full = SHADOW - len('{"x":""}')
            for size, at in ((full, answers[0]), (full + 1, answers[1]), (1, answers[0])):
                said = json.dumps({"state": {"reported": {"x": "y" * size}}}).encode()
                body = json.loads(again.ask(update, said, at))
                if at == answers[1]:
                    expect(body["code"], 413)
            again.leave()
        with t.client(device) as again:
            again.connect()
            again.publish(t.topic, b"as before")
            expect(reader.text(), "as before")


DEEP = b'{"state":{"reported":' + b'{"a":' * 200 + b"1" + b"}" * 202
BAD = {b"{": (400, "InvalidJson"), b'{"state":{"reported":{"a":"\xff\xfe"}}}': (415, "InvalidJson"), DEEP: (400, "InvalidJson")}


def bad(t):
    """shadow, jobs, commands: no JSON, no UTF-8, too deep are rejected by their codes, and a good request right after is accepted"""
    device = t.device("self")
    shadow, start, job = device.shadow("update"), f"$aws/things/{device.name}/jobs/start-next", f"$aws/things/{device.name}/jobs/j-1/update"
    command = f"$aws/commands/things/{device.name}/executions/none/response"
    with t.client(device) as one:
        answers = [f"{shadow}/accepted", f"{shadow}/rejected", f"{start}/rejected", f"{job}/rejected", f"{command}/rejected/json"]
        one.connect(*answers)
        for payload, (code, name) in BAD.items():
            expect(json.loads(one.ask(shadow, payload, answers[1]))["code"], code, f"shadow: {payload[:40]}")
            expect(json.loads(one.ask(start, payload, answers[2]))["code"], name, f"start-next: {payload[:40]}")
            expect(json.loads(one.ask(job, payload, answers[3]))["code"], name, f"job: {payload[:40]}")
            expect(json.loads(one.ask(f"{command}/json", payload, answers[4]))["error"], name, f"command: {payload[:40]}")
        said = json.loads(one.ask(shadow, b'{"state":{"reported":{"a":1}}}', answers[0]))
        expect(said["version"], 1, "what was rejected changed nothing")


# Of each property, how it is shown; `on` narrows the ways where a way has no say in it and it takes its time.
PROPERTIES = {
    "reconnect": [comes_back],
    "resume": [resumes],
    "take-over": [takes_over, takes_itself_over],
    "last will": [last_will, will_waits],
    "big": [big],
    "bad": [bad],
}
ONLY = {will_waits: lambda way: way == Way("5", "8883")}


def tell(story, adapter, over, line=plain_line):
    """Adds the shared story to that of a client, on these ways."""
    for prop, tests in PROPERTIES.items():
        for test in tests:
            for way in filter(ONLY.get(test, bool), over):
                story.add(f"{way} {titled(test)}", told(test, adapter, way, line), [(prop, test.__name__, str(way))])


def told(test, adapter, way, line):
    def run(server):
        t = Told(server, adapter, way, line, test.__name__)
        try:
            test(t)
        finally:
            t.end()

    return run
