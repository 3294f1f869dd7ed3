"""The jobs clients of the AWS IoT device SDK, unmodified, on a job with a document of one's own; the same by HTTPS; and our agent,
which works on such documents as the AWS IoT Device Client does."""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time

import awsiot
from awscrt import mqtt, mqtt5
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import iotjobs
from fleet import matrix
from fleet.agent import agent, folder, operation
from fleet.aws import WAIT, WAYS, Front, connect, connect3, connect5, end, keep, rejected
from fleet.server import Server, programs, run
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


class Named:
    def __init__(self, name):
        self.name = name


def steps(*handlers, last=None, **more):
    """A document as the AWS IoT Device Client reads it; a step is a handler, or a handler with its arguments."""

    def action(handler, *args):
        return {"action": {"name": f"do {handler}", "type": "runHandler", "input": {"handler": handler, "args": args, "path": "default"}}}

    document = {"version": "1.0", "includeStdOut": True, "steps": [action(*([it] if isinstance(it, str) else it)) for it in handlers]}
    return {**document, **({"finalStep": action(last)} if last else {}), **more}


def execution(server, job, status, number=1):
    def found():
        rows = server.ctl("job", "executions", job, tenant="acme")
        return next((row for row in rows if row["number"] == number and row["status"] == status), None)

    return until(found, f"{job} is {status}")


def wardctl(server, *arguments):
    env = {
        "FLEETWARD_URL": server.endpoints["operator_url"],
        "FLEETWARD_CA_FILE": str(server.ca),
        "FLEETWARD_TOKEN": server.token,
        "FLEETWARD_TENANT": "acme",
    }
    return run([programs() / "wardctl", *arguments], env=env, check=False)


@story.check
def our_agent_runs_handlers(server):
    """Our agent: handlers of the owner's directory one after the other, what they write, and what the owner does not allow"""
    device = Named("job-agent")
    token = server.enrol_token("acme", device.name, "--hardware", "rev-a")
    runs = folder(server, device.name) / "runs"
    operation(server, device.name, "note", f'echo "$FLEETWARD_JOB $2" >> {runs}; echo "noted $2"')
    operation(server, device.name, "fails", "echo no disk >&2; exit 3")
    command = {"action": {"name": "greet", "type": "runCommand", "input": {"command": "echo,Hello World"}}}
    other = {"action": {"name": "greet", "type": "runCommand", "input": {"command": "echo,Goodbye"}}}
    with agent(server, device.name, token, "--job-command", "echo,Hello World"):
        good = steps(["note", "one"], ["note", "two"], last="note")
        create(server, "good", device.name, document={**good, "steps": [*good["steps"], command]})
        done = execution(server, "good", "succeeded")
        expect(done["detail"], {"step": "4/4 do note", "stdout": "noted one noted two Hello World noted"})
        holds(done["due_at"] is None, "its timers are gone")
        expect(runs.read_text().splitlines(), ["good one", "good two", "good "])
        create(server, "failing", device.name, document=steps("fails", ["note", "never"]))
        failed = execution(server, "failing", "failed")["detail"]
        holds("no disk" in failed["reason"] and failed["step"] == "1/2 do fails", failed)
        for job, document, why in (
            ("unknown", steps(["note", "never"], "sh"), "there is no handler sh here"),
            ("elsewhere", steps("../note"), "name cannot be that of a handler"),
            ("forbidden", {"version": "1.0", "steps": [other]}, "does not allow that command"),
            ("nonsense", {"hello": "world"}, "no list of steps"),
        ):
            create(server, job, device.name, document=document)
            reason = execution(server, job, "rejected")["detail"]["reason"]
            holds(why in reason, reason)
    expect(len(runs.read_text().splitlines()), 3, "nothing else ran")


