"""AWS fleet provisioning with the SDK's own identity clients, in CBOR with paho and cbor2, and factories made by openssl."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import queue
import ssl
import sys
import threading

import cbor2
import paho.mqtt.client as paho
from awscrt import mqtt
from awscrt.mqtt_request_response import ClientOptions
from awsiot import iotidentity, iotshadow
from fleet.aws import WAIT, connect3, connect5, rejected
from fleet.maker import Maker
from fleet.server import Device, Server, run
from fleet.story import Story, expect, holds, within

story = Story("awsprovisioning")
TENANT = "acme"
ONCE = mqtt.QoS.AT_LEAST_ONCE

TEMPLATE = {
    "Parameters": {"SerialNumber": {"Type": "String"}, "Location": {"Type": "String", "Default": "EU"}},
    "Mappings": {"Hosts": {"EU": {"host": "eu.example"}, "US": {"host": "us.example"}}},
    "Resources": {
        "thing": {
            "Type": "AWS::IoT::Thing",
            "Properties": {
                "ThingName": {"Fn::Join": ["-", ["gw", {"Ref": "SerialNumber"}]]},
                "AttributePayload": {"hardware": "rev-b", "location": {"Ref": "Location"}},
                "ThingGroups": ["line-4"],
            },
        },
        "certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"},
        },
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "gateways"}},
    },
    "DeviceConfiguration": {"host": {"Fn::FindInMap": ["Hosts", {"Ref": "Location"}, "host"]}},
}


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text)
    return path


def claim(server, name, template="line", *options) -> Device:
    """A claim as if it were a device; its client id is its own affair."""
    server.ctl("claim", "create", name, "--template", template, "--dir", server.devices, *options, tenant=TENANT)
    key, cert = (server.devices / f"{name}.claim.{end}" for end in ("key", "pem"))
    return Device(TENANT, f"factory-{name}", key, cert, server.ca)


def request(server, name) -> tuple[pathlib.Path, str]:
    key, der = server.key_and_request(name)
    return key, run(["openssl", "req", "-inform", "DER"], stdin=der).stdout.decode()


def use_its_shadow(server, device):
    """The device that came in connects with its certificate and uses its own shadow."""
    connection = connect3(server, device, clean=False)
    client = iotshadow.IotShadowClientV2(connection, ClientOptions(4, 2, WAIT))
    state = iotshadow.ShadowState(reported={"up": True})
    answer = client.update_shadow(iotshadow.UpdateShadowRequest(thing_name=device.name, state=state)).result(WAIT)
    expect(answer.version, 1)
    connection.disconnect().result(WAIT)


@story.check
def first_generation(server):
    """IotIdentityClient: a certificate for a request, a thing by the template, and the new device is in"""
    connection = connect3(server, claim(server, "v1"), clean=False)
    client = iotidentity.IotIdentityClient(connection)
    made, thing, no = queue.Queue(), queue.Queue(), queue.Queue()
    subscriptions = (
        (client.subscribe_to_create_certificate_from_csr_accepted, iotidentity.CreateCertificateFromCsrSubscriptionRequest(), made),
        (client.subscribe_to_create_certificate_from_csr_rejected, iotidentity.CreateCertificateFromCsrSubscriptionRequest(), no),
        (client.subscribe_to_register_thing_accepted, iotidentity.RegisterThingSubscriptionRequest(template_name="line"), thing),
        (client.subscribe_to_register_thing_rejected, iotidentity.RegisterThingSubscriptionRequest(template_name="line"), no),
    )
    for subscribe, wanted, box in subscriptions:
        subscribe(wanted, ONCE, box.put)[0].result(WAIT)
    key, csr = request(server, "v1-device")
    client.publish_create_certificate_from_csr(
        iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr), ONCE
    ).result(WAIT)
    certificate = within(made, WAIT, "a certificate")
    cert = write(server.devices / "v1-device.pem", certificate.certificate_pem)
    der = run(["openssl", "x509", "-in", cert, "-outform", "DER"]).stdout
    expect(certificate.certificate_id, hashlib.sha256(der).hexdigest(), "the certificate's id")
    token = certificate.certificate_ownership_token

    def register(token, serial):
        client.publish_register_thing(
            iotidentity.RegisterThingRequest(
                template_name="line", certificate_ownership_token=token, parameters={"SerialNumber": serial, "Location": "US"}
            ),
            ONCE,
        ).result(WAIT)

    register("wrong", "1")
    rejected = within(no, WAIT, "a rejection")
    expect((rejected.status_code, rejected.error_code), (400, "InvalidCertificateOwnershipToken"))
    register(token, "1")
    answer = within(thing, WAIT, "a thing")
    expect((answer.thing_name, answer.device_configuration), ("gw-1", {"host": "us.example"}))
    register(token, "2")
    expect(within(no, WAIT).error_code, "InvalidCertificateOwnershipToken", "a token is good once")
    connection.disconnect().result(WAIT)
    use_its_shadow(server, Device(TENANT, "gw-1", key, cert, server.ca))
    record = server.ctl("device", "show", "gw-1", tenant=TENANT)
    expect((record["hardware"], record["location"], record["tags"]), ("rev-b", "US", ["line-4"]))


def second_generation(server, protocol_client, serial):
    client = iotidentity.IotIdentityClientV2(protocol_client, ClientOptions(4, 2, WAIT))
    keys = iotidentity.CreateKeysAndCertificateRequest()
    error = rejected(client.create_keys_and_certificate(keys))
    expect((error.status_code, error.error_code), (403, "AccessDenied"), "keys are made on the device")
    key, csr = request(server, f"v2-{serial}")
    certificate = client.create_certificate_from_csr(
        iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr)
    ).result(WAIT)
    thing = client.register_thing(
        iotidentity.RegisterThingRequest(
            template_name="line",
            certificate_ownership_token=certificate.certificate_ownership_token,
            parameters={"SerialNumber": serial},
        )
    ).result(WAIT)
    expect((thing.thing_name, thing.device_configuration), (f"gw-{serial}", {"host": "eu.example"}))
    cert = write(server.devices / f"v2-{serial}.pem", certificate.certificate_pem)
    use_its_shadow(server, Device(TENANT, f"gw-{serial}", key, cert, server.ca))


@story.check
def second_generation_v311(server):
    """IotIdentityClientV2 over MQTT 3.1.1"""
    connection = connect3(server, claim(server, "v2-311"), clean=False)
    second_generation(server, connection, "311")
    connection.disconnect().result(WAIT)


@story.check
def second_generation_v5(server):
    """IotIdentityClientV2 over MQTT 5"""
    client = connect5(server, claim(server, "v2-5"))
    second_generation(server, client, "5")
    client.stop()


@story.check
def keys_where_the_policy_allows(server):
    """CreateKeysAndCertificate, once the tenant allows keys of the server's making"""
    server.ctl("tenant", "policy", "set", "provisioning.server_keys=true", tenant=TENANT)
    connection = connect3(server, claim(server, "keys"), clean=False)
    client = iotidentity.IotIdentityClientV2(connection, ClientOptions(4, 2, WAIT))
    made = client.create_keys_and_certificate(iotidentity.CreateKeysAndCertificateRequest()).result(WAIT)
    client.register_thing(
        iotidentity.RegisterThingRequest(
            template_name="line",
            certificate_ownership_token=made.certificate_ownership_token,
            parameters={"SerialNumber": "keys"},
        )
    ).result(WAIT)
    connection.disconnect().result(WAIT)
    key, cert = server.devices / "keys.key", server.devices / "keys.pem"
    write(key, made.private_key), write(cert, made.certificate_pem)
    use_its_shadow(server, Device(TENANT, "gw-keys", key, cert, server.ca))
    server.ctl("tenant", "policy", "set", "provisioning.server_keys=null", tenant=TENANT)


