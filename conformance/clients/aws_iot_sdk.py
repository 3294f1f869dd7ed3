"""The AWS IoT device SDK for Python, unmodified but for its endpoint, on the ports that it knows: the shared story with its
connections, and its clients of shadow and jobs, both generations."""

import os
import queue
import sys
import threading

import awsiot
from awscrt import mqtt
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import iotjobs, iotshadow
from fleet import matrix
from fleet.aws import WAIT, WAYS, Front, adapter, connect, connect3, end, keep, rejected
from fleet.server import Server, run
from fleet.story import Story, expect, holds, within

story = Story("awsiotsdk")
front = Front()
THREES = [way for way in WAYS if not way.five]
HARDWARE = "rev-a"


def update(device, desired=None, reported=None, version=None):
    state = iotshadow.ShadowState(desired=desired, reported=reported)
    return iotshadow.UpdateShadowRequest(thing_name=device.name, state=state, version=version)


matrix.tell(story, adapter, WAYS, front.line)


@front.each_way(story, THREES)
def shadow_first_generation(server, way, line):
    """IotShadowClient gets, updates, hears the delta, and deletes"""
    device = server.enrol("acme", f"aws-v1-{way.slug}")
    connection = connect3(line, device)
    client = iotshadow.IotShadowClient(connection)
    heard = {name: queue.Queue() for name in ("get", "no-get", "update", "no-update", "delta", "documents", "delete")}
    thing, once = {"thing_name": device.name}, mqtt.QoS.AT_LEAST_ONCE
    for subscribe, request, box in (
        (client.subscribe_to_get_shadow_accepted, iotshadow.GetShadowSubscriptionRequest, "get"),
        (client.subscribe_to_get_shadow_rejected, iotshadow.GetShadowSubscriptionRequest, "no-get"),
        (client.subscribe_to_update_shadow_accepted, iotshadow.UpdateShadowSubscriptionRequest, "update"),
        (client.subscribe_to_update_shadow_rejected, iotshadow.UpdateShadowSubscriptionRequest, "no-update"),
        (client.subscribe_to_shadow_delta_updated_events, iotshadow.ShadowDeltaUpdatedSubscriptionRequest, "delta"),
        (client.subscribe_to_shadow_updated_events, iotshadow.ShadowUpdatedSubscriptionRequest, "documents"),
        (client.subscribe_to_delete_shadow_accepted, iotshadow.DeleteShadowSubscriptionRequest, "delete"),
    ):
        subscribe(request(**thing), once, heard[box].put)[0].result(WAIT)

    client.publish_get_shadow(iotshadow.GetShadowRequest(**thing, client_token="t1"), once).result(WAIT)
    refused = within(heard["no-get"], WAIT)
    expect((refused.code, refused.client_token), (404, "t1"))
    holds("No shadow exists with name" in refused.message, refused.message)

    client.publish_update_shadow(update(device, desired={"light": {"on": True}}), once).result(WAIT)
    expect(within(heard["delta"], WAIT).state, {"light": {"on": True}})
    accepted = within(heard["update"], WAIT)
    expect((accepted.version, accepted.state.desired), (1, {"light": {"on": True}}))
    expect(within(heard["documents"], WAIT).current.version, 1)

    client.publish_update_shadow(update(device, reported={"light": {"on": True}}), once).result(WAIT)
    expect(within(heard["update"], WAIT).version, 2)

    client.publish_update_shadow(update(device, reported={"x": 1}, version=1), once).result(WAIT)
    expect(within(heard["no-update"], WAIT).code, 409)

    client.publish_get_shadow(iotshadow.GetShadowRequest(**thing), once).result(WAIT)
    whole = within(heard["get"], WAIT)
    expect((whole.version, whole.state.reported, whole.state.delta), (2, {"light": {"on": True}}, None))

    client.publish_delete_shadow(iotshadow.DeleteShadowRequest(**thing), once).result(WAIT)
    within(heard["delete"], WAIT)
    connection.disconnect().result(WAIT)


