"""Commands: the AWS IoT SDK's MQTT 5 and 3.1.1 clients on the topics that AWS has for them, curl for a device without MQTT, and
our agent. The Python SDK has no commands client of its own as of 1.31: its subscriptions are made here as the C++ one makes them."""

import contextlib
import json
import os
import queue
import signal
import sys

from awscrt import mqtt, mqtt5
from fleet.agent import agent, operation
from fleet.aws import WAIT, WAYS, Front, connect3, connect5
from fleet.server import Server, programs, run
from fleet.story import Story, expect, holds, until, within

story = Story("commands")
front = Front()
SOON = {"min_reconnect_delay_ms": 1000, "max_reconnect_delay_ms": 1000}


def topic(device, execution, rest, kind="things"):
    return f"$aws/commands/{kind}/{device.name}/executions/{execution}/{rest}"


def send(server, device, op, *arguments):
    return server.ctl("command", "send", op, "--device", device.name, *arguments, tenant="acme")[0]


def show(server, device, command):
    return server.ctl("command", "show", device.name, command, tenant="acme")


def status(server, device, command, wanted):
    return until(lambda: (it := show(server, device, command))["status"] == wanted and it, f"{command} is {wanted}")


class Sdk5:
    """A device with the SDK's MQTT 5 client: requests go to one queue, acknowledgements to another."""

    def __init__(self, at, device, **options):
        self.device, self.requests, self.acks = device, queue.Queue(), queue.Queue()
        self.client = connect5(at, device, on_publish_received=self.heard, **options)

    def heard(self, data):
        packet = data.publish_packet
        (self.acks if "/response/" in packet.topic else self.requests).put(packet)

    def subscribe(self, *rests):
        filters = [topic(self.device, "+", rest) for rest in rests]
        wanted = [mqtt5.Subscription(it, mqtt5.QoS.AT_LEAST_ONCE) for it in filters]
        codes = self.client.subscribe(mqtt5.SubscribePacket(wanted)).result(WAIT).reason_codes
        holds(all(code <= 2 for code in codes), f"subscriptions refused: {codes}")

    def request(self, what="a request"):
        packet = within(self.requests, WAIT, what)
        return packet.topic.split("/")[5], packet

    def answer(self, execution, **body):
        packet = mqtt5.PublishPacket(
            topic=topic(self.device, execution, "response/json"), payload=json.dumps(body), qos=mqtt5.QoS.AT_LEAST_ONCE
        )
        self.client.publish(packet).result(WAIT)
        ack = within(self.acks, WAIT, "an acknowledgement")
        return ack.topic.split("/")[-2], json.loads(ack.payload)

    def nothing(self):
        """Nothing more comes: what a round trip later is not there was not sent before it."""
        packet = mqtt5.PublishPacket(topic=self.device.topic("ping"), payload="", qos=mqtt5.QoS.AT_LEAST_ONCE)
        self.client.publish(packet).result(WAIT)
        holds(self.requests.empty(), "a request that should not be there")

    def stop(self):
        self.client.stop()


