"""The jobs clients of the AWS IoT device SDK, unmodified, on a job with a document of one's own; and the same by HTTPS."""

import json
import os
import queue
import sys
import threading
import time

import awsiot
from awscrt import mqtt
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import iotjobs
from fleet import matrix
from fleet.aws import WAIT, WAYS, Front, connect, connect3, end, keep, rejected
from fleet.server import Server, run
from fleet.story import Story, expect, holds, quiet, until, within

story = Story("awsiotsdk jobs")
front = Front()
THREES = [way for way in WAYS if not way.five]
# As the AWS IoT Device Client reads it.
DOCUMENT = {
    "version": "1.0",
    "steps": [{"action": {"name": "say", "type": "runHandler", "input": {"handler": "echo.sh", "args": ["hello"]}}}],
}
TIMED = "aws-timed"
begun = {}


def create(server, job, device, *arguments, document=None):
    file = server.folder / f"{job}.json"
    file.write_text(json.dumps(document or DOCUMENT))
    made = server.ctl("job", "create", job, "--document", file, "--device", device, *arguments, tenant="acme")
    expect(made["id"], job)
    return made


def next_events(client, device):
    """Queues of what `notify-next` says, once the subscription stands, and of how it stands after that."""
    events, states = queue.Queue(), queue.Queue()
    stream = keep(client.create_next_job_execution_changed_stream(
        iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=device.name),
        awsiot.ServiceStreamOptions(events.put, lambda event: states.put(event.type)),
    ))
    stream.open()
    expect(within(states, WAIT, "notify-next"), SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED)
    return events, states


@story.check
def a_timer_is_set(server):
    """A device begins a job with a step of one minute, and is not heard of again"""
    device = server.enrol("acme", TIMED)
    create(server, "timed", TIMED, "--timeout", "30m", "--retries", "1")
    connection = connect3(server, device)
    client = keep(iotjobs.IotJobsClientV2(connection, ClientOptions(4, 2, WAIT)))

    def start():
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=TIMED, step_timeout_in_minutes=1)
        return client.start_next_pending_job_execution(request).result(WAIT).execution

    job = until(start, "the job")
    begun["at"], begun["device"] = time.monotonic(), device
    expect((job.job_id, job.status, job.execution_number), ("timed", "IN_PROGRESS", 1))
    connection.disconnect().result(WAIT)


@front.each_way(story)
def a_job_from_end_to_end(server, way, line):
    """IotJobsClientV2: told, started, progress at its version, done; and nothing of a job that waits behind"""
    device = server.enrol("acme", f"aws-job-{way.slug}")
    hello, more = f"say-hello-{way.slug}", f"say-more-{way.slug}"
    connection = connect(line, device, way)
    client = keep(iotjobs.IotJobsClientV2(connection, ClientOptions(4, 2, WAIT)))
    thing = {"thing_name": device.name}
    events, _ = next_events(client, device)
    create(server, hello, device.name)
    told = within(events, WAIT, "notify-next").execution
    expect((told.job_id, told.status, told.version_number, told.job_document), (hello, "QUEUED", 1, DOCUMENT))
    create(server, more, device.name)
    pending = iotjobs.GetPendingJobExecutionsRequest(**thing)
    both = until(
        lambda: len(found := client.get_pending_job_executions(pending).result(WAIT).queued_jobs) == 2 and found, "both"
    )
    expect([job.job_id for job in both], [hello, more])

    start = iotjobs.StartNextPendingJobExecutionRequest(**thing, status_details={"step": "1"})
    job = client.start_next_pending_job_execution(start).result(WAIT).execution
    expect((job.job_id, job.status, job.version_number, job.job_document), (hello, "IN_PROGRESS", 2, DOCUMENT))
    quiet(events, what="the head has not changed")

    def update(status, version, **more):
        request = iotjobs.UpdateJobExecutionRequest(
            **thing, job_id=hello, status=status, expected_version=version, **more
        )
        return client.update_job_execution(request)

    wrong = rejected(update("SUCCEEDED", 7))
    expect((wrong.code, wrong.execution_state.version_number), ("VersionMismatch", 2))
    answer = update("IN_PROGRESS", 2, status_details={"step": "2"}, include_job_execution_state=True).result(WAIT)
    expect((answer.execution_state.version_number, answer.execution_state.status_details), (3, {"step": "2"}))
    update("SUCCEEDED", 3).result(WAIT)
    expect(within(events, WAIT, "the next head").execution.job_id, more)
    late = rejected(update("FAILED", 4))
    expect(late.code, "InvalidStateTransition")
    describe = iotjobs.DescribeJobExecutionRequest(**thing, job_id=hello)
    expect(rejected(client.describe_job_execution(describe)).code, "TerminalStateReached")

    server.ctl("job", "delete", more, "--force", tenant="acme")
    expect(within(events, WAIT, "the empty queue").execution, None)
    shown = until(lambda: (job := server.ctl("job", "show", hello, tenant="acme"))["status"] == "completed" and job, "its end")
    expect(shown["counts"]["succeeded"], 1)
    end(connection)


