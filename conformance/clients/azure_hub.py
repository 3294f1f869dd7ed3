"""azure-iot-device's IoTHubDeviceClient: the twin, methods and messages, over MQTT and over WebSocket."""

from fleet.python import run_in

run_in("azure")

import json
import logging
import queue
import random
import ssl
import threading
import urllib.parse

import paho.mqtt.client as paho
from azure.iot.device import X509, IoTHubDeviceClient, Message, MethodResponse, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError, ConnectionDroppedError, ConnectionFailedError, CredentialError, OperationCancelled

from fleet.line import Line
from fleet.maker import Maker
from fleet.server import Server
from fleet.story import Story, expect, holds, quiet, titled, until, within

story = Story("azure-hub")
logging.getLogger("azure.iot.device").propagate = False


# The SDK speaks MQTT 3.1.1 on port 8883, and in a WebSocket on 443.
DOORS = {"3.1.1/8883": {}, "3.1.1/WSS": {"websockets": True}}
SHADOW = 8 * 1024


def each_door(prop):
    """Tells a check on both; it gets the end of a name and the options of the client."""

    def add(check):
        for way, options in DOORS.items():
            run = lambda server, options=options: check(server, "ws" if options else "mqtt", options)
            story.add(f"{way} {titled(check)}", run, [(prop, check.__name__, way)])
        return check

    return add


def acme(server, *arguments, check=True):
    return server.ctl(*arguments, tenant="acme", check=check)


def client(server, device, **options):
    """The SDK as an application makes it; it connects to ports 8883 and 443 and no others."""
    return IoTHubDeviceClient.create_from_x509_certificate(
        x509=X509(cert_file=str(device.cert), key_file=str(device.key)),
        hostname=server.sdk_host,
        device_id=device.name,
        server_verification_cert=server.ca.read_text(),
        **options,
    )


def desired(server, name, patch):
    return acme(server, "shadow", "set", name, json.dumps(patch))


@story.check
def twin(server):
    """the twin: got, reported, changed by an operator; null takes away; both doors show one document"""
    device = server.enrol("acme", "hub-twin")
    hub = client(server, device)
    hub.connect()
    seen = queue.Queue()
    hub.on_twin_desired_properties_patch_received = seen.put
    first = hub.get_twin()
    expect(first, {"desired": {"$version": 1}, "reported": {"$version": 1}})
    hub.patch_twin_reported_properties({"fan": {"rpm": 900}, "old": 1})
    hub.patch_twin_reported_properties({"old": None})
    expect(acme(server, "shadow", "get", "hub-twin")["state"]["reported"], {"fan": {"rpm": 900}})
    desired(server, "hub-twin", {"interval": 5, "mode": "eco"})
    expect(within(seen, what="a change"), {"interval": 5, "mode": "eco", "$version": 4})
    desired(server, "hub-twin", {"mode": None})
    expect(within(seen, what="a change that takes away"), {"mode": None, "$version": 5})
    again = hub.get_twin()
    expect(again["desired"], {"interval": 5, "$version": 5})
    expect(again["reported"], {"fan": {"rpm": 900}, "$version": 5})
    hub.shutdown()


def not_taken(hub, patch):
    """A patch of reported properties is refused with 400."""
    try:
        hub.patch_twin_reported_properties(patch)
    except ClientError as error:
        holds("400" in str(error.__cause__ or error), f"{str(patch)[:40]}: {error!r} {error.__cause__!r}")
    else:
        raise AssertionError(f"{str(patch)[:40]} was taken")


def deep(levels):
    return {"a": deep(levels - 1)} if levels else 1


@each_door("bad")
def bad_patches(server, name, options):
    """reported properties that are no JSON, too deep, no object or badly named are refused, and good ones right after are taken"""
    device = server.enrol("acme", f"hub-bad-{name}")
    hub = client(server, device, **options)
    hub.connect()
    for patch in ({"a": float("nan")}, {"a": "\ud800"}, deep(7), deep(200), [1], "text", {"$a": 1}, {"a": {"b.c": 1}}):
        not_taken(hub, patch)
    hub.patch_twin_reported_properties({"a": 1})
    expect(hub.get_twin()["reported"], {"a": 1, "$version": 2})
    hub.shutdown()


@each_door("big")
def big(server, name, options):
    """a message of 128 KiB arrives, a byte more ends the connection; a twin holds 8 KiB and no more; what follows is as before"""
    device = server.enrol("acme", f"hub-big-{name}")
    listen(server, device, f"devices/hub-big-{name}/messages/events/#")
    hub, heard = client(server, device, connection_retry=False, **options), Heard()
    hub.connect()
    hub.send_message(Message("y" * 128 * 1024))
    within(heard.topics)
    try:
        hub.send_message(Message("y" * (128 * 1024 + 1)))
    except (ClientError, ConnectionDroppedError, ConnectionFailedError, OperationCancelled):
        hub.shutdown()
    else:
        raise AssertionError("a message that is too big was taken")
    hub = client(server, device, **options)
    hub.connect()
    full = SHADOW - len('{"x":""}')
    hub.patch_twin_reported_properties({"x": "y" * full})
    not_taken(hub, {"x": "y" * (full + 1)})
    hub.patch_twin_reported_properties({"x": "as before"})
    hub.shutdown()