@story.check
def our_agent_is_killed_in_the_middle(server):
    """Killed in its second step, our agent goes on there where the handler knows how, and says so where it does not"""
    device = Named("job-killed")
    token = server.enrol_token("acme", device.name, "--hardware", "rev-a")
    runs = folder(server, device.name) / "runs"
    # It hangs where it is not told to go on. It is ended with the agent, as a service manager does it.
    for op, policy in (("first", None), ("goes-on", "resume"), ("once", None), ("last", None)):
        hang = '[ "$FLEETWARD_RESUMES" = 1 ] || [ "$FLEETWARD_JOB_TRY" = 2 ] || exec sleep 600' if op in ("goes-on", "once") else ":"
        operation(server, device.name, op, f'echo "$FLEETWARD_JOB $FLEETWARD_JOB_TRY {op} $FLEETWARD_RESUMES $$" >> {runs}; {hang}', policy)

    def ran(job):
        lines = [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []
        return [line for line in lines if line[0] == job]

    def killed_in(job):
        with agent(server, device.name, token) as child:
            until(lambda: len(ran(job)) == 2, "the second step")
            shown = execution(server, job, "in_progress")
            until(lambda: execution(server, job, "in_progress")["detail"]["step"].startswith("2/3"), "its step is told")
            holds(shown["due_at"] is not None, "the server waits for it no longer than its step may take")
            child.send_signal(signal.SIGKILL)
            child.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(ran(job)[-1][4]), signal.SIGKILL)

    create(server, "resumed", device.name, document=steps("first", "goes-on", "last"))
    killed_in("resumed")
    with agent(server, device.name, token):
        execution(server, "resumed", "succeeded")
    expect([line[2:4] for line in ran("resumed")], [["first", "0"], ["goes-on", "0"], ["goes-on", "1"], ["last", "0"]])

    create(server, "unknown-end", device.name, "--retries", "1", document=steps("first", "once", "last"))
    killed_in("unknown-end")
    with agent(server, device.name, token):
        failed = execution(server, "unknown-end", "failed")["detail"]
        holds("did not see its end" in failed["reason"], failed)
        execution(server, "unknown-end", "succeeded", number=2)
        shown = wardctl(server, "job", "show", "unknown-end", "--follow")
        expect(shown.returncode, 0)
        holds(b"1 succeeded" in shown.stdout, shown.stdout)
    tries = [["1", "first"], ["1", "once"], ["2", "first"], ["2", "once"], ["2", "last"]]
    expect([line[1:3] for line in ran("unknown-end")], tries, "a try that was asked for, and nothing of it before")


@story.check
def waited_for_by_wardctl(server):
    """`wardctl job create --wait` shows how far a job is; its exit code and its last JSON say how it ended"""
    device = Named("job-agent")
    for job, handler, code, status in (("waited", "note", 0, "succeeded"), ("waited-bad", "fails", 8, "failed")):
        file = server.folder / f"{job}.json"
        file.write_text(json.dumps(steps(handler)))
        with agent(server, device.name, "unused"):
            done = wardctl(server, "-o", "json", "job", "create", job, "--document", file, "--device", device.name, "--wait")
        expect(done.returncode, code)
        shown = json.loads(done.stdout)
        expect((shown["id"], shown["status"], shown["counts"][status]), (job, "completed", 1))


@story.check
def a_watcher_hears_events(server):
    """Job events on AWS's topics, for a client that a topic policy lets hear them; a device of the fleet is refused"""
    watcher, device = server.enrol("acme", "aws-watcher"), server.enrol("acme", "aws-watched")
    document = server.folder / "watch.json"
    statement = {"effect": "allow", "actions": ["subscribe", "receive"], "topics": ["$aws/events/#"]}
    document.write_text(json.dumps({"statements": [statement]}))
    server.ctl("topic-policy", "create", "watch", "--document", document, tenant="acme")
    server.ctl("topic-policy", "attach", "watch", "--device", watcher.name, tenant="acme")
    server.ctl("tenant", "policy", "set", "jobs.events=true", tenant="acme")
    heard = queue.Queue()
    client = connect5(server, watcher, on_publish_received=lambda data: heard.put(data.publish_packet))

    def subscribe(of, *topics):
        wanted = [mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE) for topic in topics]
        return [int(code) for code in of.subscribe(mqtt5.SubscribePacket(wanted)).result(WAIT).reason_codes]

    expect(subscribe(client, "$aws/events/job/#", "$aws/events/jobExecution/+/succeeded"), [1, 1])
    connection = connect5(server, device)
    expect(subscribe(connection, "$aws/events/#"), [0x87])
    jobs = iotjobs.IotJobsClientV2(connection, ClientOptions(4, 2, WAIT))
    create(server, "watched", device.name)
    start = iotjobs.StartNextPendingJobExecutionRequest(thing_name=device.name)
    until(lambda: jobs.start_next_pending_job_execution(start).result(WAIT).execution, "the job")
    done = iotjobs.UpdateJobExecutionRequest(thing_name=device.name, job_id="watched", status="SUCCEEDED", status_details={"a": "b"})
    jobs.update_job_execution(done).result(WAIT)

    def event(topic):
        packet = within(heard, WAIT, topic)
        expect(packet.topic, topic)
        return json.loads(packet.payload)

    execution = event("$aws/events/jobExecution/watched/succeeded")
    expect((execution["eventType"], execution["status"], execution["statusDetails"]), ("JOB_EXECUTION", "SUCCEEDED", {"a": "b"}))
    holds(execution["thingArn"].endswith(f":thing/{device.name}"), execution)
    job = event("$aws/events/job/watched/completed")
    expect((job["status"], job["jobProcessDetails"]["numberOfSucceededThings"]), ("COMPLETED", 1))
    client.stop()
    connection.stop()


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
