"""Terraform's provider for AWS, unmodified: plan, apply, change, import and destroy of what it knows of AWS IoT."""

import json

import boto3
from fleet.server import Server, run
from fleet.story import Story, expect, holds
from fleet.terraform import Folder

story = Story("terraform")
TENANT = "acme"


def iot(server):
    id, secret = server.access
    return boto3.client(
        "iot",
        region_name="eu-central-1",
        endpoint_url=server.device_url,
        aws_access_key_id=id,
        aws_secret_access_key=secret,
        verify=str(server.ca),
    )


def nothing_to_do(folder, when):
    changes = folder.changes()
    holds(not changes, f"{when} there is something to do:\n{changes}")


@story.check
def applied(server):
    """a fleet is made, and then there is nothing to do"""
    _, der = server.key_and_request("tf-lamp-1")
    csr = server.devices / "tf-lamp-1.csr"
    csr.write_bytes(run(["openssl", "req", "-inform", "DER"], stdin=der).stdout)
    server.fleet = Folder(server, "fleet", csr=csr)
    holds("to add" in server.fleet.changes(), "a plan of what is to be made")
    server.fleet.apply()
    nothing_to_do(server.fleet, "after the first apply")
    said = {name: of["value"] for name, of in json.loads(server.fleet("output", "-json").stdout).items()}
    expect(said["endpoint"], "localhost")
    expect(said["tags"], {"managed": "terraform", "team": "one"}, "with the tags of the provider")
    client = iot(server)
    expect(client.describe_thing(thingName="tf-lamp-1")["attributes"], {"watts": "60", "site": "berlin"})
    expect(server.ctl("device", "show", "tf-lamp-1", tenant=TENANT)["site"], "berlin", "the same in our own API")
    expect(len(client.list_things_in_thing_group(thingGroupName="tf-plain")["things"]), 12)
    expect(client.get_registration_code()["registrationCode"], said["code"])


@story.check
def changed(server):
    """everything that can be changed is changed in place, the rest replaced, and then there is nothing to do"""
    server.fleet.say(second=True)
    planned = server.fleet.changes()
    for line in ("aws_iot_thing_type.replaced must be replaced", "aws_iot_thing_group.moved must be replaced"):
        holds(line in planned, planned)
    holds("aws_iot_thing.lamp will be updated in-place" in planned, planned)
    server.fleet.apply()
    nothing_to_do(server.fleet, "after the change")
    client = iot(server)
    expect(client.describe_thing(thingName="tf-lamp-1")["attributes"], {"watts": "40", "room": "two"})
    expect(client.describe_thing(thingName="tf:bare")["attributes"], {})
    properties = client.describe_thing_group(thingGroupName="tf-plain")["thingGroupProperties"]
    expect(properties, {}, "what was taken out is gone")
    expect(client.describe_thing_type(thingTypeName="tf-bare")["thingTypeMetadata"]["deprecated"], True)


@story.check
def versions(server):
    """a policy that is changed six times keeps five versions"""
    for text in "123456":
        server.fleet.say(text=text)
        server.fleet.apply()
    nothing_to_do(server.fleet, "after six versions")
    kept = iot(server).list_policy_versions(policyName="tf-often")["policyVersions"]
    expect([version["versionId"] for version in kept if version["isDefaultVersion"]], ["7"])
    expect(len(kept), 5)


@story.check
def drift(server):
    """what somebody changed or took away meanwhile is seen and put back"""
    client = iot(server)
    client.update_thing(thingName="tf-lamp-1", attributePayload={"attributes": {"watts": "1"}})
    client.remove_thing_from_thing_group(thingName="tf-lamp-1", thingGroupName="tf-room")
    client.delete_thing(thingName="tf-many-11")
    client.update_provisioning_template(templateName="tf-line", enabled=True)
    planned = server.fleet.changes()
    for line in (
        "aws_iot_thing.lamp will be updated in-place",
        "aws_iot_thing_group_membership.lamp will be created",
        "aws_iot_thing.many[11] will be created",
        "aws_iot_provisioning_template.line will be updated in-place",
    ):
        holds(line in planned, f"{line} is missing in {planned}")
    server.fleet.apply()
    nothing_to_do(server.fleet, "after it was put back")


