"""Python's own HTTPS client as a device of AWS uses it: its certificate, ALPN `x-amzn-http-ca`, shadows, topics, retained messages."""

import base64
import http.client
import json
import ssl

from mosquitto_clients import Subscriber

from fleet.server import Server, shared
from fleet.story import Story, expect, holds, within

story = Story("aws-https")


def ask(server, device, method, path, body=None, alpn="x-amzn-http-ca"):
    """Status, error type and body of one request on a connection of its own."""
    context = ssl.create_default_context(cafile=str(device.ca))
    context.load_cert_chain(str(device.cert), str(device.key))
    context.set_alpn_protocols([alpn])
    connection = http.client.HTTPSConnection("localhost", server.device_port, context=context, timeout=30)
    try:
        connection.request(method, path, body=body)
        holds(connection.sock.selected_alpn_protocol() == alpn, "the protocol was not negotiated")
        answer = connection.getresponse()
        return answer.status, answer.headers.get("x-amzn-ErrorType"), json.loads(answer.read())
    finally:
        connection.close()


@story.check
def shadows(server):
    """GET, POST and DELETE of the classic and a named shadow, and their list"""
    device = server.enrol("acme", "https-1")
    path = f"/things/{device.name}/shadow"
    status, kind, body = ask(server, device, "GET", path)
    expect((status, kind, body["code"]), (404, "ResourceNotFoundException", 404))
    expect(body["message"], f"No shadow exists with name: {device.name}")
    status, _, body = ask(server, device, "POST", path, '{"state":{"desired":{"a":1}},"clientToken":"t"}')
    expect((status, body["version"], body["clientToken"]), (200, 1, "t"))
    status, _, body = ask(server, device, "GET", path)
    expect((status, body["state"]), (200, {"desired": {"a": 1}, "delta": {"a": 1}}))
    expect(ask(server, device, "POST", f"{path}?name=config", '{"state":{"reported":{"b":2}}}')[0], 200)
    status, _, body = ask(server, device, "GET", f"/api/things/shadow/ListNamedShadowsForThing/{device.name}")
    expect((status, body["results"]), (200, ["config"]))
    status, kind, _ = ask(server, device, "POST", path, '{"state":{},"version":9}')
    expect((status, kind), (409, "ConflictException"))
    status, _, body = ask(server, device, "DELETE", path, alpn="http/1.1")
    expect((status, body["version"]), (200, 1))


@story.check
def topics(server):
    """POST /topics/.. reaches who subscribes over MQTT, and has the same rules"""
    device, reader = server.enrol("acme", "https-2"), server.enrol("acme", "https-2-reader")
    with Subscriber(server, reader, "-q", "1", "-t", shared("https/+")) as subscriber:
        for topic in (shared("https/x"), shared("https/x").replace("/", "%2F")):
            status, _, body = ask(server, device, "POST", f"/topics/{topic}?qos=1", "hello")
            expect((status, body["message"]), (200, "OK"))
            expect(within(subscriber.lines), f"{shared('https/x')} 0 1 hello")
    status, kind, _ = ask(server, device, "POST", f"/topics/{reader.topic('x')}?qos=1", "x")
    expect((status, kind), (403, "ForbiddenException"))
    status, _, _ = ask(server, device, "POST", f"/topics/$aws/things/{device.name}/shadow/update", '{"state":{"reported":{"c":3}}}')
    expect(status, 200)
    status, _, body = ask(server, device, "GET", f"/things/{device.name}/shadow")
    expect(body["state"]["reported"], {"c": 3})


@story.check
def retained(server):
    """Retained messages are listed and read under the same rules"""
    device, other = server.enrol("acme", "https-3"), server.enrol("acme", "https-3-other")
    topic = device.topic("kept")
    expect(ask(server, device, "POST", f"/topics/{topic}?qos=1&retain=true", "on")[0], 200)
    status, _, body = ask(server, device, "GET", f"/retainedMessage/{topic}")
    expect((status, base64.b64decode(body["payload"]), body["qos"]), (200, b"on", 1))
    status, _, body = ask(server, device, "GET", "/retainedMessage?maxResults=10")
    holds(topic in [it["topic"] for it in body["retainedTopics"]], body)
    status, kind, _ = ask(server, other, "GET", f"/retainedMessage/{topic}")
    expect((status, kind), (403, "ForbiddenException"))
    expect(ask(server, other, "GET", "/retainedMessage")[2]["retainedTopics"], [])


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