@front.each_way(story)
def shadow_second_generation(server, way, line):
    """IotShadowClientV2: the same with requests and responses, which the SDK matches by their client tokens"""
    device = server.enrol("acme", f"aws-v2-{way.slug}")
    connection = connect(line, device, way)
    client = keep(iotshadow.IotShadowClientV2(connection, ClientOptions(4, 2, WAIT)))
    thing = {"thing_name": device.name}
    deltas, subscribed = queue.Queue(), threading.Event()

    def status(event):
        if event.type == SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED:
            subscribed.set()

    stream = keep(client.create_shadow_delta_updated_stream(
        iotshadow.ShadowDeltaUpdatedSubscriptionRequest(**thing), awsiot.ServiceStreamOptions(deltas.put, status)
    ))
    stream.open()
    holds(subscribed.wait(WAIT), "the delta stream was not established")
    expect(rejected(client.get_shadow(iotshadow.GetShadowRequest(**thing))).code, 404)
    expect(client.update_shadow(update(device, desired={"a": 1, "b": {"c": [1, 2]}})).result(WAIT).version, 1)
    expect(within(deltas, WAIT).state, {"a": 1, "b": {"c": [1, 2]}})
    expect(client.update_shadow(update(device, reported={"a": 1})).result(WAIT).version, 2)
    answer = client.get_shadow(iotshadow.GetShadowRequest(**thing)).result(WAIT)
    expect(answer.state.delta, {"b": {"c": [1, 2]}})
    expect(rejected(client.update_shadow(update(device, reported={"a": 2}, version=1))).code, 409)
    deep = {"1": {"2": {"3": {"4": {"5": {"6": {"7": 1}}}}}}}
    expect(rejected(client.update_shadow(update(device, reported=deep))).code, 400)
    expect(rejected(client.update_shadow(update(device, reported={"x": "y" * 9000}))).code, 413)
    client.delete_shadow(iotshadow.DeleteShadowRequest(**thing)).result(WAIT)
    expect(rejected(client.get_shadow(iotshadow.GetShadowRequest(**thing))).code, 404)
    # The version goes on counting after a delete.
    expect(client.update_shadow(update(device, reported={"a": 1})).result(WAIT).version > 2, True, "version goes on")
    end(connection)


@front.each_way(story, proves="reconnect")
def the_stream_comes_back(server, way, line):
    """IotShadowClientV2: after a cut, and after a server that is killed, its stream stands again and its requests are answered"""
    device = server.enrol("acme", f"aws-back-{way.slug}")
    connection = connect(line, device, way, soon=True)
    client = keep(iotshadow.IotShadowClientV2(connection, ClientOptions(4, 2, WAIT)))
    deltas, states = queue.Queue(), queue.Queue()
    stream = keep(client.create_shadow_delta_updated_stream(
        iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=device.name),
        awsiot.ServiceStreamOptions(deltas.put, lambda event: states.put(event.type)),
    ))
    stream.open()
    expect(within(states, WAIT), SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED)

    def killed():
        server.kill()
        server.start()

    for number, loss in enumerate((line.cut, killed)):
        loss()
        line.mend()
        # Its session was a clean one: it says that its subscription is lost, and makes it again.
        expect(within(states, matrix.RETURN), SubscriptionStatusEventType.SUBSCRIPTION_LOST)
        expect(within(states, matrix.RETURN), SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED)
        server.ctl("shadow", "set", device.name, f'{{"n": {number}}}', tenant="acme")
        expect(within(deltas, WAIT).state, {"n": number})
        expect(client.update_shadow(update(device, reported={"n": number})).result(WAIT).version, 2 * number + 2)
    end(connection)