@each_door("take-over")
def takes_over(server, name, options):
    """a second connection under its name ends the first, and goes on"""
    device = server.enrol("acme", f"hub-twice-{name}")
    first, second = (client(server, device, connection_retry=False, **options) for _ in range(2))
    changes = queue.Queue()
    first.on_connection_state_change = lambda: changes.put(first.connected)
    first.connect()
    expect(within(changes), True)
    second.connect()
    expect(within(changes, what="the end of the first"), False)
    second.patch_twin_reported_properties({"by": "the second"})
    expect(second.get_twin()["reported"]["by"], "the second")
    second.shutdown()
    first.shutdown()


@story.check
def methods(server):
    """methods: called by an operator, answered by the device; unknown, silent and absent devices"""
    device = server.enrol("acme", "hub-method")
    absent = acme(server, "method", "call", "hub-method", "reboot", check=False)
    expect(absent, None, "a device that is not connected")
    hub = client(server, device)
    release = threading.Event()

    def called(request):
        if request.name == "sleep":
            release.wait(30)
        status = {"reboot": 202, "sleep": 200}.get(request.name, 404)
        hub.send_method_response(MethodResponse.create_from_method_request(request, status, {"got": request.payload}))

    hub.on_method_request_received = called
    hub.connect()
    answer = acme(server, "method", "call", "hub-method", "reboot", "--payload", '{"in": 5}')
    expect(answer, {"status": 202, "payload": {"got": {"in": 5}}})
    expect(acme(server, "method", "call", "hub-method", "nothing")["status"], 404)
    silent = acme(server, "method", "call", "hub-method", "sleep", "--deadline", "1", check=False)
    expect(silent, None, "a device that does not answer in time")
    release.set()
    rows = acme(server, "event", "list", "--device", "hub-method")
    said = [row["action"] for row in rows if row["action"].startswith("method.")]
    expect(sorted(said), sorted(["method.called", "method.answered"] * 3))
    hub.shutdown()


class Heard(logging.Handler):
    """Topics of messages that the SDK gets and has no use for: it says them in its log and acknowledges them."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.topics = queue.Queue()
        self.log = logging.getLogger("azure.iot.device.iothub.pipeline.pipeline_stages_iothub_mqtt")
        self.log.setLevel(logging.DEBUG)
        self.log.addHandler(self)

    def emit(self, record):
        said = record.getMessage()
        if said.startswith("Unknown topic: "):
            self.topics.put(said.split()[2])


def listen(server, device, topic):
    """Leaves a subscription in the device's session, which the SDK then resumes: only the device itself may listen there."""
    done = queue.Queue()
    made = paho.Client(client_id=device.name, clean_session=False)
    made.tls_set(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key), tls_version=ssl.PROTOCOL_TLS_CLIENT)
    made.on_connect = lambda *_: made.subscribe(topic, 1)
    made.on_subscribe = lambda _client, _data, _id, granted: done.put(granted[0])
    made.connect(server.sdk_host, 8883)
    made.loop_start()
    expect(within(done), 1)
    made.disconnect()
    made.loop_stop()


@story.check
def events(server):
    """messages of the device, with properties, system properties and many of both, are on its topic for whoever listens there"""
    device = server.enrol("acme", "hub-events")
    listen(server, device, "devices/hub-events/messages/events/#")
    hub, heard = client(server, device), Heard()
    hub.connect()
    message = Message('{"t": 21.5}', message_id="m 1", content_encoding="utf-8", content_type="application/json")
    message.custom_properties = {"alert": "yes & no", "path": "a/b+c#d", "empty": ""}
    hub.send_message(message)
    topic = within(heard.topics)
    stem = "devices/hub-events/messages/events/"
    holds(topic.startswith(stem), topic)
    level = topic.removeprefix(stem)
    found = dict(urllib.parse.parse_qsl(level.replace("+", "%2B"), keep_blank_values=True))
    wanted = {"$.mid": "m 1", "$.ct": "application/json", "$.ce": "utf-8", "alert": "yes & no", "path": "a/b+c#d", "empty": ""}
    expect(found, wanted)
    hub.send_message("plain")
    expect(within(heard.topics), stem)
    big = Message("x" * 100_000)
    big.custom_properties = {f"p{n}": "y" * 100 for n in range(20)}
    hub.send_message(big)
    holds(len(within(heard.topics)) > 2000, "its properties are in the topic")
    hub.shutdown()


