"""AWS's SDK for Go, as Terraform's provider uses it: each check is told to the program of conformance/go, which is the client."""

import os

from fleet.go import build
from fleet.server import Server, run
from fleet.story import Story

story = Story("aws-go")
TENANT = "acme"
CHECKS = {
    "type": "a thing type: described, tagged, deprecated and back, deleted as soon as it is deprecated",
    "thing": "a thing: attributes and type changed and taken out, with its versions",
    "group": "thing groups: properties that were written and no others, tags, a parent that waits for its child",
    "membership": "a membership: by pages of groups, and gone with its thing",
    "policy": "a policy: read back as it came, eight versions of which five are kept, tags",
    "csr": "a certificate for a request: inactive, active, inactive, deleted",
    "keys": "a certificate with a key of the server's, where the tenant's policy allows it",
    "attachments": "a principal and policies attached to certificate and group, and all away in the order of a destroy",
    "template": "a provisioning template: byte by byte, another body, description taken out, tags",
    "index": "the index configured as it is, and refused as it is not",
    "sources": "endpoint and registration code, which stay the same",
    "pages": "a paginator to its end",
    "together": "forty things with group and attributes, ten at once and two resources of each at once",
    "refused": "what is not offered is refused by name, with what there is instead",
}


def told(program, name, title):
    def check(server):
        id, secret = server.access
        env = {
            "AWS_ACCESS_KEY_ID": id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "eu-central-1",
            "AWS_CA_BUNDLE": str(server.ca),
            "AWS_ENDPOINT_URL_IOT": server.device_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            # No settings of whoever runs this.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        run([program, name], env=env, timeout=150)

    check.__doc__ = title
    return check


def main():
    program = build()
    told_by_the_program = run([program]).stdout.decode().split()
    if told_by_the_program != list(CHECKS):
        raise SystemExit(f"checks without a title, or titles without a check: {told_by_the_program}")
    for name, title in CHECKS.items():
        story.check(told(program, name, title))
    with Server() as server:
        server.tenant(TENANT)
        server.ctl("tenant", "policy", "set", "provisioning.server_keys=true", tenant=TENANT)
        made = server.ctl("access-key", "create", "go", "--role", "owner", tenant=TENANT)
        server.access = made["id"], made["secret"]
        story.tell(server)


if __name__ == "__main__":
    main()