@front.each_way(story, [way for way in WAYS if way.five])
def in_order_with_content_type_and_expiry(server, way, line):
    """Sent while away; delivered in order, one in a lane, with MQTT 5 content type and message expiry; results kept"""
    device = server.enrol("acme", f"cmd-order-{way.slug}")
    first = send(server, device, "restart", "--payload", '{"n": 1}', "--ttl", "10m")
    second = send(server, device, "restart", "--payload", '{"n": 2}')
    other = send(server, device, "measure", "--lane", "fast")
    sdk = Sdk5(line, device)
    sdk.subscribe("request/json", "response/accepted/json", "response/rejected/json")
    heard = dict([sdk.request(), sdk.request()])
    expect(set(heard), {first["id"], other["id"]}, "one of each lane")
    packet = heard[first["id"]]
    expect((json.loads(packet.payload), packet.content_type), ({"n": 1}, "application/json"))
    holds(500 < packet.message_expiry_interval_sec <= 600, f"expiry {packet.message_expiry_interval_sec}")
    user = {it.name: it.value for it in packet.user_properties}
    expect((user["op"], user["attempt"], user["lane"]), ("restart", "1", "default"))
    sdk.nothing()
    expect(sdk.answer(first["id"], status="IN_PROGRESS"), ("accepted", {"executionId": first["id"]}))
    sdk.nothing()
    reason = {"reasonCode": "NO_DISK", "reasonDescription": "the disk is full"}
    result = {"free": {"s": "0"}, "ok": {"b": False}, "log": {"bin": "AQI="}}
    expect(sdk.answer(first["id"], status="FAILED", statusReason=reason, result=result)[0], "accepted")
    expect(sdk.request()[0], second["id"], "its end lets the next one go")
    kept = show(server, device, first["id"])
    expect((kept["status"], kept["reason"], kept["result"]), ("failed", {"code": "NO_DISK", "text": "the disk is full"}, result))
    expect(sdk.answer(first["id"], status="FAILED", statusReason=reason, result=result)[0], "accepted", "the same twice")
    refused, body = sdk.answer(first["id"], status="SUCCEEDED")
    expect((refused, body["error"], body["executionId"]), ("rejected", "TerminalStateReached", first["id"]))
    refused, body = sdk.answer("unknown", status="SUCCEEDED")
    expect((refused, body["error"]), ("rejected", "ResourceNotFound"))
    sdk.stop()


@story.check
def expired_ones_never_arrive(server):
    """One that expires while its device is away is never delivered, and those that need it are canceled"""
    device = server.enrol("acme", "cmd-expiry")
    gone = send(server, device, "open-valve", "--ttl", "1s", "--cancel-lane")
    behind = send(server, device, "close-valve")
    stays = send(server, device, "measure", "--lane", "fast")
    status(server, device, gone["id"], "expired")
    expect(show(server, device, behind["id"])["reason"]["code"], "LANE_BROKEN")
    sdk = Sdk5(server, device)
    sdk.subscribe("request/json")
    expect(sdk.request()[0], stays["id"])
    sdk.nothing()
    sdk.stop()


@story.check
def taken_back_and_superseded(server):
    """Cancel, by force where the device has it; the newest of a kind takes the place of what waits"""
    device = server.enrol("acme", "cmd-cancel")
    first = send(server, device, "set", "--dedupe", "led", "--payload", "1")
    second = send(server, device, "set", "--dedupe", "led", "--payload", "2")
    third = send(server, device, "after")
    server.ctl("command", "cancel", third["id"], "--device", device.name, tenant="acme")
    sdk = Sdk5(server, device)
    sdk.subscribe("request/json", "response/rejected/json", "response/accepted/json")
    name, packet = sdk.request()
    expect((name, packet.payload), (second["id"], b"2"))
    expect(show(server, device, first["id"])["status"], "superseded")
    expect(server.ctl("command", "cancel", second["id"], "--device", device.name, tenant="acme", check=False), None)
    forced = server.ctl("command", "cancel", second["id"], "--device", device.name, "--force", tenant="acme")
    expect((forced["status"], show(server, device, third["id"])["status"]), ("canceled", "canceled"))
    expect(sdk.answer(second["id"], status="SUCCEEDED")[1]["error"], "TerminalStateReached")
    sdk.nothing()
    sdk.stop()


@story.proves("resume", "5/8883")
def queued_over_a_restart(server):
    """The server is killed with commands queued, sent and running: none is lost, timers go on, a session that was kept is told"""
    device = server.enrol("acme", "cmd-restart")
    options = {"session_behavior": mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS}
    sdk = Sdk5(server, device, **options)
    sdk.subscribe("request/json", "response/accepted/json")
    running = send(server, device, "long", "--run-timeout", "2s")
    expect(sdk.request()[0], running["id"])
    sdk.answer(running["id"], status="IN_PROGRESS")
    queued = send(server, device, "next")
    sent = send(server, device, "other", "--lane", "fast")
    expect(sdk.request()[0], sent["id"])
    sdk.stop()
    server.kill()
    server.start()
    status(server, device, running["id"], "timed_out")
    expect(show(server, device, queued["id"])["status"], "queued", "nobody is there")
    sdk = Sdk5(server, device, **options)
    sdk.subscribe("request/json", "response/accepted/json")
    heard = {}
    while len(heard) < 2:
        name, packet = sdk.request()
        heard[name] = {it.name: it.value for it in packet.user_properties}["attempt"]
    expect(heard, {queued["id"]: "1", sent["id"]: "2"}, "what was sent and not answered goes again")
    expect(sdk.answer(running["id"], status="SUCCEEDED")[0], "accepted", "a late word counts")
    expect(show(server, device, running["id"])["status"], "succeeded")
    sdk.stop()


