"""AWS IoT's control plane with boto3 and the AWS CLI, unmodified: an endpoint, a CA bundle and an access key."""

import concurrent.futures
import datetime
import json
import pathlib
import queue
import sys

import boto3
import botocore.auth
import botocore.config
import botocore.exceptions
import paho.mqtt.client as mqtt
from fleet.line import Line
from fleet.server import Server, run
from fleet.story import Story, expect, holds, until, within

story = Story("aws-control")
TENANT, OTHER = "acme", "beta"
REGION = "eu-central-1"


def key(server, role="operator", tenant=TENANT, name="boto3"):
    made = server.ctl("access-key", "create", name, "--role", role, tenant=tenant)
    return made["id"], made["secret"]


def client(server, service="iot", access=None, url=None, attempts=0):
    id, secret = access or server.access
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=url or server.device_url,
        aws_access_key_id=id,
        aws_secret_access_key=secret,
        verify=str(server.ca),
        config=botocore.config.Config(retries={"max_attempts": attempts, "mode": "standard"}),
    )


def refused(call, **arguments):
    """What botocore makes of a refusal: the code, the status and the exception's own name."""
    try:
        answer = call(**arguments)
    except botocore.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return error.response["Error"]["Code"], status, type(error).__name__
    raise AssertionError(f"accepted: {answer}")


def request(server, name):
    private, der = server.key_and_request(name)
    return private, run(["openssl", "req", "-inform", "DER"], stdin=der).stdout.decode()


def connected(server, name, private, cert, version=mqtt.MQTTv5):
    """A connection with what AWS's clients were given, and the code it was answered with."""
    codes = queue.Queue()
    paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version)
    paho.tls_set(ca_certs=str(server.ca), certfile=str(cert), keyfile=str(private))
    paho.on_connect = lambda _c, _u, _f, code, _p: codes.put(code.value)
    paho.connect("localhost", server.mqtt_port)
    paho.loop_start()
    return paho, within(codes, 10, "CONNACK")