@story.check
def operators_and_devices_share_the_shadow(server):
    """What an operator desires reaches the SDK as a delta; what it reports is seen by the operator"""
    device = server.enrol("acme", "aws-both")
    connection = connect3(server, device)
    client = iotshadow.IotShadowClient(connection)
    deltas, done = queue.Queue(), queue.Queue()
    thing, once = {"thing_name": device.name}, mqtt.QoS.AT_LEAST_ONCE
    subscribe = client.subscribe_to_shadow_delta_updated_events
    subscribe(iotshadow.ShadowDeltaUpdatedSubscriptionRequest(**thing), once, deltas.put)[0].result(WAIT)
    subscribe = client.subscribe_to_update_shadow_accepted
    subscribe(iotshadow.UpdateShadowSubscriptionRequest(**thing), once, done.put)[0].result(WAIT)
    server.ctl("shadow", "set", device.name, '{"interval_s": 30}', tenant="acme")
    expect(within(deltas, WAIT).state, {"interval_s": 30})
    client.publish_update_shadow(update(device, reported={"interval_s": 30}), once).result(WAIT)
    within(done, WAIT)
    seen = server.ctl("shadow", "get", device.name, tenant="acme")
    expect(seen["state"]["reported"], {"interval_s": 30})
    connection.disconnect().result(WAIT)


@front.each_way(story)
def jobs(server, way, line):
    """A deployment is a job: pending, start-next, progress, done; its artifact is what was released"""
    device = server.enrol("acme", f"aws-jobs-{way.slug}", "--hardware", HARDWARE)
    content, version = b"firmware two" * 1000, f"2.0.{WAYS.index(way)}"
    release = server.release("acme", version, content, HARDWARE)
    connection = connect(line, device, way)
    client = keep(iotjobs.IotJobsClientV2(connection, ClientOptions(4, 2, WAIT)))
    thing = {"thing_name": device.name}
    events, subscribed = queue.Queue(), threading.Event()
    stream = keep(client.create_next_job_execution_changed_stream(
        iotjobs.NextJobExecutionChangedSubscriptionRequest(**thing),
        awsiot.ServiceStreamOptions(events.put, lambda event: subscribed.set()),
    ))
    stream.open()
    holds(subscribed.wait(WAIT), "notify-next was not established")
    pending = client.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(**thing)).result(WAIT)
    expect((pending.in_progress_jobs, pending.queued_jobs), ([], []), "jobs before the rollout")

    rollout = server.rollout("acme", release, device.name)
    expect(within(events, WAIT, "notify-next").execution.job_id, rollout["id"])
    pending = client.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(**thing)).result(WAIT)
    expect([job.job_id for job in pending.queued_jobs], [rollout["id"]])

    started = client.start_next_pending_job_execution(
        iotjobs.StartNextPendingJobExecutionRequest(**thing, status_details={"step": "download"})
    ).result(WAIT)
    job = started.execution
    expect((job.job_id, job.status), (rollout["id"], "IN_PROGRESS"))
    document = job.job_document
    expect((document["operation"], document["release"]["version"]), ("update", version))
    curl = ["curl", "-fsS", "--cacert", device.ca, "--cert", device.cert, "--key", device.key, document["artifact"]["url"]]
    expect(run(curl).stdout, content, "the artifact")

    wrong = iotjobs.UpdateJobExecutionRequest(
        **thing, job_id=job.job_id, status="SUCCEEDED", expected_version=job.version_number + 7
    )
    expect(rejected(client.update_job_execution(wrong)).code, "VersionMismatch")
    done = iotjobs.UpdateJobExecutionRequest(
        **thing, job_id=job.job_id, status="SUCCEEDED", expected_version=job.version_number
    )
    client.update_job_execution(done).result(WAIT)
    again = client.start_next_pending_job_execution(iotjobs.StartNextPendingJobExecutionRequest(**thing)).result(WAIT)
    expect(again.execution, None, "nothing is left")
    end(connection)


def main():
    try:
        with Server(arguments=front.arguments) as server:
            server.tenant("acme")
            story.tell(server)
    except SystemExit as told:
        # Everything is checked and the server is gone. The SDK's native threads sometimes crash while the interpreter is
        # taken down (1.31, "unaligned fastbin chunk"), which says nothing about the server: so it is not taken down.
        sys.stdout.flush()
        os._exit(int(told.code or 0))


if __name__ == "__main__":
    main()
