"""The AWS IoT device SDK's connections to a server, and what its V2 clients are refused with."""

from concurrent.futures import Future

import awsiot
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from fleet.story import holds

WAIT = 15


def connect3(server, device, clean=True):
    """MQTT 3.1.1 on the MQTT port, as the SDK's samples do it."""
    connection = mqtt_connection_builder.mtls_from_path(
        endpoint="localhost",
        port=server.mqtt_port,
        cert_filepath=str(device.cert),
        pri_key_filepath=str(device.key),
        ca_filepath=str(device.ca),
        client_id=device.name,
        clean_session=clean,
        keep_alive_secs=30,
    )
    connection.connect().result(WAIT)
    return connection


def connect5(server, device):
    """MQTT 5 on the MQTT port."""
    return connect5_with(server, device)


def connect5_with(server, device, **options):
    """The same with options of the SDK's own."""
    up = Future()
    client = mqtt5_client_builder.mtls_from_path(
        endpoint="localhost",
        port=server.mqtt_port,
        cert_filepath=str(device.cert),
        pri_key_filepath=str(device.key),
        ca_filepath=str(device.ca),
        client_id=device.name,
        on_lifecycle_connection_success=lambda data: up.done() or up.set_result(data),
        on_lifecycle_connection_failure=lambda data: up.done() or up.set_exception(data.exception),
        **options,
    )
    client.start()
    up.result(WAIT)
    return client


def rejected(future):
    """What a V2 client was refused with."""
    try:
        answer = future.result(WAIT)
    except awsiot.V2ServiceException as refused:
        holds(refused.modeled_error is not None, f"no modeled error: {refused.message} {refused.inner_error}")
        return refused.modeled_error
    raise AssertionError(f"accepted: {answer}")
