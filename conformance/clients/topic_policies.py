"""paho and wardctl: topics by policy, the profile of AWS, another server, and last wills across kill -9."""

import json
import queue

import paho.mqtt.client as mqtt
from fleet.server import Server, shared
from fleet.story import Story, expect, holds, quiet, until, within
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from paho_client import plain

story = Story("topic-policies")
V5 = mqtt.MQTTv5


def policy(server, name, *statements):
    file = server.folder / f"{name}.json"
    file.write_text(json.dumps({"statements": statements}))
    return file


def statement(effect, actions, *topics):
    return {"effect": effect, "actions": actions.split(), "topics": topics}


@story.check
def given_and_taken(server):
    """A policy gives topics by an attribute and takes some away; what is explained is what happens"""
    device = server.enrol("acme", "tp-given")
    server.ctl("device", "set", device.name, "--attribute", "plant=berlin", tenant="acme")
    allow = statement("allow", "publish subscribe receive", "plants/${attribute:plant}/#")
    deny = statement("deny", "publish subscribe", "plants/+/safety")
    server.ctl("topic-policy", "create", "plant", "--document", policy(server, "plant", allow, deny), tenant="acme")
    with plain(server, device, V5) as client:
        client.connect()
        expect(client.subscribe("plants/berlin/line"), [0x87], "before")
        server.ctl("topic-policy", "attach", "plant", "--everybody", tenant="acme")
        until(lambda: client.subscribe("plants/berlin/line") == [1], "the new right")
        for action, topic, allowed, because in [
            ("publish", "plants/berlin/line", True, "statement"),
            ("publish", "plants/berlin/safety", False, "statement"),
            ("publish", "plants/paris/line", False, "nothing"),
            ("publish", device.topic("x"), True, "built-in"),
            ("publish", "$aws/things/other/shadow/get", False, "nothing"),
            ("subscribe", "plants/berlin/#", False, "statement"),
        ]:
            said = server.ctl("topic-policy", "explain", device.name, action, topic, tenant="acme")
            expect((said["allowed"], said["because"]), (allowed, because), f"{action} {topic}")
            happens = client.subscribe(topic)[0] if action == "subscribe" else client.publish(topic, "x")
            expect(happens < 0x80, allowed, f"{action} {topic} in truth")
        expect(client.message()[0], "plants/berlin/line")
        # Taken back, the subscription that is held ends the session.
        server.ctl("topic-policy", "detach", "plant", "--everybody", tenant="acme")
        expect(within(client.ends, what="the end"), 0x87)


@story.check
def kept_out(server):
    """A policy keeps the devices of a selector out"""
    device = server.enrol("acme", "tp-out")
    server.ctl("device", "tag", device.name, "shut", tenant="acme")
    out = policy(server, "out", {"effect": "deny", "actions": ["connect"]})
    server.ctl("topic-policy", "create", "out", "--document", out, tenant="acme")
    with plain(server, device, V5) as client:
        client.connect()
        server.ctl("topic-policy", "attach", "out", "--tag", "shut", tenant="acme")
        expect(within(client.ends, what="the end"), 0x87)
    server.ctl("topic-policy", "detach", "out", "--tag", "shut", tenant="acme")


@story.check
def profile_of_aws(server):
    """With the profile of AWS a wildcard brings nothing retained, and QoS 2 is refused"""
    server.tenant("aws")
    server.ctl("tenant", "messaging", "set", "profile=aws", tenant="aws")
    expect(server.ctl("tenant", "messaging", "show", tenant="aws")["profile"], "aws")
    device = server.enrol("aws", "tp-aws")
    with plain(server, device, V5) as client:
        client.connect()
        client.publish(device.topic("kept"), "x", retain=True)
        client.subscribe(device.topic("#"))
        quiet(client.messages, what="nothing retained by a wildcard")
        client.subscribe(device.topic("kept"))
        expect(client.message()[:2], (device.topic("kept"), b"x"))
        expect(client.subscribe(device.topic("two"), 2), [1])
        client.client.publish(device.topic("x"), "x", 2)
        expect(within(client.ends, what="the end"), 0x9B)


@story.check
def wills_after_a_kill(server):
    """kill -9: the will of who was connected is published when the server is back; of who is back in time it is not"""
    watcher, lost = server.enrol("acme", "tp-watcher"), server.enrol("acme", "tp-lost")
    back, polite = server.enrol("acme", "tp-back"), server.enrol("acme", "tp-polite")
    with plain(server, watcher, V5, clean=False) as client:
        client.connect()
        client.subscribe(shared("wills/#"))

    def connected(device, delay=0):
        client = plain(server, device, V5, clean=False)
        properties = Properties(PacketTypes.WILLMESSAGE)
        properties.WillDelayInterval = delay
        client.client.will_set(shared(f"wills/{device.name}"), "gone", 1, False, properties)
        client.connect()
        return client

    clients = [connected(lost), connected(back, delay=5), connected(polite)]
    clients[2].leave()
    # Behind the good-bye, so that it is committed.
    with plain(server, server.enrol("acme", "tp-mark"), V5, clean=False) as mark:
        mark.connect()
    server.kill()
    server.start()
    for client in clients[:2]:
        client.client.loop_stop()
    returned = connected(back, delay=5)
    with plain(server, watcher, V5, clean=False) as client:
        holds(client.connect(), "the session of the watcher is there")
        expect(client.message()[:2], (shared(f"wills/{lost.name}"), b"gone"))
        quiet(client.messages, seconds=8, what="no will of who is back or had left")
    returned.leave()


@story.check
def another_server(server):
    """Clients are told which server to use, and let in again afterwards"""
    device = server.enrol("acme", "tp-moved")
    with plain(server, device, V5) as client:
        ends = queue.Queue()
        client.client.on_disconnect = lambda _c, _u, _f, code, properties: ends.put((code.value, properties))
        client.connect()
        server.ctl("redirect", "to", "b.example.com:8883")
        code, properties = within(ends, what="the end")
        expect((code, properties.ServerReference), (0x9C, "b.example.com:8883"))
    expect(server.ctl("redirect", "show")["server"], "b.example.com:8883")
    server.ctl("redirect", "end")
    with plain(server, device, V5) as client:
        client.connect()


if __name__ == "__main__":
    with Server() as one:
        one.tenant("acme")
        story.tell(one)
