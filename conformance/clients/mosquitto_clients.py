"""Debian's mosquitto_pub, mosquitto_sub and mosquitto_rr, with client certificates: each is a program that does one thing."""

import queue
import re
import subprocess
import threading

from fleet import matrix
from fleet.matrix import Can, Way, ways
from fleet.server import Server, run, shared
from fleet.story import Story, expect, holds, quiet, until, within

story = Story("mosquitto")
VERSIONS = {"3.1.1": "mqttv311", "5": "mqttv5"}
# What the programs end with where their device connects too often.
BUSY = {3, 0x9F}


def options(server, device, *more):
    """What the programs need to be that device."""
    return to("localhost", server.mqtt_port, device, *more)


def to(host, port, device, *more):
    return [
        *("-h", host, "-p", str(port), "--cafile", str(device.ca)),
        *("--cert", str(device.cert), "--key", str(device.key), "-i", device.name, *more),
    ]


def publish(server, device, topic, payload, *more, check=True):
    return run(["mosquitto_pub", *options(server, device, "-t", topic, "-m", payload, *more)], check=check, timeout=30)


class Client(matrix.Client):
    """One device by these programs: mosquitto_sub while it listens or has a will, mosquitto_pub or mosquitto_rr when it speaks."""

    # mosquitto_sub does not say whether its session was there. It ends when TLS breaks off, so that its half of QoS 2 is lost with it.
    can = Can(exactly_once=False, session_present=False)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.child, self.over = None, threading.Event()

    def options(self, *more):
        options = to(self.line.host, self.line.port, self.device, "-V", VERSIONS[self.way.version], "-d", *more)
        options += [] if self.clean else ["-c"]
        for protocol in self.way.alpn:
            options += ["--tls-alpn", protocol]
        return options

    def connect(self, *filters, qos=1):
        visit = not filters and self.clean
        if visit and not self.will:
            return None  # each message that it publishes is a connection of its own
        # It does not come without a filter; what it heard of before goes on in a session that is kept.
        options = ["-q", str(qos), "-F", "message %t %x %q %r"]
        for topic in filters or [self.device.topic("unused")]:
            options += ["-t", topic]
        if self.will:
            options += ["--will-topic", self.will.topic, "--will-payload", self.will.payload, "--will-qos", "1"]
            options += ["-D", "will", "will-delay-interval", str(self.will.delay)] if self.way.five else []
        # When it is ended from outside it says DISCONNECT with Will Message (0x04) on MQTT 5: who is to leave without, leaves by itself.
        self.start("mosquitto_sub", *options, *(["-E"] if visit else []))
        within(self.ups, what="the SUBACK")
        if visit:
            self.child.wait(matrix.WAIT)

    def start(self, program, *more):
        command = ["stdbuf", "-oL", program, *self.options(*more)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.read, args=(self.child, program, more), daemon=True).start()

    def read(self, child, program, more):
        """What it says of itself with -d, as events. A connection has ended when it says so, or when it makes the next one."""
        tries, told = 0, False
        for line in child.stdout:
            if line.startswith("message "):
                _, topic, payload, qos, retained = line.rstrip("\n").split(" ")
                self.messages.put((topic, bytes.fromhex(payload), int(qos), retained == "1"))
            elif line.startswith("Subscribed"):
                self.ups.put(None)
            elif reason := re.search(r"eceived DISCONNECT \((\d+)\)", line):
                self.ends.put(int(reason.group(1)))
                told = True
            elif "sending CONNECT" in line:
                tries += 1
                if tries > 1 and not told:
                    self.ends.put(None)
                told = False
        self.ends.put(None)
        # Somebody starts it again after a while, as service managers do.
        if self.returns and not self.over.wait(1):
            self.start(program, *more)

    def publish(self, topic, payload, qos=1, retain=False):
        command = ["mosquitto_pub", *self.options("-t", topic, "-q", str(qos), "-s", *(["-r"] if retain else []))]
        run(command, stdin=payload, timeout=matrix.WAIT)

    def publish_all(self, topic, texts, qos=1):
        command = ["mosquitto_pub", *self.options("-t", topic, "-q", str(qos), "-l")]
        run(command, stdin="".join(f"{text}\n" for text in texts).encode(), timeout=matrix.RETURN)

    def ask(self, topic, payload, answer):
        self.drop()  # of two programs with one name, one is enough
        options = self.options("-q", "1", "-t", topic, "-e", answer, "-W", "20", "-F", "message %x")
        command = ["mosquitto_rr", *options, "-m", payload]

        def answered():
            done = subprocess.run(command, capture_output=True, timeout=matrix.WAIT)
            if done.returncode in BUSY:
                return None  # a connection for each request is more than a device may make at once
            holds(done.returncode == 0, f"{answer}: {done}")
            return re.search(rb"^message ([0-9a-f]*)$", done.stdout, re.M)

        return bytes.fromhex(until(answered, answer).group(1).decode())

    def overflow(self, topic, payload):
        file = self.device.cert.with_suffix(".big")
        file.write_bytes(payload)
        # It says that it was refused, and would say the same message again; it is not left to.
        self.start("mosquitto_pub", "-t", topic, "-q", "1", "-f", str(file))
        return within(self.ends, matrix.WAIT, "the end of the connection")

    def leave(self):
        self.over.set()
        if self.child:
            self.child.terminate()
            self.child.wait(matrix.WAIT)

    def drop(self):
        self.over.set()
        if self.child:
            self.child.kill()
            self.child.wait()


