"""MQTT.js under Node, over TLS and over WebSocket, 3.1.1 and 5: the shared story drives mqtt_js_driver.mjs, one process a client;
what is MQTT.js's own is told to mqtt_js.mjs, one process a check."""

import base64
import itertools
import json
import os
import pathlib
import queue
import subprocess
import threading

from fleet import matrix
from fleet.matrix import ways
from fleet.python import node_packages
from fleet.server import Server, run, shared
from fleet.story import Story, expect, within

story = Story("mqttjs")
SCRIPT = pathlib.Path(__file__).with_suffix(".mjs")
DRIVER = SCRIPT.with_name("mqtt_js_driver.mjs")
WAYS = [(version, way) for version in (4, 5) for way in ("mqtts", "wss")]


def files(device):
    return {"name": device.name, "key": str(device.key), "cert": str(device.cert), "ca": str(device.ca)}


class Client(matrix.Client):
    """A process of Node with one client in it."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.numbers, self.answers = itertools.count(), queue.Queue()
        scheme, path = ("wss", "/mqtt") if self.way.door == "WSS" else ("mqtts", "")
        asked = {
            "url": f"{scheme}://{self.line.host}:{self.line.port}{path}",
            "version": 5 if self.way.five else 4,
            "device": files(self.device),
            "clean": self.clean,
            "will": self.will and vars(self.will),
            "returns": self.returns,
            "alpn": self.way.alpn,
        }
        self.child = subprocess.Popen(
            ["node", str(DRIVER), json.dumps(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "FLEETWARD_NODE": str(node_packages())},
        )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            said = json.loads(line)
            if "message" in said:
                topic, payload, qos, retained = said["message"]
                self.messages.put((topic, base64.b64decode(payload), qos, retained))
            elif "up" in said:
                self.ups.put(said["up"])
            elif "end" in said:
                self.ends.put(said["end"])
            else:
                self.answers.put(said)

    def order(self, *order):
        number = next(self.numbers)
        self.child.stdin.write(json.dumps([number, *order]) + "\n")
        self.child.stdin.flush()
        answer = within(self.answers, matrix.WAIT, f"the answer to {order[0]}")
        expect((answer["done"], answer.get("failed")), (number, None), order[0])
        return answer["with"]

    def connect(self, *filters, qos=1):
        self.order("connect")
        present = within(self.ups, matrix.WAIT, "the CONNACK")
        for topic in filters:
            expect(self.order("subscribe", topic, qos), qos, f"SUBACK for {topic}")
        return present

    def publish(self, topic, payload, qos=1, retain=False):
        self.order("publish", topic, base64.b64encode(payload).decode(), qos, retain)

    def leave(self):
        self.order("leave")

    def drop(self):
        self.child.kill()
        self.child.wait()


matrix.tell(story, Client, ways("8883", "ALPN", "WSS"))


def tell(server, check, version, way, topic, **devices):
    """Runs one check in Node; what it says stands in the error when it fails."""
    port = server.mqtt_port if way == "mqtts" else server.device_port
    url = f"{way}://localhost:{port}" + ("/mqtt" if way == "wss" else "")
    named = {name: files(device) for name, device in devices.items()}
    asked = json.dumps({"url": url, "version": version, "topic": topic, "devices": named})
    run(["node", SCRIPT, check, asked], env={"FLEETWARD_NODE": str(node_packages())}, timeout=60)


def each_way(check):
    def all_ways(server):
        for version, way in WAYS:
            check(server, version, way, f"{version}-{way}")

    all_ways.__doc__, all_ways.__name__ = check.__doc__, check.__name__
    return all_ways


@story.check
@each_way
def retains(server, version, way, name):
    """A retained message comes to who subscribes later, marked as such"""
    tell(server, "retains", version, way, shared(f"js-kept/{name}"), device=server.enrol("acme", f"js-kept-{name}"))


@story.check
@each_way
def denies(server, version, way, name):
    """Foreign topics are refused; a shadow is updated and its delta comes before"""
    one, two = server.enrol("acme", f"js-deny-{name}"), server.enrol("acme", f"js-other-{name}")
    tell(server, "denies", version, way, two.topic("x"), device=one)


@story.check
def pages_of_other_sites(server):
    """A page of another site is refused, and so is who offers no subprotocol of MQTT"""
    device = server.enrol("acme", "js-page")
    tell(server, "pages", 5, "wss", shared("x"), device=device)


def main():
    os.environ["NODE_NO_WARNINGS"] = "1"
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