@front.each_way(story, proves="reconnect")
def a_job_over_lost_lines(server, way, line):
    """IotJobsClientV2: a job that came while the line was cut is there after it, and is finished over a server that is killed"""
    device = server.enrol("acme", f"aws-cut-{way.slug}")
    job = f"cut-{way.slug}"
    connection = connect(line, device, way, soon=True)
    client = keep(iotjobs.IotJobsClientV2(connection, ClientOptions(4, 2, WAIT)))
    _, states = next_events(client, device)

    def back():
        # Its session was a clean one: it says that its subscription is lost, and makes it again.
        expect(within(states, matrix.RETURN), SubscriptionStatusEventType.SUBSCRIPTION_LOST)
        expect(within(states, matrix.RETURN), SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED)

    line.cut()
    create(server, job, device.name)
    line.mend()
    back()
    start = iotjobs.StartNextPendingJobExecutionRequest(thing_name=device.name)
    begun = until(lambda: client.start_next_pending_job_execution(start).result(WAIT).execution, "the job")
    expect((begun.job_id, begun.status), (job, "IN_PROGRESS"))
    server.kill()
    server.start()
    back()
    request = iotjobs.UpdateJobExecutionRequest(
        thing_name=device.name, job_id=job, status="SUCCEEDED", expected_version=begun.version_number
    )
    client.update_job_execution(request).result(WAIT)
    rows = server.ctl("job", "executions", job, tenant="acme")
    expect([row["status"] for row in rows], ["succeeded"])
    end(connection)


@front.each_way(story, THREES)
def the_first_generation(server, way, line):
    """IotJobsClient: notify lists what is pending, and a rejected job leaves it"""
    device, job = server.enrol("acme", f"aws-v1-{way.slug}"), f"v1-{way.slug}"
    connection = connect3(line, device)
    client = iotjobs.IotJobsClient(connection)
    thing, once = {"thing_name": device.name}, mqtt.QoS.AT_LEAST_ONCE
    lists, updates = queue.Queue(), queue.Queue()
    request = iotjobs.JobExecutionsChangedSubscriptionRequest(**thing)
    client.subscribe_to_job_executions_changed_events(request, once, lists.put)[0].result(WAIT)
    request = iotjobs.UpdateJobExecutionSubscriptionRequest(**thing, job_id=job)
    client.subscribe_to_update_job_execution_accepted(request, once, updates.put)[0].result(WAIT)
    create(server, job, device.name)
    expect([job.job_id for job in within(lists, WAIT, "notify").jobs["QUEUED"]], [job])
    request = iotjobs.UpdateJobExecutionRequest(**thing, job_id=job, status="REJECTED", expected_version=1)
    client.publish_update_job_execution(request, once).result(WAIT)
    within(updates, WAIT, "the answer")
    expect(within(lists, WAIT, "notify").jobs, {})
    rows = server.ctl("job", "executions", job, tenant="acme")
    expect([(row["device"], row["status"]) for row in rows], [(device.name, "rejected")])
    connection.disconnect().result(WAIT)