@story.check
def a_life(server):
    """boto3: type, thing, group, certificate, policy, shadow, job and search, from the first to the last of a thing"""
    iot, data = client(server), client(server, "iot-data")
    iot.create_thing_type(thingTypeName="bulb", thingTypeProperties={"thingTypeDescription": "a lamp"})
    made = iot.create_thing(
        thingName="lamp-1", thingTypeName="bulb", attributePayload={"attributes": {"watts": "60", "site": "berlin"}}
    )
    arn = made["thingArn"]
    holds(arn.startswith(f"arn:aws:iot:{REGION}:") and arn.endswith(":thing/lamp-1"), arn)
    thing = iot.describe_thing(thingName="lamp-1")
    expect((thing["thingTypeName"], thing["attributes"], thing["version"]), ("bulb", {"watts": "60", "site": "berlin"}, 1))
    expect(server.ctl("device", "show", "lamp-1", tenant=TENANT)["site"], "berlin", "the same in our own API")
    iot.update_thing(thingName="lamp-1", attributePayload={"attributes": {"watts": "40", "site": ""}, "merge": True})
    expect(iot.describe_thing(thingName="lamp-1")["attributes"], {"watts": "40"})

    iot.create_thing_group(thingGroupName="floor", thingGroupProperties={"thingGroupDescription": "second"})
    iot.create_thing_group(thingGroupName="room", parentGroupName="floor")
    iot.add_thing_to_thing_group(thingGroupName="room", thingName="lamp-1")
    expect(iot.list_things_in_thing_group(thingGroupName="floor")["things"], [])
    expect(iot.list_things_in_thing_group(thingGroupName="floor", recursive=True)["things"], ["lamp-1"])
    groups = [group["groupName"] for group in iot.list_thing_groups_for_thing(thingName="lamp-1")["thingGroups"]]
    expect(groups, ["room"])
    above = iot.describe_thing_group(thingGroupName="room")["thingGroupMetadata"]["rootToParentThingGroups"]
    expect([group["groupName"] for group in above], ["floor"])

    private, csr = request(server, "lamp-1")
    cert = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)
    file = server.devices / "lamp-1.pem"
    file.write_text(cert["certificatePem"])
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}"},
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": "arn:aws:iot:*:*:topic/lamps/${iot:Connection.Thing.ThingName}/*",
            },
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "arn:aws:iot:*:*:topicfilter/lamps/${iot:ClientId}/*"},
        ],
    }
    iot.create_policy(policyName="lamps", policyDocument=json.dumps(policy))
    iot.attach_policy(policyName="lamps", target=cert["certificateArn"])
    expect(json.loads(iot.get_policy(policyName="lamps")["policyDocument"]), policy, "as it was written")
    attached = iot.list_attached_policies(target=cert["certificateArn"])["policies"]
    expect([one["policyName"] for one in attached], ["lamps"])
    expect(iot.list_targets_for_policy(policyName="lamps")["targets"], [cert["certificateArn"]])
    iot.attach_thing_principal(thingName="lamp-1", principal=cert["certificateArn"])
    expect(iot.list_thing_principals(thingName="lamp-1")["principals"], [cert["certificateArn"]])
    expect(iot.list_principal_things(principal=cert["certificateArn"])["things"], ["lamp-1"])
    described = iot.describe_certificate(certificateId=cert["certificateId"])["certificateDescription"]
    expect((described["status"], described["certificatePem"]), ("ACTIVE", cert["certificatePem"]))

    paho, code = connected(server, "lamp-1", private, file)
    expect(code, 0, "the device is in")
    messages, subacks = queue.Queue(), queue.Queue()
    paho.on_message = lambda _c, _u, message: messages.put((message.topic, message.payload))
    paho.on_subscribe = lambda _c, _u, _m, codes, _p: subacks.put([one.value for one in codes])
    paho.subscribe([("lamps/lamp-1/up", 1), ("lamps/other/up", 1), ("$aws/things/lamp-1/shadow/update/delta", 1)])
    codes = within(subacks, 10, "SUBACK")
    holds(codes[0] < 0x80 and codes[1] >= 0x80 and codes[2] < 0x80, f"what the policy allows and nothing else: {codes}")
    paho.publish("lamps/lamp-1/up", b"hello", qos=1)
    expect(within(messages, 10), ("lamps/lamp-1/up", b"hello"))

    payload = json.dumps({"state": {"desired": {"on": True}}}).encode()
    answer = json.loads(data.update_thing_shadow(thingName="lamp-1", payload=payload)["payload"].read())
    expect((answer["version"], answer["state"]), (1, {"desired": {"on": True}}))
    topic, delta = within(messages, 10, "a delta")
    expect((topic, json.loads(delta)["state"]), ("$aws/things/lamp-1/shadow/update/delta", {"on": True}))
    data.update_thing_shadow(thingName="lamp-1", shadowName="config", payload=payload)
    expect(data.list_named_shadows_for_thing(thingName="lamp-1")["results"], ["config"])
    state = json.loads(data.get_thing_shadow(thingName="lamp-1")["payload"].read())
    expect(state["state"]["desired"], {"on": True})

    group = iot.describe_thing_group(thingGroupName="room")["thingGroupArn"]
    iot.create_job(jobId="reboot-1", targets=[group], document=json.dumps({"do": "reboot"}))
    expect(json.loads(iot.get_job_document(jobId="reboot-1")["document"]), {"do": "reboot"})
    look = lambda: iot.list_job_executions_for_job(jobId="reboot-1")["executionSummaries"]
    expect(until(look, "an execution")[0]["thingArn"], arn)
    execution = iot.describe_job_execution(jobId="reboot-1", thingName="lamp-1")["execution"]
    expect((execution["status"], execution["executionNumber"]), ("QUEUED", 1))
    expect(iot.describe_job(jobId="reboot-1")["job"]["targets"], [group])

    found = iot.search_index(queryString="thingTypeName:bulb AND attributes.watts:40 AND connectivity.connected:true")
    expect([one["thingName"] for one in found["things"]], ["lamp-1"])
    expect(iot.get_statistics(queryString="thingGroupNames:room")["statistics"]["count"], 1)

    gone = queue.Queue()
    paho.on_disconnect = lambda *_: gone.put(True)
    iot.detach_thing_principal(thingName="lamp-1", principal=cert["certificateArn"])
    within(gone, 10, "the end of the session")
    paho.loop_stop()
    expect(iot.list_thing_principals(thingName="lamp-1")["principals"], [])
    iot.detach_policy(policyName="lamps", target=cert["certificateArn"])
    iot.update_certificate(certificateId=cert["certificateId"], newStatus="INACTIVE")
    iot.delete_certificate(certificateId=cert["certificateId"])
    expect(refused(iot.describe_certificate, certificateId=cert["certificateId"])[0], "ResourceNotFoundException")
    iot.delete_policy(policyName="lamps")
    iot.delete_job(jobId="reboot-1", force=True)
    iot.delete_thing(thingName="lamp-1")
    iot.delete_thing_group(thingGroupName="room")
    iot.delete_thing_group(thingGroupName="floor")
    iot.deprecate_thing_type(thingTypeName="bulb")
    iot.delete_thing_type(thingTypeName="bulb")
    expect(iot.list_things()["things"], [])


@story.check
def exceptions(server):
    """boto3: refusals are the exceptions that its models name"""
    iot, data = client(server), client(server, "iot-data")
    try:
        iot.describe_thing(thingName="nobody")
        raise AssertionError("found")
    except iot.exceptions.ResourceNotFoundException as error:
        expect(error.response["ResponseMetadata"]["HTTPStatusCode"], 404)
        holds("device" in error.response["Error"]["Message"], error.response)
        holds(len(error.response["ResponseMetadata"]["RequestId"]) == 36, "a request id")
    try:
        data.get_thing_shadow(thingName="nobody")
        raise AssertionError("found")
    except data.exceptions.ResourceNotFoundException:
        pass
    iot.create_thing(thingName="one")
    iot.create_thing(thingName="one")
    code = refused(iot.create_thing, thingName="one", attributePayload={"attributes": {"a": "b"}})
    expect(code, ("ResourceAlreadyExistsException", 409, "ResourceAlreadyExistsException"))
    code = refused(iot.update_thing, thingName="one", expectedVersion=7, attributePayload={"attributes": {"a": "b"}})
    expect(code, ("VersionConflictException", 409, "VersionConflictException"))
    expect(refused(iot.create_policy, policyName="p", policyDocument="{}")[0], "MalformedPolicyException")
    expect(refused(iot.search_index, queryString="shadow.reported.x:1")[0], "InvalidQueryException")
    expect(refused(iot.list_things, nextToken="x")[0], "InvalidRequestException")
    expect(refused(iot.create_certificate_from_csr, certificateSigningRequest="x")[0], "InvalidRequestException")
    expect(refused(iot.create_keys_and_certificate, setAsActive=True)[0], "InvalidRequestException", "keys are the device's own")
    expect(refused(iot.list_audit_tasks, startTime=1, endTime=2)[0], "UnknownOperationException")
    iot.delete_thing(thingName="one")
    iot.delete_thing(thingName="one")


@story.check
def keys_by_the_server(server):
    """boto3: create_keys_and_certificate where the tenant's policy allows it, and the ways of a certificate"""
    server.ctl("tenant", "policy", "set", "provisioning.server_keys=true", tenant=TENANT)
    iot = client(server)
    made = iot.create_keys_and_certificate(setAsActive=True)
    private, cert = (server.devices / f"k.{end}" for end in ("key", "pem"))
    private.write_text(made["keyPair"]["PrivateKey"])
    cert.write_text(made["certificatePem"])
    iot.create_thing(thingName="k-1")
    iot.attach_thing_principal(thingName="k-1", principal=made["certificateArn"])
    iot.create_thing(thingName="k-2")
    code = refused(iot.attach_thing_principal, thingName="k-2", principal=made["certificateArn"])
    expect(code[0], "InvalidRequestException", "a certificate is one device's for good")
    paho, code = connected(server, "k-1", private, cert)
    expect(code, 0)
    gone = queue.Queue()
    paho.on_disconnect = lambda *_: gone.put(True)
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    within(gone, 10, "the end of the session")
    paho.loop_stop()
    expect(iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]["status"], "INACTIVE")
    iot.update_certificate(certificateId=made["certificateId"], newStatus="ACTIVE")
    paho, code = connected(server, "k-1", private, cert)
    expect(code, 0, "it counts again")
    paho.disconnect()
    paho.loop_stop()
    code = refused(iot.delete_certificate, certificateId=made["certificateId"])
    expect(code[:2], ("CertificateStateException", 406))
    expect(refused(iot.delete_thing, thingName="k-1")[0], "InvalidRequestException")
    iot.update_certificate(certificateId=made["certificateId"], newStatus="REVOKED")
    expect(iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]["status"], "REVOKED")
    code = refused(iot.update_certificate, certificateId=made["certificateId"], newStatus="ACTIVE")
    expect(code[0], "CertificateStateException", "what is revoked stays so")
    server.ctl("tenant", "policy", "set", "provisioning.server_keys=null", tenant=TENANT)
    for name in ("k-1", "k-2"):
        iot.delete_thing(thingName=name)


@story.check
def pages(server):
    """boto3: paginators go to the end, and tokens do not fit elsewhere"""
    iot = client(server)
    names = [f"page-{number:02}" for number in range(23)]
    for name in names:
        iot.create_thing(thingName=name, attributePayload={"attributes": {"row": name[-1]}})
    things = iot.get_paginator("list_things").paginate(PaginationConfig={"PageSize": 5})
    expect([thing["thingName"] for page in things for thing in page["things"]], names)
    threes = iot.get_paginator("list_things").paginate(
        attributeName="row", attributeValue="3", PaginationConfig={"PageSize": 1}
    )
    expect([thing["thingName"] for page in threes for thing in page["things"]], ["page-03", "page-13"])
    token = iot.list_things(maxResults=5)["nextToken"]
    code = refused(iot.list_things, maxResults=5, nextToken=token, attributeName="row", attributeValue="3")
    expect(code[0], "InvalidRequestException")
    for name in ("a", "b", "c"):
        iot.create_thing_group(thingGroupName=f"page-{name}")
    groups = iot.get_paginator("list_thing_groups").paginate(namePrefixFilter="page-", PaginationConfig={"PageSize": 2})
    expect([one["groupName"] for page in groups for one in page["thingGroups"]], ["page-a", "page-b", "page-c"])
    found, token = [], None
    while True:
        page = iot.search_index(queryString="thingName:page-1*", maxResults=4, **({"nextToken": token} if token else {}))
        found += [one["thingName"] for one in page["things"]]
        token = page.get("nextToken")
        if token is None:
            break
    expect(found, names[10:20])
    for name in names:
        iot.delete_thing(thingName=name)


@story.check
def who_may(server):
    """A wrong secret, an unknown key, a clock that is off, another tenant's key, a role that may not, no signature at all"""
    id, secret = server.access
    iot = client(server, access=(id, secret[:-1] + ("A" if secret[-1] != "A" else "B")))
    expect(refused(iot.list_things), ("SignatureDoesNotMatch", 403, "ClientError"))
    iot = client(server, access=("FWAKAAAAAAAAAAAAAAAA", secret))
    expect(refused(iot.list_things)[:2], ("UnrecognizedClientException", 403))
    now = botocore.auth.get_current_datetime
    try:
        botocore.auth.get_current_datetime = lambda *a, **k: now(*a, **k) - datetime.timedelta(minutes=6)
        expect(refused(client(server).list_things)[:2], ("RequestTimeTooSkewed", 403))
    finally:
        botocore.auth.get_current_datetime = now
    unsigned = boto3.client(
        "iot",
        region_name=REGION,
        endpoint_url=server.device_url,
        verify=str(server.ca),
        config=botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"max_attempts": 0}),
    )
    expect(refused(unsigned.list_things)[:2], ("MissingAuthenticationTokenException", 403))

    client(server).create_thing(thingName="ours")
    other = client(server, access=key(server, "owner", OTHER))
    expect(other.list_things()["things"], [])
    expect(refused(other.describe_thing, thingName="ours")[0], "ResourceNotFoundException")
    arn = client(server).describe_thing(thingName="ours")["thingArn"]
    expect(refused(other.add_thing_to_thing_group, thingGroupName="x", thingArn=arn)[0], "ResourceNotFoundException")
    viewer = client(server, access=key(server, "viewer"))
    expect([thing["thingName"] for thing in viewer.list_things()["things"]], ["ours"])
    expect(refused(viewer.create_thing, thingName="x")[:2], ("AccessDeniedException", 403))
    data = client(server, "iot-data", access=key(server, "viewer"))
    payload = b'{"state":{"desired":{"a":1}}}'
    expect(refused(data.update_thing_shadow, thingName="ours", payload=payload)[0], "ForbiddenException")
    spare = key(server)
    client(server, access=spare).list_things()
    server.ctl("access-key", "disable", spare[0], tenant=TENANT)
    expect(refused(client(server, access=spare).list_things)[0], "UnrecognizedClientException")
    used = {one["id"]: one["last_used_at"] for one in server.ctl("access-key", "list", tenant=TENANT)}
    holds(used[spare[0]] is not None, "when a key was used is known")
    holds(secret not in (server.folder / "server.log").read_text(errors="replace"), "no secret in the log")
    client(server).delete_thing(thingName="ours")


@story.check
def templates(server):
    """boto3: provisioning templates and the claim of a trusted user, where devices connect, and tags"""
    iot = client(server, access=key(server, "owner"))
    body = json.dumps({
        "Parameters": {"SerialNumber": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "SerialNumber"}}},
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"},
            },
        },
    })
    role = "arn:aws:iam::123456789012:role/provisioning"
    iot.create_provisioning_template(
        templateName="line", description="line 4", templateBody=body, enabled=True, provisioningRoleArn=role,
        tags=[{"Key": "team", "Value": "iot"}],
    )
    found = iot.describe_provisioning_template(templateName="line")
    expect((found["templateBody"], found["enabled"], found["description"], found["provisioningRoleArn"]), (body, True, "line 4", role))
    claim = iot.create_provisioning_claim(templateName="line")
    holds("PRIVATE KEY" in claim["keyPair"]["PrivateKey"] and claim["expiration"].tzinfo is not None, claim)
    arn = found["templateArn"]
    expect(iot.list_tags_for_resource(resourceArn=arn)["tags"], [{"Key": "team", "Value": "iot"}])
    iot.untag_resource(resourceArn=arn, tagKeys=["team"])
    expect(iot.list_tags_for_resource(resourceArn=arn)["tags"], [])
    iot.update_provisioning_template(templateName="line", enabled=False)
    expect(iot.describe_provisioning_template(templateName="line")["enabled"], False)
    iot.delete_provisioning_template(templateName="line")
    expect(iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"], "localhost")


@story.check
def policies(server):
    """boto3: versions of a policy, and whom it is attached to"""
    iot = client(server, access=key(server, "owner"))
    document = lambda topic: json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iot:Publish", "Resource": f"arn:aws:iot:*:*:topic/{topic}"}],
    })
    iot.create_policy(policyName="v", policyDocument=document("a"), tags=[{"Key": "k", "Value": "v"}])
    made = iot.create_policy_version(policyName="v", policyDocument=document("b"), setAsDefault=True)
    expect(made["policyVersionId"], "2")
    expect(iot.get_policy(policyName="v")["policyDocument"], document("b"))
    versions = iot.list_policy_versions(policyName="v")["policyVersions"]
    expect([(one["versionId"], one["isDefaultVersion"]) for one in versions], [("2", True), ("1", False)])
    expect(refused(iot.delete_policy, policyName="v")[0], "DeleteConflictException")
    iot.set_default_policy_version(policyName="v", policyVersionId="1")
    iot.delete_policy_version(policyName="v", policyVersionId="2")
    iot.create_thing_group(thingGroupName="g")
    arn = iot.describe_thing_group(thingGroupName="g")["thingGroupArn"]
    iot.attach_policy(policyName="v", target=arn)
    expect(iot.list_targets_for_policy(policyName="v")["targets"], [arn])
    expect(refused(iot.delete_policy, policyName="v")[0], "DeleteConflictException")
    iot.detach_policy(policyName="v", target=arn)
    iot.delete_policy(policyName="v")
    iot.delete_thing_group(thingGroupName="g")


def state(payload):
    return json.dumps({"state": {"reported": payload}}).encode()


def shadow_of(data, name):
    return json.loads(data.get_thing_shadow(thingName=name)["payload"].read())


@story.proves("reconnect", "HTTPS")
def comes_back(server):
    """boto3: over a line that is cut and a server that is killed its own retries bring a call through, on a connection that it had kept"""
    with Line(lambda: server.device_port) as line, concurrent.futures.ThreadPoolExecutor() as threads:
        data = client(server, "iot-data", url=f"https://localhost:{line.port}", attempts=20)
        iot = client(server, url=f"https://localhost:{line.port}", attempts=20)
        iot.create_thing(thingName="back")
        data.update_thing_shadow(thingName="back", payload=state({"n": 0}))
        for number, loss in enumerate((lambda: None, lambda: (server.kill(), server.start())), 1):
            line.cut()
            tried = line.tried
            call = threads.submit(data.update_thing_shadow, thingName="back", payload=state({"n": number}))
            until(lambda: line.tried > tried, "a first try that fails")
            loss()
            line.mend()
            call.result(90)
            expect(shadow_of(data, "back")["state"]["reported"], {"n": number})
        iot.delete_thing(thingName="back")


@story.proves("take-over", "HTTPS")
def two_at_once(server):
    """boto3: of several that change one version of a thing's shadow at once, one is taken, and the others have a ConflictException"""
    client(server).create_thing(thingName="twice")
    datas = [client(server, "iot-data") for _ in range(4)]
    datas[0].update_thing_shadow(thingName="twice", payload=state({"n": 0}))

    def change(data, version):
        document = json.dumps({"state": {"reported": {"n": version}}, "version": version}).encode()
        try:
            data.update_thing_shadow(thingName="twice", payload=document)
            return "taken"
        except data.exceptions.ConflictException:
            return "conflict"

    with concurrent.futures.ThreadPoolExecutor(len(datas)) as threads:
        for version in range(1, 6):
            said = sorted(threads.map(lambda data, version=version: change(data, version), datas))
            expect(said, ["conflict"] * 3 + ["taken"])
    expect(shadow_of(datas[0], "twice")["version"], 6)
    client(server).delete_thing(thingName="twice")


@story.proves("big", "HTTPS")
def big(server):
    """boto3: a shadow holds 8 KiB, and a byte more is 413, as is a body that is refused while it is sent; what follows is as before"""
    iot, data = client(server), client(server, "iot-data")
    iot.create_thing(thingName="big")
    full = 8 * 1024 - len('{"x":""}')
    data.update_thing_shadow(thingName="big", payload=state({"x": "y" * full}))
    for size in (full + 1, 128 * 1024, 768 * 1024):
        code = refused(data.update_thing_shadow, thingName="big", payload=state({"x": "y" * size}))
        expect(code[:2], ("RequestEntityTooLargeException", 413), str(size))
    data.update_thing_shadow(thingName="big", payload=state({"x": "as before"}))
    expect(shadow_of(data, "big")["version"], 2)
    arn = iot.describe_thing(thingName="big")["thingArn"]
    code = refused(iot.create_job, jobId="big", targets=[arn], document=json.dumps({"x": "y" * 40_000}))
    expect(code[:2], ("InvalidRequestException", 400), "a document of 40,000 characters")
    iot.delete_thing(thingName="big")


@story.proves("bad", "HTTPS")
def bad(server):
    """boto3: a shadow, a job and a policy that are no JSON, no UTF-8 or too deep are refused by name, and a good one right after is taken"""
    iot, data = client(server), client(server, "iot-data")
    arn = iot.create_thing(thingName="bad")["thingArn"]
    deep = '{"state":{"reported":' + '{"a":' * 200 + "1" + "}" * 202
    for payload, wanted in (
        (b"{", ("InvalidRequestException", 400)),
        (b'{"state":{"reported":{"a":"\xff\xfe"}}}', ("UnsupportedDocumentEncodingException", 415)),
        (deep.encode(), ("InvalidRequestException", 400)),
    ):
        expect(refused(data.update_thing_shadow, thingName="bad", payload=payload)[:2], wanted, str(payload[:40]))
    for text in ("{", deep):
        code = refused(iot.create_job, jobId="bad", targets=[arn], document=text)
        expect(code[:2], ("InvalidRequestException", 400), f"job: {text[:40]}")
        code = refused(iot.create_policy, policyName="bad", policyDocument=text)
        expect(code[:2], ("MalformedPolicyException", 400), f"policy: {text[:40]}")
    data.update_thing_shadow(thingName="bad", payload=state({"a": 1}))
    expect(shadow_of(data, "bad")["version"], 1)
    iot.delete_thing(thingName="bad")


def member(server, iot, name):
    """A thing with a certificate, connected with MQTT 5; what it hears is in the queue."""
    private, csr = request(server, name)
    cert = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)
    file = server.devices / f"{name}.pem"
    file.write_text(cert["certificatePem"])
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=cert["certificateArn"])
    paho, code = connected(server, name, private, file)
    expect(code, 0)
    messages, subacks = queue.Queue(), queue.Queue()
    paho.on_message = lambda _c, _u, message: messages.put(message)
    paho.on_subscribe = lambda _c, _u, _m, codes, _p: subacks.put([one.value for one in codes])

    def subscribe(topic):
        paho.subscribe(topic, qos=1)
        holds(within(subacks, 10, "SUBACK")[0] < 0x80, topic)

    def gone():
        paho.disconnect()
        paho.loop_stop()
        iot.detach_thing_principal(thingName=name, principal=cert["certificateArn"])
        iot.delete_thing(thingName=name)

    return paho, messages, subscribe, gone


@story.check
def messages(server):
    """boto3: publish with all that MQTT 5 says beside it, what is retained page by page, and the same in our own API"""
    iot, data = client(server), client(server, "iot-data")
    paho, heard, subscribe, gone = member(server, iot, "lamp-7")
    subscribe("shared/berlin/+")
    data.publish(
        topic="shared/berlin/mode", qos=1, retain=True, payload=b"night", contentType="text/plain",
        responseTopic="shared/berlin/answer", correlationData="aGk=", messageExpiry=3600,
        payloadFormatIndicator="UTF8_DATA", userProperties=[{"a": "1"}, {"a": "2"}],
    )
    message = within(heard, 10)
    expect((message.topic, message.payload, message.qos), ("shared/berlin/mode", b"night", 1))
    beside = message.properties
    expect((beside.ContentType, beside.ResponseTopic, beside.CorrelationData), ("text/plain", "shared/berlin/answer", b"hi"))
    expect((beside.PayloadFormatIndicator, beside.UserProperty), (1, [("a", "1"), ("a", "2")]))
    holds(3590 <= beside.MessageExpiryInterval <= 3600, beside.MessageExpiryInterval)
    kept = data.get_retained_message(topic="shared/berlin/mode")
    expect((kept["payload"], kept["qos"]), (b"night", 1))
    expect(json.loads(kept["userProperties"]), [{"a": "1"}, {"a": "2"}])
    shown = server.ctl("message", "show", "shared/berlin/mode", tenant=TENANT)
    expect((shown["payload"], shown["content_type"]), ("night", "text/plain"), "the same in our own API")
    for number in range(5):
        server.ctl("message", "publish", f"shared/rome/{number}", str(number), "--retain", tenant=TENANT)
    pages = data.get_paginator("list_retained_messages").paginate(PaginationConfig={"PageSize": 2})
    topics = [one["topic"] for page in pages for one in page["retainedTopics"] if one["topic"].startswith("shared/")]
    expect(topics, ["shared/berlin/mode", *(f"shared/rome/{number}" for number in range(5))])
    server.ctl("message", "clear", "shared/rome/0", tenant=TENANT)
    code = refused(data.get_retained_message, topic="shared/rome/0")
    expect(code, ("ResourceNotFoundException", 404, "ResourceNotFoundException"))
    data.publish(topic="shared/berlin/mode", qos=1, retain=True, payload=b"")
    expect(within(heard, 10).payload, b"", "who listens hears that it is gone")
    expect(refused(data.get_retained_message, topic="shared/berlin/mode")[1], 404)
    code = refused(data.publish, topic="$aws/things/lamp-7/shadow/update", payload=b"{}")
    expect(code[0], "InvalidRequestException", "services have operations of their own")
    expect(refused(data.publish, topic="a/#", payload=b"")[0], "InvalidRequestException")
    viewer = client(server, "iot-data", access=key(server, "viewer"))
    expect(refused(viewer.publish, topic="a", payload=b"x")[0], "ForbiddenException")
    elsewhere = client(server, "iot-data", access=key(server, "owner", OTHER))
    expect(elsewhere.list_retained_messages()["retainedTopics"], [])
    elsewhere.publish(topic="shared/berlin/mode", qos=1, payload=b"of beta")
    data.publish(topic="shared/berlin/mode", qos=1, payload=b"of acme")
    expect(within(heard, 10).payload, b"of acme", "another tenant's message goes to its own devices")
    gone()


@story.check
def in_a_things_place(server):
    """boto3: an operator works on jobs in a thing's place, and the journal says who"""
    iot, jobs = client(server), client(server, "iot-jobs-data")
    arn = iot.create_thing(thingName="old-1")["thingArn"]
    start = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    iot.create_job(
        jobId="by-hand", targets=[arn], document=json.dumps({"do": "oil"}),
        schedulingConfig={"startTime": start, "endTime": end, "endBehavior": "CANCEL"},
    )
    config = iot.describe_job(jobId="by-hand")["job"]["schedulingConfig"]
    expect((config["startTime"][:16], config["endTime"][:16]), (start, end.replace(" ", "T")))
    expect(config["endBehavior"], "CANCEL")
    pending = until(lambda: jobs.get_pending_job_executions(thingName="old-1")["queuedJobs"], "a job")
    expect((pending[0]["jobId"], pending[0]["versionNumber"]), ("by-hand", 1))
    next = jobs.describe_job_execution(thingName="old-1", jobId="$next", includeJobDocument=True)["execution"]
    expect((next["status"], json.loads(next["jobDocument"])), ("QUEUED", {"do": "oil"}))
    begun = jobs.start_next_pending_job_execution(thingName="old-1", statusDetails={"by": "eve"}, stepTimeoutInMinutes=30)
    expect((begun["execution"]["status"], begun["execution"]["statusDetails"]), ("IN_PROGRESS", {"by": "eve"}))
    holds(0 < begun["execution"]["approximateSecondsBeforeTimedOut"] <= 1800, begun)
    code = refused(jobs.update_job_execution, thingName="old-1", jobId="by-hand", status="SUCCEEDED", expectedVersion=7)
    expect(code[0], "InvalidStateTransitionException")
    done = jobs.update_job_execution(
        thingName="old-1", jobId="by-hand", status="SUCCEEDED", includeJobExecutionState=True, includeJobDocument=True
    )
    expect((done["executionState"]["status"], json.loads(done["jobDocument"])), ("SUCCEEDED", {"do": "oil"}))
    code = refused(jobs.describe_job_execution, thingName="old-1", jobId="by-hand")
    expect(code, ("TerminalStateException", 410, "TerminalStateException"))
    expect(jobs.start_next_pending_job_execution(thingName="old-1").get("execution"), None)
    expect(refused(jobs.get_pending_job_executions, thingName="nobody")[0], "ResourceNotFoundException")
    viewer = client(server, "iot-jobs-data", access=key(server, "viewer"))
    expect(viewer.get_pending_job_executions(thingName="old-1")["queuedJobs"], [])
    expect(refused(viewer.start_next_pending_job_execution, thingName="old-1")[0], "AccessDeniedException")
    said = server.ctl("event", "list", "--device", "old-1", "--action", "job_execution.succeeded", tenant=TENANT)
    expect([one["actor"] for one in said], [{"kind": "token", "name": "boto3"}])
    iot.delete_job(jobId="by-hand", force=True)
    iot.delete_thing(thingName="old-1")


@story.check
def dynamic_groups(server):
    """boto3: a question decides who is in a thing group; a continuous job follows it"""
    iot = client(server)
    for name, site in (("dyn-1", "berlin"), ("dyn-2", "rome")):
        iot.create_thing(thingName=name, attributePayload={"attributes": {"site": site}})
    made = iot.create_dynamic_thing_group(
        thingGroupName="berliners", queryString="attributes.floor:2 OR site:berlin",
        thingGroupProperties={"thingGroupDescription": "in Berlin"}, tags=[{"Key": "team", "Value": "iot"}],
    )
    expect((made["indexName"], made["queryVersion"]), ("AWS_Things", "2017-09-30"))
    described = lambda: iot.describe_thing_group(thingGroupName="berliners")
    until(lambda: described()["status"] == "ACTIVE", "an active group")
    expect(described()["queryString"], "attributes.floor:2 OR site:berlin")
    things = lambda: iot.list_things_in_thing_group(thingGroupName="berliners")["things"]
    expect(things(), ["dyn-1"])
    job = dict(jobId="welcome", targets=[made["thingGroupArn"]], document="{}", targetSelection="CONTINUOUS")
    iot.create_job(**job)
    seen = lambda: {
        one["thingArn"].rsplit("/", 1)[1]: one["jobExecutionSummary"]["status"]
        for one in iot.list_job_executions_for_job(jobId="welcome")["executionSummaries"]
    }
    until(lambda: seen() == {"dyn-1": "QUEUED"}, "an execution")
    iot.update_thing(thingName="dyn-2", attributePayload={"attributes": {"floor": "2"}, "merge": True})
    until(lambda: things() == ["dyn-1", "dyn-2"], "the second one")
    groups = iot.list_thing_groups_for_thing(thingName="dyn-2")["thingGroups"]
    expect([one["groupName"] for one in groups], ["berliners"])
    until(lambda: seen().get("dyn-2") == "QUEUED", "an execution for who came")
    code = refused(iot.add_thing_to_thing_group, thingGroupName="berliners", thingName="dyn-1")
    expect(code[0], "InvalidRequestException")
    code = refused(iot.update_thing_group, thingGroupName="berliners", thingGroupProperties={"thingGroupDescription": "x"})
    expect(code[0], "InvalidRequestException")
    expect(refused(iot.create_dynamic_thing_group, thingGroupName="x", queryString="nothing:1")[0], "InvalidQueryException")
    version = iot.update_dynamic_thing_group(
        thingGroupName="berliners", thingGroupProperties={}, queryString="site:rome"
    )["version"]
    expect(version, 2)
    until(lambda: things() == ["dyn-2"], "the other one alone")
    until(lambda: seen().get("dyn-1") == "REMOVED", "an execution that is taken from who left")
    shown = server.ctl("device-group", "show", "berliners", tenant=TENANT)
    expect((shown["query"], shown["settled"]), ("site:rome", True), "the same in our own API")
    labels = server.ctl("label", "set", "group", "berliners", "room=1", "--remove", "team", tenant=TENANT)["labels"]
    expect(labels, {"room": "1"})
    expect(iot.list_tags_for_resource(resourceArn=made["thingGroupArn"])["tags"], [{"Key": "room", "Value": "1"}])
    iot.delete_job(jobId="welcome", force=True)
    iot.delete_dynamic_thing_group(thingGroupName="berliners")
    expect(iot.list_thing_groups_for_thing(thingName="dyn-2")["thingGroups"], [])
    for name in ("dyn-1", "dyn-2"):
        iot.delete_thing(thingName=name)


@story.check
def aggregations(server):
    """boto3: statistics, cardinality, percentiles and buckets of a field"""
    iot = client(server)
    for number in range(1, 11):
        attributes = {"watts": str(number * 10), "row": "even" if number % 2 == 0 else "odd"}
        iot.create_thing(thingName=f"agg-{number}", attributePayload={"attributes": attributes})
    ask = dict(queryString="thingName:agg-*", aggregationField="attributes.watts")
    found = iot.get_statistics(**ask)["statistics"]
    expect((found["count"], found["sum"], found["average"]), (10, 550.0, 55.0))
    expect((found["minimum"], found["maximum"], found["variance"]), (10.0, 100.0, 825.0))
    expect(iot.get_cardinality(queryString="thingName:agg-*", aggregationField="attributes.row")["cardinality"], 2)
    ranks = iot.get_percentiles(percents=[50, 90, 100], **ask)["percentiles"]
    expect([(one["percent"], one["value"]) for one in ranks], [(50.0, 50.0), (90.0, 90.0), (100.0, 100.0)])
    buckets = iot.get_buckets_aggregation(
        queryString="thingName:agg-*", aggregationField="attributes.row",
        bucketsAggregationType={"termsAggregation": {"maxBuckets": 5}},
    )
    expect(buckets["totalCount"], 10)
    expect([(one["keyValue"], one["count"]) for one in buckets["buckets"]], [("even", 5), ("odd", 5)])
    code = refused(iot.get_statistics, queryString="*", aggregationField="nothing")
    expect(code[0], "InvalidAggregationException")
    shown = server.ctl("device", "stats", "attributes.watts", "name:agg-*", tenant=TENANT)
    expect((shown["count"], shown["numbers"]["average"]), (10, 55.0), "the same in our own API")
    names = [one["name"] for one in server.ctl("device", "search", "attributes.watts:100", tenant=TENANT)]
    expect(names, ["agg-10"])
    for number in range(1, 11):
        iot.delete_thing(thingName=f"agg-{number}")


@story.check
def commands(server):
    """boto3: a command is written down, sent to a thing, answered by it, looked at and forgotten"""
    iot, jobs = client(server), client(server, "iot-jobs-data")
    paho, heard, subscribe, gone = member(server, iot, "lamp-8")
    thing = iot.describe_thing(thingName="lamp-8")["thingArn"]
    made = iot.create_command(
        commandId="blink", displayName="Blink", description="twice", namespace="AWS-IoT",
        payload={"content": b'{"times":2}', "contentType": "application/json"}, tags=[{"Key": "a", "Value": "b"}],
    )
    found = iot.get_command(commandId="blink")
    expect((found["payload"]["content"], found["displayName"], found["deprecated"]), (b'{"times":2}', "Blink", False))
    expect(iot.list_tags_for_resource(resourceArn=made["commandArn"])["tags"], [{"Key": "a", "Value": "b"}])
    expect([one["commandId"] for one in iot.list_commands()["commands"]], ["blink"])
    code = refused(iot.create_command, commandId="blink", payload={"content": b"other"})
    expect(code, ("ConflictException", 409, "ConflictException"))
    code = refused(iot.create_command, commandId="x", payload={"content": b""}, mandatoryParameters=[{"name": "p"}])
    expect(code[0], "ValidationException")
    subscribe("$aws/commands/things/lamp-8/executions/+/request/json")
    start = dict(targetArn=thing, commandArn=made["commandArn"], executionTimeoutSeconds=300, clientToken="token-1")
    id = jobs.start_command_execution(**start)["executionId"]
    expect(jobs.start_command_execution(**start)["executionId"], id, "the same token is the same execution")
    message = within(heard, 10)
    expect((message.topic.split("/")[5], message.payload), (id, b'{"times":2}'))
    answer = {"status": "SUCCEEDED", "result": {"blinked": {"s": "twice"}, "well": {"b": True}}}
    paho.publish(f"$aws/commands/things/lamp-8/executions/{id}/response/json", json.dumps(answer), qos=1)
    look = lambda: iot.get_command_execution(executionId=id, targetArn=thing, includeResult=True)
    until(lambda: look()["status"] == "SUCCEEDED", "an end")
    expect(look()["result"], {"blinked": {"S": "twice"}, "well": {"B": True}})
    expect((look()["commandArn"], look()["targetArn"]), (made["commandArn"], thing))
    listed = iot.list_command_executions(targetArn=thing)["commandExecutions"]
    expect([(one["executionId"], one["status"]) for one in listed], [(id, "SUCCEEDED")])
    listed = iot.list_command_executions(commandArn=made["commandArn"], status="SUCCEEDED")["commandExecutions"]
    expect([one["targetArn"] for one in listed], [thing])
    expect(iot.list_command_executions(commandArn=made["commandArn"], status="FAILED")["commandExecutions"], [])
    iot.delete_command_execution(executionId=id, targetArn=thing)
    expect(refused(iot.get_command_execution, executionId=id, targetArn=thing)[0], "ResourceNotFoundException")
    sent = server.ctl("command-template", "send", "blink", "lamp-8", tenant=TENANT)
    expect(sent["op"], "blink", "the same in our own API")
    within(heard, 10)
    code = refused(iot.delete_command_execution, executionId=sent["id"], targetArn=thing)
    expect(code[0], "ConflictException", "it is under way")
    iot.update_command(commandId="blink", deprecated=True)
    expect(iot.get_command(commandId="blink")["deprecated"], True)
    expect(refused(jobs.start_command_execution, targetArn=thing, commandArn=made["commandArn"])[0], "ConflictException")
    viewer = client(server, "iot-jobs-data", access=key(server, "viewer"))
    expect(refused(viewer.start_command_execution, **start)[0], "AccessDeniedException")
    expect(client(server, access=key(server, "owner", OTHER)).list_commands()["commands"], [])
    iot.delete_command(commandId="blink")
    expect(refused(iot.get_command, commandId="blink")[0], "ResourceNotFoundException")
    server.ctl("command", "cancel", sent["id"], "--device", "lamp-8", "--force", tenant=TENANT)
    gone()


@story.check
def certificates(server):
    """wardctl: certificates that wait for their device, as boto3 sees them too"""
    iot = client(server)
    _, csr = request(server, "c-1")
    file = server.devices / "c-1.csr"
    file.write_text(csr)
    made = server.ctl("certificate", "create", "--csr", str(file), tenant=TENANT)
    expect((made["state"], made["device"]), ("inactive", None))
    iot.create_thing(thingName="c-1")
    server.ctl("certificate", "activate", made["id"], tenant=TENANT)
    server.ctl("certificate", "attach", made["id"], "c-1", tenant=TENANT)
    described = iot.describe_certificate(certificateId=made["id"])["certificateDescription"]
    expect((described["status"], described["certificatePem"]), ("ACTIVE", made["pem"]))
    expect(iot.list_principal_things(principal=described["certificateArn"])["things"], ["c-1"])
    server.ctl("certificate", "deactivate", made["id"], tenant=TENANT)
    expect(iot.describe_certificate(certificateId=made["id"])["certificateDescription"]["status"], "INACTIVE")
    server.ctl("certificate", "activate", made["id"], tenant=TENANT)
    server.ctl("certificate", "detach", made["id"], "c-1", tenant=TENANT)
    shown = {one["id"]: one for one in server.ctl("certificate", "list", tenant=TENANT)}[made["id"]]
    expect((shown["device"], shown["bound_to"], shown["state"]), (None, "c-1", "inactive"))
    server.ctl("certificate", "remove", made["id"], tenant=TENANT)
    expect(refused(iot.describe_certificate, certificateId=made["id"])[0], "ResourceNotFoundException")
    iot.delete_thing(thingName="c-1")


@story.check
def command_line(server):
    """The AWS CLI with --endpoint-url, against the operators' port too"""
    id, secret = server.access
    env = {"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": REGION, "AWS_CA_BUNDLE": str(server.ca)}
    env |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    aws = pathlib.Path(sys.executable).parent / "aws"

    def cli(*arguments, url=server.device_url, check=True):
        done = run([aws, *arguments, "--endpoint-url", url, "--output", "json"], env=env, check=check)
        return json.loads(done.stdout) if done.stdout.strip() else done.stderr.decode()

    expect(cli("iot", "create-thing", "--thing-name", "cli-1")["thingName"], "cli-1")
    expect([one["thingName"] for one in cli("iot", "list-things")["things"]], ["cli-1"])
    operators = server.endpoints["operator_url"]
    expect(cli("iot", "describe-thing", "--thing-name", "cli-1", url=operators)["version"], 1)
    shadow = server.folder / "shadow.json"
    payload = json.dumps({"state": {"desired": {"a": 1}}})
    cli("iot-data", "update-thing-shadow", "--thing-name", "cli-1", "--payload", payload, str(shadow))
    expect(json.loads(shadow.read_text())["version"], 1)
    cli("iot-data", "publish", "--topic", "shared/cli", "--payload", "x", "--retain")
    kept = cli("iot-data", "get-retained-message", "--topic", "shared/cli")
    expect(kept["qos"], 0)
    cli("iot-data", "publish", "--topic", "shared/cli", "--payload", "", "--retain")
    said = cli("iot", "describe-thing", "--thing-name", "none", check=False)
    holds("ResourceNotFoundException" in said, said)
    cli("iot", "delete-thing", "--thing-name", "cli-1")


if __name__ == "__main__":
    with Server() as server:
        server.tenant(TENANT)
        server.tenant(OTHER)
        server.access = key(server, "owner")
        story.tell(server)