@front.each_way(story, [way for way in WAYS if way.five], proves="reconnect")
def over_a_lost_line(server, way, line):
    """What is sent while its line is cut comes when it is back by itself, once; what it was working on it answers after that"""
    device = server.enrol("acme", f"cmd-cut-{way.slug}")
    sdk = Sdk5(line, device, **SOON, session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS, session_expiry_interval_sec=3600)
    sdk.subscribe("request/json", "response/accepted/json")
    running = send(server, device, "long", "--lane", "slow")
    expect(sdk.request()[0], running["id"])
    sdk.answer(running["id"], status="IN_PROGRESS")
    line.cut()
    missed = send(server, device, "next")
    line.mend()
    expect(sdk.request()[0], missed["id"])
    expect(sdk.answer(missed["id"], status="SUCCEEDED")[0], "accepted")
    expect(sdk.answer(running["id"], status="SUCCEEDED")[0], "accepted")
    sdk.nothing()
    status(server, device, running["id"], "succeeded")
    status(server, device, missed["id"], "succeeded")
    sdk.stop()


@front.each_way(story, [way for way in WAYS if not way.five])
def mqtt_311_and_bytes(server, way, line):
    """MQTT 3.1.1 with the SDK's first client: any bytes on the topic without a format, under clients/"""
    device = server.enrol("acme", f"cmd-{way.slug}")
    heard, once = queue.Queue(), mqtt.QoS.AT_LEAST_ONCE
    connection = connect3(line, device)
    filters = topic(device, "+", "request", "clients")
    connection.subscribe(filters, once, lambda topic, payload, **_: heard.put((topic, payload)))[0].result(WAIT)
    file = server.folder / "bytes"
    file.write_bytes(bytes([0, 159, 146, 150]))
    sent = send(server, device, "blob", "--file", file, "--content-type", "application/octet-stream")
    name, payload = within(heard, WAIT)
    expect((name, bytes(payload)), (topic(device, sent["id"], "request", "clients"), bytes([0, 159, 146, 150])))
    connection.publish(topic(device, sent["id"], "response/json", "clients"), '{"status":"SUCCEEDED"}', once)[0].result(WAIT)
    status(server, device, sent["id"], "succeeded")
    connection.disconnect().result(WAIT)


@story.check
def polled_by_curl(server):
    """A device without MQTT polls over HTTPS and answers there"""
    device = server.enrol("acme", "cmd-poll")

    def ask(path, body=None):
        command = ["curl", "-sS", "--cacert", device.ca, "--cert", device.cert, "--key", device.key, "-w", "\n%{http_code}"]
        command += ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)] if body else []
        said, code = run([*command, f"{server.device_url}{path}"]).stdout.decode().rsplit("\n", 1)
        return int(code), json.loads(said)

    sent = send(server, device, "restart", "--payload", '{"n": 1}')
    todo = ask("/v1/commands")[1]["commands"]
    expect([(it["id"], it["payload"]) for it in todo], [(sent["id"], {"n": 1})])
    expect(ask("/v1/commands")[1]["commands"], [], "its answer is waited for")
    path = f"/v1/commands/{sent['id']}/response"
    expect(ask(path, {"status": "succeeded", "version": todo[0]["version"], "result": {"pid": {"s": "7"}}})[0], 200)
    expect(ask(path, {"status": "failed"})[0], 409)
    expect(show(server, device, sent["id"])["result"], {"pid": {"s": "7"}})


