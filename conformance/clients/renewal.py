"""paho and curl renew certificates: asked on a topic, by campaign, and as a tenant's policy has it."""

import json
import pathlib
import subprocess

import paho.mqtt.client as mqtt
from fleet.server import Device, Server, programs
from fleet.story import Story, expect, holds, quiet

from paho_client import plain

story = Story("renewal")
VERSION = mqtt.MQTTv5


def request_topic(device):
    return f"devices/{device.name}/identity/renew"


def renew(server, device, number, same_key=False):
    """simplereenroll with a new key, or with the one that there is; status and what became of it."""
    stem = f"{device.name}-{number}"
    key, request = server.key_and_request(stem, subject=f"/CN={device.name}")
    if same_key:
        command = ["openssl", "req", "-new", "-key", str(device.key), "-subj", f"/CN={device.name}", "-outform", "DER"]
        key, request = device.key, subprocess.run(command, capture_output=True, check=True).stdout
    mtls = ("--cert", device.cert, "--key", device.key)
    status, body = server.est("simplereenroll", request, *mtls)
    if status != 200:
        return status, None
    return status, Device(device.tenant, device.name, key, server.keep_certificate(stem, body), device.ca)


def is_let_in(server, device):
    try:
        with plain(server, device, VERSION) as client:
            client.connect()
            return True
    except (AssertionError, OSError):
        return False


def standings(server, device):
    listed = server.ctl("device", "certificates", device.name, tenant="acme")
    return {one["serial"]: one["status"] for one in listed}


def serial(device):
    return device.serial().lower()


@story.check
def asked(server):
    """A device that is asked hears it, and hears it again when it subscribes, until it has renewed"""
    device = server.enrol("acme", "r-asked")
    with plain(server, device, VERSION) as client:
        client.connect()
        client.subscribe(request_topic(device))
        server.ctl("device", "renew", device.name, "--reason", "a test", tenant="acme")
        topic, payload, qos, retained = client.message()
        said = json.loads(payload)
        expect((topic, said["reason"], said["at_once"], qos, retained), (request_topic(device), "a test", False, 1, False))
    with plain(server, device, VERSION) as client:
        client.connect()
        client.subscribe(request_topic(device))
        expect(json.loads(client.message()[1])["request"], said["request"], "the same request")
    status, new = renew(server, device, 2)
    expect(status, 200)
    with plain(server, new, VERSION) as client:
        client.connect()
        client.subscribe(request_topic(new))
        quiet(client.messages, what="it has renewed")
    found = standings(server, device)
    expect((found[serial(device)], found[serial(new)]), ("superseded", "proven"))
    holds(is_let_in(server, device), "the old certificate has its grace")
    status, _ = renew(server, device, 3)
    expect(status, 401, "and does not renew")


@story.check
def at_once(server):
    """In an emergency the old certificate ends with the first use of the new one"""
    device = server.enrol("acme", "r-emergency")
    holds(is_let_in(server, device), "it is proven")
    server.ctl("device", "renew", device.name, "--at-once", tenant="acme")
    status, new = renew(server, device, 2)
    expect(status, 200)
    holds(is_let_in(server, device), "the old one counts until then")
    holds(is_let_in(server, new), "the new one counts")
    holds(not is_let_in(server, device), "the old one has ended")
    found = standings(server, device)
    expect((found[serial(device)], found[serial(new)]), ("retired", "active"))


@story.check
def campaign(server):
    """A campaign asks who is connected, counts who renews, and ends"""
    device = server.enrol("acme", "r-campaign")
    with plain(server, device, VERSION) as client:
        client.connect()
        client.subscribe(request_topic(device))
        server.ctl("rotation", "create", "spring", "--device", device.name, "--phase", "100%", tenant="acme")
        holds(json.loads(client.message()[1])["reason"] == "spring", "the device is asked")
        status, new = renew(server, device, 2)
        expect(status, 200)
    holds(is_let_in(server, new), "the new one counts")
    ended = server.ctl("rotation", "watch", "spring", "--exit-status", "--give-up-after", "30s", tenant="acme")
    expect((ended["state"], ended["counts"]["renewed"]), ("finished", 1))
    listed = server.ctl("rotation", "devices", "spring", tenant="acme")
    expect([(one["device"], one["status"]) for one in listed], [(device.name, "renewed")])


@story.check
def policy(server):
    """A tenant that forbids the same key gets a new one each time"""
    device = server.enrol("acme", "r-policy")
    holds(is_let_in(server, device), "it is proven")
    status, _ = renew(server, device, 2, same_key=True)
    expect(status, 200, "allowed until the policy says otherwise")
    server.ctl("tenant", "policy", "set", "renewal.key_reuse=forbid", tenant="acme")
    try:
        status, _ = renew(server, server.enrol("acme", "r-policy-2"), 2, same_key=True)
        expect(status, 400, "the same key")
        status, _ = renew(server, device, 3)
        expect(status, 200, "a new key")
    finally:
        server.ctl("tenant", "policy", "set", "renewal.key_reuse=null", tenant="acme")


def main():
    holds(pathlib.Path(programs() / "wardctl").exists(), "wardctl is built")
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
