"""MQTT.js under Node: each check is told to mqtt_js.mjs, which is the client; over TLS and over WebSocket, 3.1.1 and 5."""

import json
import os
import pathlib

from fleet.python import node_packages
from fleet.server import Server, run, shared
from fleet.story import Story

story = Story("mqttjs")
SCRIPT = pathlib.Path(__file__).with_suffix(".mjs")
WAYS = [(version, way) for version in (4, 5) for way in ("mqtts", "wss")]


def tell(server, check, version, way, topic, **devices):
    """Runs one check in Node; what it says stands in the error when it fails."""
    port = server.mqtt_port if way == "mqtts" else server.device_port
    url = f"{way}://localhost:{port}" + ("/mqtt" if way == "wss" else "")
    files = {
        name: {"name": device.name, "key": str(device.key), "cert": str(device.cert), "ca": str(device.ca)}
        for name, device in devices.items()
    }
    asked = json.dumps({"url": url, "version": version, "topic": topic, "devices": files})
    run(["node", SCRIPT, check, asked], env={"FLEETWARD_NODE": str(node_packages())}, timeout=60)


def each_way(check):
    def all_ways(server):
        for version, way in WAYS:
            check(server, version, way, f"{version}-{way}")

    all_ways.__doc__, all_ways.__name__ = check.__doc__, check.__name__
    return all_ways


@story.check
@each_way
def delivers(server, version, way, name):
    """QoS 0, 1 and 2 arrive, payloads of 100 bytes and of 128 KiB, retained messages too"""
    one, two = server.enrol("acme", f"js-reader-{name}"), server.enrol("acme", f"js-writer-{name}")
    tell(server, "delivers", version, way, shared(f"js/{name}"), reader=one, writer=two)


@story.check
@each_way
def resumes(server, version, way, name):
    """A persistent session is resumed and gets what came while it was away, in order"""
    one, two = server.enrol("acme", f"js-away-{name}"), server.enrol("acme", f"js-busy-{name}")
    tell(server, "resumes", version, way, shared(f"js-away/{name}"), reader=one, writer=two)


@story.check
@each_way
def takes_over(server, version, way, name):
    """A second connection of the same device ends the first; the last will of a lost one comes"""
    one, two = server.enrol("acme", f"js-twice-{name}"), server.enrol("acme", f"js-heir-{name}")
    tell(server, "takesOver", version, way, shared(f"js-wills/{name}"), device=one, heir=two)


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