@story.check
def imported(server):
    """what boto3 made is imported, and then there is nothing to do"""
    client = iot(server)
    folder = Folder(server, "imported")
    client.create_thing_type(
        thingTypeName="its-bulb",
        thingTypeProperties={"thingTypeDescription": "a lamp", "searchableAttributes": ["watts"]},
        tags=[{"Key": "team", "Value": "one"}],
    )
    client.create_thing(thingName="its-lamp", thingTypeName="its-bulb", attributePayload={"attributes": {"watts": "60"}})
    client.create_thing_group(thingGroupName="its-floor")
    client.create_thing_group(
        thingGroupName="its-room", parentGroupName="its-floor", thingGroupProperties={"thingGroupDescription": "a room"}
    )
    client.add_thing_to_thing_group(thingGroupName="its-room", thingName="its-lamp")
    statement = {"Effect": "Allow", "Action": ["iot:Publish"], "Resource": "arn:aws:iot:*:*:topic/a"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.create_policy(policyName="its-lamps", policyDocument=json.dumps(policy, indent=2))
    client.create_provisioning_template(
        templateName="its-line",
        templateBody=(folder.path / "line.json").read_text(),
        provisioningRoleArn="arn:aws:iam::123456789012:role/x",
    )
    for address, id in {
        "aws_iot_thing_type.bulb": "its-bulb",
        "aws_iot_thing.lamp": "its-lamp",
        "aws_iot_thing_group.floor": "its-floor",
        "aws_iot_thing_group.room": "its-room",
        "aws_iot_thing_group_membership.lamp": "its-room/its-lamp",
        "aws_iot_policy.lamps": "its-lamps",
        "aws_iot_provisioning_template.line": "its-line",
        "aws_iot_indexing_configuration.index": "eu-central-1",
    }.items():
        folder("import", "-input=false", address, id)
    nothing_to_do(folder, "after the import")
    folder("destroy", "-auto-approve")
    expect([thing["thingName"] for thing in client.list_things()["things"] if thing["thingName"].startswith("its-")], [])


@story.check
def refused(server):
    """what is not offered is refused by name, with what there is instead"""
    folder = Folder(server, "refused")
    for target, words in {
        "aws_iot_role_alias.alias": "There is no provider of AWS credentials here",
        "aws_iot_topic_rule.rule": "Topic rules are not offered here",
        "aws_iot_billing_group.group": "A billing group has no record here",
        "aws_iot_indexing_configuration.shadows": "is REGISTRY here and cannot be changed",
    }.items():
        said = folder.refusal(target)
        holds(words in said, f"{target}: {said}")


@story.check
def destroyed(server):
    """everything goes again, in the order of what depends on what"""
    server.fleet("destroy", "-auto-approve")
    client = iot(server)
    expect(client.list_things()["things"], [])
    expect(client.list_thing_groups()["thingGroups"], [])
    expect(client.list_thing_types()["thingTypes"], [])
    expect(client.list_policies()["policies"], [])
    certificates = client.list_certificates()["certificates"]
    # One whose thing went first was revoked with it, and stays to be seen.
    expect([one for one in certificates if one["status"] != "REVOKED"], [])
    expect(client.list_provisioning_templates()["templates"], [])


if __name__ == "__main__":
    with Server() as server:
        server.tenant(TENANT)
        server.ctl("tenant", "policy", "set", "provisioning.server_keys=true", tenant=TENANT)
        made = server.ctl("access-key", "create", "terraform", "--role", "owner", tenant=TENANT)
        server.access = made["id"], made["secret"]
        story.tell(server)
