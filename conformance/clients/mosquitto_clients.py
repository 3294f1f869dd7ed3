"""Debian's mosquitto_pub and mosquitto_sub, with client certificates."""

import subprocess
import threading
import queue

from fleet.server import Server, run, shared
from fleet.story import Story, expect, holds, quiet, within

story = Story("mosquitto")


def options(server, device, *more):
    """What both programs need to be that device."""
    return [
        *("-h", "localhost", "-p", str(server.mqtt_port), "--cafile", str(device.ca)),
        *("--cert", str(device.cert), "--key", str(device.key), "-i", device.name, *more),
    ]


def publish(server, device, topic, payload, *more, check=True):
    return run(["mosquitto_pub", *options(server, device, "-t", topic, "-m", payload, *more)], check=check, timeout=30)


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
def last_will(server):
    """The last will of a client that dies is published"""
    reader, mortal = server.enrol("acme", "will-reader"), server.enrol("acme", "will-mortal")
    with Subscriber(server, reader, "-q", "1", "-t", shared("wills")) as subscriber:
        will = ("--will-topic", shared("wills"), "--will-payload", "gone", "--will-qos", "1")
        with Subscriber(server, mortal, *will, "-t", mortal.topic("x")):
            pass  # killed, not disconnected
        expect(within(subscriber.lines), f"{shared('wills')} 0 1 gone")


@story.check
def resumes(server):
    """A persistent session gets what was published while it was away"""
    reader, writer = server.enrol("acme", "away-reader"), server.enrol("acme", "away-writer")
    keep = ("-c", "-q", "1", "-t", shared("away"))
    with Subscriber(server, reader, *keep):
        pass
    for number in range(10):
        publish(server, writer, shared("away"), str(number), "-q", "1")
    with Subscriber(server, reader, *keep) as subscriber:
        seen = [within(subscriber.lines) for _ in range(10)]
    expect(seen, [f"{shared('away')} 0 1 {number}" for number in range(10)])


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