@story.check
def a_trusted_user(server):
    """A claim of five minutes with its key, as CreateProvisioningClaim answers it"""
    given = server.ctl("template", "claim", "line", tenant=TENANT)
    key, cert = server.devices / "user.key", server.devices / "user.pem"
    write(key, given["keyPair"]["PrivateKey"]), write(cert, given["certificatePem"])
    connection = connect3(server, Device(TENANT, "phone", key, cert, server.ca), clean=False)
    client = iotidentity.IotIdentityClientV2(connection, ClientOptions(4, 2, WAIT))
    _, csr = request(server, "user-device")
    asked = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr)
    expect(len(client.create_certificate_from_csr(asked).result(WAIT).certificate_id), 64)
    connection.disconnect().result(WAIT)


def paho_client(server, device):
    """A paho client with what it hears in a queue; waits until it is in, or says why not."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, device.name, protocol=paho.MQTTv5)
    client.tls_set(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key))
    connects, messages = queue.Queue(), queue.Queue()
    client.on_connect = lambda _c, _u, _f, code, _p: connects.put(code.value)
    client.on_message = lambda _c, _u, message: messages.put(message)
    client.connect("localhost", server.mqtt_port)
    client.loop_start()
    return client, within(connects, WAIT, "a CONNACK"), messages


@story.check
def cbor(server):
    """The same in CBOR, written by cbor2; two connections with one claim and one client id at once"""
    device = claim(server, "cbor")
    (client, code, messages), (other, code2, silence) = paho_client(server, device), paho_client(server, device)
    expect((code, code2), (0, 0))
    topic = "$aws/certificates/create-from-csr/cbor"
    for each in (client, other):
        each.subscribe([(f"{topic}/+", 1), ("$aws/provisioning-templates/line/provision/cbor/+", 1)])
    key, csr = request(server, "cbor-device")
    client.publish(topic, cbor2.dumps({"certificateSigningRequest": csr}), 1)
    message = within(messages, WAIT, "a certificate")
    expect(message.topic, f"{topic}/accepted")
    made = cbor2.loads(message.payload)
    body = {"certificateOwnershipToken": made["certificateOwnershipToken"], "parameters": {"SerialNumber": "cbor"}}
    other.publish("$aws/provisioning-templates/line/provision/cbor", cbor2.dumps(body), 1)
    error = cbor2.loads(within(silence, WAIT, "a rejection").payload)
    expect((error["statusCode"], error["errorCode"]), (400, "InvalidCertificateOwnershipToken"), "another connection")
    client.publish("$aws/provisioning-templates/line/provision/cbor", cbor2.dumps(body), 1)
    thing = cbor2.loads(within(messages, WAIT, "a thing").payload)
    expect(thing, {"thingName": "gw-cbor", "deviceConfiguration": {"host": "eu.example"}})
    client.publish(topic, b"\xff", 1)
    expect(cbor2.loads(within(messages, WAIT).payload)["errorCode"], "InvalidPayload")
    for each in (client, other):
        each.disconnect()
        each.loop_stop()
    cert = write(server.devices / "cbor-device.pem", made["certificatePem"])
    use_its_shadow(server, Device(TENANT, "gw-cbor", key, cert, server.ca))


@story.check
def a_hook_decides(server):
    """The pre-provisioning hook gets AWS's input with a Standard Webhooks signature, and its no is a no"""
    folder = server.folder
    key, cert = folder / "hook.key", folder / "hook.pem"
    # Not an authority, which OpenSSL's own configuration would make it: such a one is no server's certificate.
    config = write(folder / "hook.cnf", "[req]\ndistinguished_name = dn\n[dn]\n")
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert]
        + ["-config", config, "-subj", "/CN=hook", "-days", "1", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:FALSE"]
    )
    asked = queue.Queue()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.put((dict(self.headers.items()), body))
            good = json.loads(body)["parameters"]["SerialNumber"] == "good"
            answer = json.dumps({"allowProvisioning": good, "parameterOverrides": {"Location": "US"}}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{listener.server_address[1]}/fleet"
    template = write(folder / "hooked.json", json.dumps(TEMPLATE))
    made = server.ctl("template", "create", "hooked", template, "--hook-url", url, "--hook-ca", cert, tenant=TENANT)

    connection = connect3(server, claim(server, "hooked", "hooked"), clean=False)
    client = iotidentity.IotIdentityClientV2(connection, ClientOptions(4, 2, WAIT))
    _, csr = request(server, "hooked-device")
    asking = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr)
    certificate = client.create_certificate_from_csr(asking).result(WAIT)

    def register(serial):
        return client.register_thing(
            iotidentity.RegisterThingRequest(
                template_name="hooked",
                certificate_ownership_token=certificate.certificate_ownership_token,
                parameters={"SerialNumber": serial},
            )
        )

    expect(rejected(register("bad")).error_code, "AccessDenied")
    expect(register("good").result(WAIT).device_configuration, {"host": "us.example"}, "the hook's parameter")
    headers, body = within(asked, WAIT)
    headers = {name.lower(): value for name, value in headers.items()}
    secret = base64.b64decode(made["hook_secret"].removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = "v1," + base64.b64encode(hmac.new(secret, text, hashlib.sha256).digest()).decode()
    expect(headers["webhook-signature"], signature)
    fields = {"claimCertificateId", "certificateId", "certificatePem", "templateArn", "clientId", "parameters"}
    expect(set(json.loads(body)), fields)
    connection.disconnect().result(WAIT)
    listener.shutdown()


@story.check
def just_in_time(server):
    """A device of a registered factory is in on its first connection, its record made by AWS's template"""
    pseudo = {f"AWS::IoT::Certificate::{name}": {"Type": "String"} for name in ("CommonName", "SerialNumber", "Country", "Id")}
    body = {
        "Parameters": pseudo,
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"},
                    "AttributePayload": {"serial": {"Ref": "AWS::IoT::Certificate::SerialNumber"}},
                    "ThingGroups": [{"Ref": "AWS::IoT::Certificate::Country"}],
                },
            },
        },
    }
    config = {"templateBody": json.dumps(body), "roleArn": "arn:aws:iam::123456789012:role/JITPRole"}
    template = write(server.folder / "jitp.json", json.dumps(config))
    server.ctl("template", "create", "jitp", template, tenant=TENANT)
    maker = Maker(server, TENANT, "maker")
    stranger = maker.device("early")
    try:
        paho_client(server, stranger)
        raise AssertionError("in before its factory is known")
    except (ssl.SSLError, ConnectionError, AssertionError) as error:
        holds("in before" not in str(error), str(error))
    maker.register("--template", "jitp")
    # mosquitto_pub makes one connection and no second attempt.
    device = maker.device("first")
    run(
        ["mosquitto_pub", "-h", "localhost", "-p", server.mqtt_port, "--cafile", device.ca, "--cert", device.cert]
        + ["--key", device.key, "-i", device.name, "-q", "1", "-t", device.topic("hello"), "-m", "1"]
    )
    record = server.ctl("device", "show", "first", tenant=TENANT)
    expect((record["status"], record["tags"], record["attributes"]["serial"]), ("active", ["DE"], "sn-first"))
    use_its_shadow(server, device)