@each_door("resume")
def devicebound(server, name, options):
    """messages to the device: with properties; those sent while it is away come when it is back, in order, over a server that is killed"""
    name = f"hub-c2d-{name}"
    device = server.enrol("acme", name)
    expect(acme(server, "message", "send", name, "early", check=False), None, "nobody listens yet")
    hub = client(server, device, **options)
    heard = queue.Queue()
    hub.on_message_received = heard.put
    hub.connect()
    sent = acme(server, "message", "send", name, "open", "--property", "level=a&b=c", "--correlation-id", "c-1")
    expect(sent["connected"], True)
    message = within(heard)
    expect((message.data, message.custom_properties), (b"open", {"level": "a&b=c"}))
    expect((message.message_id, message.correlation_id), (sent["message_id"], "c-1"))
    hub.disconnect()
    for text in ("one", "two"):
        expect(acme(server, "message", "send", name, text)["connected"], False)
    server.kill()
    server.start()
    hub.connect()
    expect([within(heard).data, within(heard).data], [b"one", b"two"])
    quiet(heard)
    hub.shutdown()


@each_door("reconnect")
def reconnect(server, name, options):
    """cut off, and left by a server that is killed: the SDK comes back by itself and finds what changed meanwhile"""
    name = f"hub-again-{name}"
    device = server.enrol("acme", name)
    hub = client(server, device, connection_retry_interval=1, **options)
    seen = queue.Queue()
    hub.on_twin_desired_properties_patch_received = seen.put
    hub.connect()
    within(seen, what="the twin as it stands")
    desired(server, name, {"a": 1})
    expect(within(seen)["a"], 1)
    for line in server.lines:
        line.cut()
    desired(server, name, {"a": 2})
    for line in server.lines:
        line.mend()
    until(lambda: newest(seen, 2), "the change made while it was cut off", 60)
    server.kill()
    server.start()
    desired(server, name, {"a": 3})
    until(lambda: newest(seen, 3), "the change made while it was away", 60)
    hub.patch_twin_reported_properties({"a": 3})
    hub.shutdown()


def newest(seen, wanted):
    """The first change in the queue that has it."""
    while not seen.empty():
        found = seen.get()
        if found.get("a") == wanted:
            return found
    return None


@story.check
def websocket(server):
    """over WebSocket, on port 443: the twin and a message"""
    device = server.enrol("acme", "hub-ws")
    hub = client(server, device, websockets=True)
    hub.connect()
    hub.patch_twin_reported_properties({"by": "websocket"})
    expect(hub.get_twin()["reported"]["by"], "websocket")
    hub.send_message("x")
    hub.shutdown()


@story.check
def provisioned(server):
    """a device with its factory's certificate registers by DPS and connects to the hub that it is assigned"""
    maker = Maker(server, "acme", "plant-7")
    maker.register()
    device = maker.device("hub-dps")
    registered = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=server.sdk_host,
        registration_id=device.name,
        id_scope=acme(server, "enrollment-group", "id-scope")["id_scope"],
        x509=X509(cert_file=str(device.cert), key_file=str(device.key)),
        server_verification_cert=server.ca.read_text(),
    ).register()
    expect(registered.status, "assigned")
    state = registered.registration_state
    expect((state.device_id, state.assigned_hub), (device.name, "localhost"))
    hub = client(server, device)
    hub.connect()
    hub.patch_twin_reported_properties({"from": "the factory"})
    expect(hub.get_twin()["reported"]["from"], "the factory")
    hub.shutdown()


@story.check
def strangers(server):
    """who does not get in: another device's name, and a shared access signature"""
    device = server.enrol("acme", "hub-own")
    other = client(server, type(device)("acme", "hub-other", device.key, device.cert, device.ca))
    refused(other)
    signature = IoTHubDeviceClient.create_from_symmetric_key(
        symmetric_key="a2V5", hostname=server.sdk_host, device_id="hub-own", server_verification_cert=server.ca.read_text()
    )
    refused(signature)


def refused(hub):
    try:
        hub.connect()
    except (CredentialError, ConnectionFailedError, ClientError):
        hub.shutdown()
        return
    raise AssertionError("it got in")


def main():
    # The SDK knows no other ports, and somebody else may have them on 127.0.0.1.
    host = f"127.{random.randrange(1, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"
    with Server(arguments=["--public-host", host]) as server:
        server.sdk_host = host
        with Line(lambda: server.mqtt_port, host, 8883) as mqtt, Line(lambda: server.device_port, host, 443) as https:
            server.lines = [mqtt, https]
            expect(server.tenant("acme"), "acme")
            story.tell(server)


if __name__ == "__main__":
    main()