class Named:
    def __init__(self, name):
        self.name = name


@story.check
def the_agent_runs_named_operations(server):
    """The agent runs what lies in its directory, with the payload as input, and says what came of it; nothing else runs"""
    device = Named("cmd-agent")
    token = server.enrol_token("acme", device.name, "--hardware", "rev-a")
    operation(server, device.name, "echo", "cat")
    operation(server, device.name, "fails", "echo no disk >&2; exit 3")
    good = send(server, device, "echo", "--payload", '{"n": 1}')
    bad = send(server, device, "fails")
    unknown = send(server, device, "sh")
    with agent(server, device.name, token):
        done = status(server, device, good["id"], "succeeded")
        expect(json.loads(done["result"]["output"]["s"]), {"n": 1})
        failed = status(server, device, bad["id"], "failed")
        holds("no disk" in failed["reason"]["text"], failed["reason"])
        expect(status(server, device, unknown["id"], "rejected")["reason"]["code"], "UNKNOWN_OPERATION")


@story.check
def the_agent_is_killed_in_the_middle(server):
    """The agent is killed while operations run: each goes by its policy, and nothing runs twice unasked"""
    device = Named("cmd-killed")
    token = server.enrol_token("acme", device.name, "--hardware", "rev-a")
    runs = server.folder / f"agent-{device.name}" / "runs"
    for op, policy in (("once", None), ("again", "rerun_if_idempotent"), ("resumed", "resume"), ("reboot", "reboots")):
        # It hangs where it is not told to go on. The group is ended, as a service manager does it.
        hang = "exit 0" if op == "reboot" else '[ "$FLEETWARD_RESUMES" = 1 ] || exec sleep 600'
        operation(server, device.name, op, f'echo "{op} $FLEETWARD_RESUMES $$" >> {runs}; {hang}', policy)
    sent = {op: send(server, device, op, "--lane", op)["id"] for op in ("once", "again", "resumed", "reboot")}

    def ran():
        return [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []

    with agent(server, device.name, token) as child:
        until(lambda: len(ran()) == 4, "four programs run")
        for command in sent.values():
            status(server, device, command, "running")
        child.send_signal(signal.SIGKILL)
        child.wait()
    for op, _, pid in ran():
        if op != "reboot":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    with agent(server, device.name, token, boot="boot-2"):
        expect(status(server, device, sent["once"], "failed")["reason"]["code"], "OUTCOME_UNKNOWN")
        for op in ("again", "resumed", "reboot"):
            status(server, device, sent[op], "succeeded")
    found = sorted((op, resumes) for op, resumes, _ in ran())
    expect(found, sorted([("once", "0"), ("again", "0"), ("again", "1"), ("resumed", "0"), ("resumed", "1"), ("reboot", "0")]))


@story.check
def followed_by_wardctl(server):
    """`wardctl command send --follow` waits for the end; its exit code says how it was"""
    device = Named("cmd-agent")
    token = "unused"
    with agent(server, device.name, token):
        done = server.ctl("command", "send", "echo", "--device", device.name, "--payload", "1", "--follow", tenant="acme")
        expect(done["status"], "succeeded")
        env = {
            "FLEETWARD_URL": server.endpoints["operator_url"],
            "FLEETWARD_CA_FILE": str(server.ca),
            "FLEETWARD_TOKEN": server.token,
            "FLEETWARD_TENANT": "acme",
        }
        command = [programs() / "wardctl", "command", "send", "fails", "--device", device.name, "--follow"]
        expect(run(command, env=env, check=False).returncode, 10)
    listed = server.ctl("command", "list", device.name, "--status", "failed", tenant="acme")
    holds(len(listed) >= 2, listed)


def main():
    try:
        with Server(arguments=front.arguments) as server:
            server.tenant("acme")
            story.tell(server)
    except SystemExit as told:
        # As in aws_iot_sdk.py: the SDK's native threads sometimes crash while the interpreter is taken down.
        sys.stdout.flush()
        os._exit(int(told.code or 0))


if __name__ == "__main__":
    main()
