"""paho: two servers on one PostgreSQL. What one of them changes or leaves behind, the other one's clients see."""

import json
import os
import pathlib
import shutil
import tempfile

import paho.mqtt.client as mqtt
from paho_client import plain

from fleet.postgres import Postgres
from fleet.matrix import Will
from fleet.server import Server, shared
from fleet.story import Story, expect, quiet, until, within

story = Story("two-servers")
V5 = mqtt.MQTTv5


@story.check
def a_suspended_device_is_out(servers):
    """A device that is suspended on one server is out on the other (0x98)"""
    device = servers.first.enrol("acme", "two-suspended")
    with plain(servers.second, device, V5) as client:
        client.connect()
        servers.first.ctl("device", "suspend", device.name, tenant="acme")
        expect(within(client.ends, what="the end"), 0x98)


@story.check
def a_changed_record_changes_rights(servers):
    """A record that is changed on one server changes what its device may do on the other"""
    first, second = servers.first, servers.second
    device = first.enrol("acme", "two-moved")
    first.ctl("device", "set", device.name, "--attribute", "hall=7", tenant="acme")
    allow = {"effect": "allow", "actions": ["publish"], "topics": ["halls/${attribute:hall}/#"]}
    document = pathlib.Path(servers.folder) / "hall.json"
    document.write_text(json.dumps({"statements": [allow]}))
    first.ctl("topic-policy", "create", "hall", "--document", document, tenant="acme")
    with plain(second, device, V5) as client:
        client.connect()
        expect(client.publish("halls/7/x", "1"), 0x87, "before")
        first.ctl("topic-policy", "attach", "hall", "--everybody", tenant="acme")
        until(lambda: client.publish("halls/7/x", "1") < 0x80, "the policy over there", seconds=10)
        first.ctl("device", "set", device.name, "--attribute", "hall=8", tenant="acme")
        until(lambda: client.publish("halls/8/x", "1") < 0x80, "the change of the record", seconds=10)
        expect(client.publish("halls/7/x", "1"), 0x87, "what it was before")


@story.check
def a_will_is_said_by_who_lives(servers):
    """A server is killed: the last will of its client comes from the other one, and once"""
    first, second = servers.first, servers.second
    reader, mortal = first.enrol("acme", "two-reader"), first.enrol("acme", "two-mortal")
    topic = shared("two/wills")
    with plain(second, reader, V5) as watching:
        watching.connect()
        watching.subscribe(topic)
        lost = plain(first, mortal, V5, will=Will(topic, "gone"))
        lost.connect()
        first.kill()
        lost.client.loop_stop()
        expect(watching.message(seconds=60)[:2], (topic, b"gone"))
        quiet(watching.messages, seconds=7, what="the will once more")


class Servers:
    """Both, with one seal."""

    def __init__(self, cluster):
        self.folder = os.environ.get("FLEETWARD_CONFORMANCE_DIR") or tempfile.mkdtemp(prefix="fleetward-conformance-")
        self.first = Server(folder=f"{self.folder}/first", database=cluster.url)
        self.second = Server(folder=f"{self.folder}/second", database=cluster.url)

    def __enter__(self):
        self.first.start()
        self.first.tenant("acme")
        # What seals the keys in the database is beside the server, and both have to have the same.
        shutil.copytree(self.first.data, self.second.data, ignore=shutil.ignore_patterns("endpoints.json", "*.lock"))
        self.second.token = self.first.token
        self.second.start()
        return self

    def __exit__(self, *_):
        self.first.kill()
        self.second.kill()

    def log_tail(self, lines):
        return f"{self.first.log_tail(lines)}\n--- the other\n{self.second.log_tail(lines)}"


def main():
    with Postgres() as cluster, Servers(cluster) as servers:
        story.tell(servers)


if __name__ == "__main__":
    main()
