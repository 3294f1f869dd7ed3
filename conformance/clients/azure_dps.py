"""azure-iot-device's ProvisioningDeviceClient over MQTT, and the same registration over HTTPS with curl."""

from fleet.python import run_in

run_in("azure")

import base64
import hashlib
import hmac
import json
import logging
import random
import time
import urllib.parse

from azure.iot.device import X509, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError, ConnectionFailedError, CredentialError

from fleet.server import Server, run
from fleet.story import Story, expect, holds

story = Story("azure-dps")
logging.disable(logging.CRITICAL)


def acme(server, *arguments):
    return server.ctl(*arguments, tenant="acme")


def derived(group_key, name):
    """What a factory computes for a device."""
    return base64.b64encode(hmac.new(base64.b64decode(group_key), name.encode(), hashlib.sha256).digest()).decode()


def client(server, scope, name, key):
    """The SDK as an application makes it; it connects to port 8883 and no other."""
    made = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=server.mqtt_host,
        registration_id=name,
        id_scope=scope,
        symmetric_key=key,
        server_verification_cert=server.ca.read_text(),
    )
    made.provisioning_payload = {"model": "x"}
    return made


def refused(made):
    try:
        made.register()
    except (CredentialError, ConnectionFailedError, ClientError):
        return True
    return False


@story.check
def individual(server):
    """an individual enrolment registers with the SDK, enrols by EST with the same key, and registers by X.509"""
    keys = acme(server, "enrollment-group", "create", "dps-one", "--individual", "--payload", '{"site": "north"}')
    result = client(server, keys["id_scope"], "dps-one", keys["primary_key"]).register()
    expect(result.status, "assigned")
    expect(result.registration_state.device_id, "dps-one")
    expect(result.registration_state.assigned_hub, "localhost")
    expect(json.loads(result.registration_state.response_payload), {"site": "north"})
    expect(acme(server, "device", "show", "dps-one")["status"], "claimed")
    private, cert = enrol(server, "dps-one", keys["primary_key"])
    expect(acme(server, "device", "show", "dps-one")["status"], "active")
    # And again with the certificate that it has now.
    again = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=server.mqtt_host,
        registration_id="dps-one",
        id_scope=keys["id_scope"],
        x509=X509(cert_file=str(cert), key_file=str(private)),
        server_verification_cert=server.ca.read_text(),
    )
    expect(again.register().status, "assigned")


def enrol(server, name, key):
    """EST with the same key; the files of what was issued."""
    private, request = server.key_and_request(name)
    status, body = server.est("acme/simpleenroll", request, "-u", f"{name}:{key}")
    expect(status, 200, body)
    return private, server.keep_certificate(name, body)


@story.check
def group(server):
    """devices of a group register with derived keys; a key of one is no key of another"""
    keys = acme(server, "enrollment-group", "create", "line-4", "--class", "gateway")
    for name, which in (("dps-a", "primary_key"), ("dps-b", "secondary_key")):
        result = client(server, keys["id_scope"], name, derived(keys[which], name)).register()
        expect((result.status, result.registration_state.device_id), ("assigned", name))
    expect(acme(server, "device", "show", "dps-a")["class"], "gateway")
    holds(refused(client(server, keys["id_scope"], "dps-c", derived(keys["primary_key"], "dps-a"))), "another's key")
    holds(refused(client(server, "0neNOBODY", "dps-a", derived(keys["primary_key"], "dps-a"))), "no such scope")
    acme(server, "enrollment-group", "revoke", "line-4")
    holds(refused(client(server, keys["id_scope"], "dps-a", derived(keys["primary_key"], "dps-a"))), "revoked")


def signature(scope, name, key):
    """As the SDK's generators make it."""
    resource, expires = urllib.parse.quote(f"{scope}/registrations/{name}", safe=""), int(time.time()) + 600
    tag = hmac.new(base64.b64decode(key), f"{resource}\n{expires}".encode(), hashlib.sha256).digest()
    tag = urllib.parse.quote(base64.b64encode(tag).decode(), safe="")
    return f"SharedAccessSignature sr={resource}&sig={tag}&se={expires}&skn=registration"


def curl(server, method, path, sas, body=None):
    command = ["curl", "-sS", "--cacert", server.ca, "-X", method, "-H", f"authorization: {sas}", "-w", "\n%{http_code}"]
    command += ["-H", "content-type: application/json", "-d", json.dumps(body)] if body else []
    text, code = run([*command, f"{server.device_url}{path}?api-version=2019-03-31"]).stdout.decode().rsplit("\n", 1)
    return int(code), json.loads(text)


@story.check
def https(server):
    """over HTTPS: register with a csr, operation, certificate chain that openssl verifies, and Azure's errors"""
    name = "dps-https"
    keys = acme(server, "enrollment-group", "create", name, "--individual")
    sas = signature(keys["id_scope"], name, keys["primary_key"])
    _, request = server.key_and_request(name)
    base = f"/{keys['id_scope']}/registrations/{name}"
    code, said = curl(server, "PUT", f"{base}/register", sas, {"registrationId": name, "csr": base64.b64encode(request).decode()})
    expect((code, said["status"]), (202, "assigning"))
    code, said = curl(server, "GET", f"{base}/operations/{said['operationId']}", sas)
    expect((code, said["status"]), (200, "assigned"))
    chain = [base64.b64decode(der) for der in said["registrationState"]["issuedCertificateChain"]]
    files = []
    for at, der in enumerate(chain):
        path = server.devices / f"{name}-{at}.pem"
        path.write_bytes(run(["openssl", "x509", "-inform", "DER"], stdin=der).stdout)
        files.append(path)
    run(["openssl", "verify", "-CAfile", files[2], "-untrusted", files[1], files[0]])
    code, said = curl(server, "GET", base, signature(keys["id_scope"], name, base64.b64encode(b"x" * 64).decode()))
    expect((code, said["errorCode"], said["message"]), (401, 401002, "Unauthorized"))


def main():
    # The SDK knows no other port, and somebody else may have it on 127.0.0.1.
    host = f"127.{random.randrange(1, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"
    with Server(arguments=["--public-host", host], listen={"mqtt": f"{host}:8883"}) as server:
        server.mqtt_host = host
        expect(server.tenant("acme"), "acme")
        story.tell(server)


if __name__ == "__main__":
    main()