@story.check
def claimed_by_code(server):
    """A device of a factory in mode register waits until somebody uses its claim code"""
    maker = Maker(server, TENANT, "patient")
    maker.register("--mode", "register")
    device = maker.device("boxed")
    client, code, _ = paho_client(server, device)
    client.loop_stop()
    expect(code, 0x87, "not claimed yet")
    waiting = server.ctl("factory-ca", "devices", "--waiting", tenant=TENANT)
    expect([row["name"] for row in waiting], ["boxed"])
    picture = server.folder / "boxed.png"
    made = server.ctl("claim-code", "create", "--serial", "sn-boxed", "--qr", picture, tenant=TENANT)
    holds(picture.read_bytes().startswith(b"\x89PNG"), "a picture of the code")
    expect(server.ctl("claim-code", "use", made["uri"], tenant=TENANT)["device"], "boxed")
    use_its_shadow(server, device)


def main():
    try:
        with Server(arguments=["--hook-network", "127.0.0.0/8"]) as server:
            server.tenant(TENANT)
            server.ctl("template", "create", "line", write(server.folder / "line.json", json.dumps(TEMPLATE)), tenant=TENANT)
            story.tell(server)
    except SystemExit as told:
        # As in aws_iot_sdk.py: the SDK's native threads may crash while the interpreter is taken down.
        sys.stdout.flush()
        os._exit(int(told.code or 0))


main()