matrix.tell(story, Client, ways("8883", "ALPN"))


class Subscriber:
    """mosquitto_sub in the background; `lines` gets what it prints, once it is subscribed."""

    def __init__(self, server, device, *more):
        self.lines = queue.Queue()
        subscribed = queue.Queue()
        command = ["stdbuf", "-oL", "mosquitto_sub", "-d", *options(server, device, "-F", "message %t %r %q %p", *more)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def read():
            for line in self.child.stdout:
                if line.startswith("message "):
                    self.lines.put(line.strip().removeprefix("message "))
                elif line.startswith("Subscribed"):
                    subscribed.put(line.strip())

        threading.Thread(target=read, daemon=True).start()
        self.subscribed = within(subscribed, what="the SUBACK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()


@story.check
def delivers(server):
    """QoS 0 and 1 arrive, on MQTT 3.1.1 and 5"""
    for version in ("mqttv311", "mqttv5"):
        reader, writer = server.enrol("acme", f"reader-{version}"), server.enrol("acme", f"writer-{version}")
        with Subscriber(server, reader, "-V", version, "-q", "2", "-t", shared(f"{version}/+")) as subscriber:
            for qos in ("0", "1", "2"):
                publish(server, writer, shared(f"{version}/x"), f"hello {qos}", "-q", qos, "-V", version)
                expect(within(subscriber.lines), f"{shared(version)}/x 0 {qos} hello {qos}")


@story.check
def retains(server):
    """A retained message reaches who subscribes later, until it is cleared"""
    reader, writer = server.enrol("acme", "retain-reader"), server.enrol("acme", "retain-writer")
    publish(server, writer, shared("kept"), "stays", "-q", "1", "-r")
    with Subscriber(server, reader, "-q", "1", "-t", shared("kept")) as subscriber:
        expect(within(subscriber.lines), f"{shared('kept')} 1 1 stays")
    publish(server, writer, shared("kept"), "", "-q", "1", "-r")
    with Subscriber(server, reader, "-q", "1", "-t", shared("kept")) as subscriber:
        quiet(subscriber.lines, what="a cleared retained message")


@story.check
def tenants_are_apart(server):
    """Another tenant hears nothing, not through wildcards either, and may not use its own certificate's name there"""
    reader, writer = server.enrol("globex", "spy"), server.enrol("acme", "spied-on")
    with Subscriber(server, reader, "-q", "1", "-t", shared("#")) as subscriber:
        publish(server, writer, shared("secret"), "x", "-q", "1")
        quiet(subscriber.lines, what="another tenant's message")


@story.check
def denies(server):
    """Without a certificate, as somebody else, and on a foreign device's topics nothing goes"""
    one, other = server.enrol("acme", "deny-one"), server.enrol("acme", "deny-other")
    base = ["mosquitto_pub", "-h", "localhost", "-p", str(server.mqtt_port), "--cafile", str(one.ca), "-t", shared("x")]
    holds(run([*base, "-m", "x", "-i", one.name], check=False).returncode != 0, "no certificate was accepted")
    as_other = [*base, "-m", "x", "--cert", str(one.cert), "--key", str(one.key), "-i", other.name]
    holds(run(as_other, check=False).returncode != 0, "another device's client id was accepted")
    refused = publish(server, one, other.topic("x"), "x", "-q", "1", "-V", "mqttv5", check=False)
    holds(b"ot authorized" in refused.stdout + refused.stderr, f"publish to a foreign topic: {refused}")
    with Subscriber(server, one, "-t", other.topic("#")) as subscriber:
        holds("128" in subscriber.subscribed, f"SUBACK on a foreign topic: {subscriber.subscribed}")


def main():
    with Server() as server:
        server.tenant("acme")
        server.tenant("globex")
        story.tell(server)


if __name__ == "__main__":
    main()