@story.check
def by_https(server):
    """The jobs data plane over HTTPS: pending, $next, describe, update, and the codes of its refusals"""
    device = server.enrol("acme", "aws-job-https")
    create(server, "by-https", device.name)
    base = f"{server.device_url}/things/{device.name}/jobs"

    def ask(method, path="", body=None):
        command = ["curl", "-sS", "-X", method, "--cacert", device.ca, "--cert", device.cert, "--key", device.key]
        command += ["-D", "-", "-o", server.folder / "answer", f"{base}{path}"]
        command += ["--data", json.dumps(body)] if body is not None else []
        head = run(command).stdout.decode().lower().splitlines()
        kinds = [line.split(":")[1].strip() for line in head if line.startswith("x-amzn-errortype")]
        return int(head[0].split()[1]), "".join(kinds), json.loads((server.folder / "answer").read_text())

    pending = until(lambda: (found := ask("GET")[2]["queuedJobs"]) and found, "the job")
    expect(pending[0]["jobId"], "by-https")
    status, _, started = ask("PUT", "/$next", {"statusDetails": {"step": "1"}})
    expect((status, started["execution"]["status"], started["execution"]["versionNumber"]), (200, "IN_PROGRESS", 2))
    expect(json.loads(started["execution"]["jobDocument"]), DOCUMENT, "the document is a text here")
    _, _, without = ask("GET", "/by-https?includeJobDocument=false")
    expect("jobDocument" in without["execution"], False)
    expect(ask("POST", "/by-https", {"status": "QUEUED"})[:2], (400, "invalidrequestexception"))
    status, kind, wrong = ask("POST", "/by-https", {"status": "FAILED", "expectedVersion": 9})
    expect((status, kind, wrong["executionState"]["versionNumber"]), (409, "invalidstatetransitionexception", 2))
    status, _, done = ask("POST", "/by-https", {"status": "SUCCEEDED", "expectedVersion": "2", "includeJobExecutionState": True})
    expect((status, done["executionState"]["status"]), (200, "SUCCEEDED"))
    expect(ask("GET", "/by-https")[:2], (410, "terminalstateexception"))
    expect(ask("GET", "/nothing")[:2], (404, "resourcenotfoundexception"))
    expect(ask("PUT", "/$next", {})[2], {})


@story.check
def a_timer_outlives_the_server(server):
    """The step's minute passes over kill -9: the execution is timed out, and another try is first in the queue"""
    server.kill()
    server.start()
    device = begun["device"]
    connection = connect3(server, device)
    client = keep(iotjobs.IotJobsClientV2(connection, ClientOptions(4, 2, WAIT)))
    events, _ = next_events(client, device)
    told = within(events, 90, "the second try").execution
    passed = time.monotonic() - begun["at"]
    holds(passed >= 59, f"{passed:.0f} s")
    expect((told.job_id, told.status, told.execution_number), ("timed", "QUEUED", 2))
    rows = server.ctl("job", "executions", "timed", tenant="acme")
    expect([(row["number"], row["status"]) for row in rows], [(1, "timed_out"), (2, "queued")])
    late = iotjobs.UpdateJobExecutionRequest(
        thing_name=TIMED, job_id="timed", status="SUCCEEDED", execution_number=1, expected_version=2
    )
    expect(rejected(client.update_job_execution(late)).code, "VersionMismatch")
    server.ctl("job", "cancel", "timed", tenant="acme")
    expect(within(events, WAIT, "the empty queue").execution, None)
    connection.disconnect().result(WAIT)


def main():
    try:
        with Server(arguments=front.arguments) as server:
            server.tenant("acme")
            story.tell(server)
    except SystemExit as told:
        # As in aws_iot_sdk.py: the SDK's native threads do not always survive the end of the interpreter.
        sys.stdout.flush()
        os._exit(int(told.code or 0))


if __name__ == "__main__":
    main()
