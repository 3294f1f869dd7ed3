"""Debian's mosquitto_pub and mosquitto_sub keep a device's configuration: two retained messages, and the database behind them."""

import json

from mosquitto_clients import Subscriber, options, publish

from fleet.server import Server, run
from fleet.story import Story, expect, holds, within

story = Story("light-mode")


def desired(device):
    return f"devices/{device.name}/config/desired"


def reported(device):
    return f"devices/{device.name}/config/reported"


def want(server, device, state):
    return server.ctl("shadow", "set", device.name, json.dumps(state), "--name", "config", tenant="acme")


def shadow(server, device):
    return server.ctl("shadow", "get", device.name, "--name", "config", tenant="acme")


@story.check
def finds_what_is_wanted(server):
    """What is wanted is retained for a device that comes later, and told to one that is there"""
    device = server.enrol("acme", "light-1")
    want(server, device, {"interval": 60})
    for version in ("mqttv311", "mqttv5"):
        with Subscriber(server, device, "-V", version, "-q", "1", "-t", desired(device)) as subscriber:
            expect(within(subscriber.lines), f'{desired(device)} 1 1 {{"interval":60}}')
            want(server, device, {"interval": 30})
            expect(within(subscriber.lines).split(" ", 3)[3], '{"interval":30}')
        want(server, device, {"interval": 60})


@story.check
def says_what_is(server):
    """What a device reports is the whole of its reported state once it is acknowledged, and is retained for others"""
    device = server.enrol("acme", "light-2")
    want(server, device, {"interval": 60})
    publish(server, device, reported(device), '{"interval":30,"note":"x"}', "-q", "1", "-r")
    expect(shadow(server, device)["state"]["delta"], {"interval": 60})
    publish(server, device, reported(device), '{"interval":60}', "-q", "1")
    state = shadow(server, device)["state"]
    expect((state["reported"], state.get("delta")), ({"interval": 60}, None))
    with Subscriber(server, device, "-q", "1", "-t", reported(device)) as subscriber:
        expect(within(subscriber.lines), f'{reported(device)} 1 1 {{"interval":60}}')
    publish(server, device, reported(device), "", "-q", "1", "-r")
    holds("reported" not in shadow(server, device)["state"], "an empty message takes it back")


@story.check
def leaves_a_will(server):
    """A last will on config/reported is a report when its client dies"""
    device = server.enrol("acme", "light-7")
    want(server, device, {"interval": 60})
    will = ("--will-topic", reported(device), "--will-payload", '{"online":false}', "--will-qos", "1", "--will-retain")
    with Subscriber(server, device, *will, "-t", device.topic("x")):
        pass  # killed, not disconnected
    with Subscriber(server, device, "-q", "1", "-t", reported(device)) as subscriber:
        expect(within(subscriber.lines).split(" ", 3)[3], '{"online":false}')
    expect(shadow(server, device)["state"]["reported"], {"online": False})


@story.check
def is_told_why(server):
    """What cannot be kept is told on config/rejected, and changes nothing"""
    device = server.enrol("acme", "light-3")
    rejected = f"devices/{device.name}/config/rejected"
    publish(server, device, reported(device), '{"a":1}', "-q", "1")
    # One name is one connection: the session that asks for refusals waits while the other program reports.
    run(["mosquitto_sub", *options(server, device, "-c", "-q", "1", "-t", rejected, "-E")], timeout=30)
    publish(server, device, reported(device), "{nonsense", "-q", "1", "-c")
    with Subscriber(server, device, "-c", "-q", "1", "-t", rejected) as subscriber:
        topic, _, _, body = within(subscriber.lines).split(" ", 3)
        told = json.loads(body)
        expect((topic, told["code"], told["message"]), (rejected, 400, "Invalid JSON"))
    neighbour = server.enrol("acme", "light-3-neighbour")
    denied = publish(server, neighbour, reported(device), "{}", "-q", "1", "-V", "mqttv5", check=False)
    holds(b"ot authorized" in denied.stdout + denied.stderr, f"a neighbour reported: {denied}")
    expect(shadow(server, device)["state"]["reported"], {"a": 1})


@story.check
def cannot_want(server):
    """A device does not say what is wanted of it, retained or not"""
    device = server.enrol("acme", "light-4")
    want(server, device, {"interval": 60})
    for more in ((), ("-r",)):
        denied = publish(server, device, desired(device), "{}", "-q", "1", "-V", "mqttv5", *more, check=False)
        holds(b"ot authorized" in denied.stdout + denied.stderr, f"it was accepted: {denied}")
    with Subscriber(server, device, "-q", "1", "-t", desired(device)) as subscriber:
        expect(within(subscriber.lines), f'{desired(device)} 1 1 {{"interval":60}}')


@story.check
def outlives_the_server(server):
    """A server that is killed has both again, and its database has the last word"""
    device = server.enrol("acme", "light-5")
    want(server, device, {"interval": 60})
    publish(server, device, reported(device), '{"interval":60}', "-q", "1")
    server.kill()
    server.start()
    with Subscriber(server, device, "-q", "1", "-t", f"devices/{device.name}/config/#") as subscriber:
        both = sorted([within(subscriber.lines), within(subscriber.lines)])
        expect(both, [f'{desired(device)} 1 1 {{"interval":60}}', f'{reported(device)} 1 1 {{"interval":60}}'])


@story.check
def has_a_past(server):
    """wardctl shows how the configuration came to be, and what goes to and fro"""
    device = server.enrol("acme", "light-6")
    want(server, device, {"channel": 6})
    for _ in range(3):
        publish(server, device, reported(device), '{"channel":1}', "-q", "1")
        publish(server, device, reported(device), '{"channel":6}', "-q", "1")
    history = server.ctl("shadow", "history", device.name, "--name", "config", tenant="acme")
    expect(len(history), 7)
    expect((history[-1]["patch"], history[-1]["actor"]["kind"]), ({"desired": {"channel": 6}}, "token"))
    expect((history[0]["patch"], history[0]["actor"]["name"]), ({"reported": {"channel": 6}}, device.name))
    expect([found["path"] for found in shadow(server, device)["oscillating"]], ["/channel"])
    events = server.ctl("event", "list", "--device", device.name, tenant="acme")
    holds("shadow.oscillating" in [event["action"] for event in events], events)
    publish(server, device, reported(device), '{"channel":1}', "-q", "1")
    holds("delta" not in shadow(server, device)["state"], "it is still asked for the channel")
    asked = server.ctl("shadow", "reassert", device.name, "--name", "config", tenant="acme")
    expect(asked, {"paths": ["/channel"]})
    expect(shadow(server, device)["state"]["delta"], {"channel": 6})


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
