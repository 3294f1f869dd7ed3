"""The AWS IoT device SDK's connections to a server, on the ports that it knows, and what its V2 clients are refused with."""

import contextlib
import itertools
import queue
import random
from concurrent.futures import Future

import awsiot
from awscrt import mqtt, mqtt5
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from fleet import matrix
from fleet.line import Line
from fleet.matrix import Can, ways
from fleet.story import holds, titled, within

WAIT = 15
WAYS = ways("8883", "ALPN")


# The SDK's native threads crash now and then while its objects are taken down (1.31): so none is, as long as the script runs.
KEPT = []


def keep(made):
    KEPT.append(made)
    return made


class Front:
    """Addresses of this host that have the ports 8883 and 443, and the server behind them: the SDK speaks ALPN on 443 only."""

    def __init__(self):
        # Somebody else may have these ports on 127.0.0.1.
        stem = f"127.{random.randrange(1, 250)}.{random.randrange(250)}"
        self.hosts = [f"{stem}.{number}" for number in range(1, 9)]
        self.next = itertools.cycle(self.hosts)

    @property
    def arguments(self) -> list[str]:
        """The server's certificate is to name them."""
        return [part for host in self.hosts for part in ("--public-host", host)]

    def line(self, server, way):
        return Line(lambda: way.port(server), next(self.next), 443 if way.door == "ALPN" else 8883)

    def each_way(self, story, over=WAYS, proves=None):
        """Tells a check on both versions of the protocol and both ports; it gets the way and a line."""

        def add(check):
            for way in over:

                def run(server, way=way):
                    with self.line(server, way) as line:
                        check(server, way, line)

                story.add(f"{way} {titled(check)}", run, [(proves, check.__name__, str(way))] if proves else [])
            return check

        return add


def common(at, device):
    """What both builders need. Their default is port 443 with ALPN; `at` is a line, or a server whose MQTT port is meant."""
    host, port = (at.host, at.port) if isinstance(at, Line) else ("localhost", at.mqtt_port)
    files = {"cert_filepath": str(device.cert), "pri_key_filepath": str(device.key), "ca_filepath": str(device.ca)}
    return {"endpoint": host, "client_id": device.name, **files, **({} if port == 443 else {"port": port})}


# Its own waiting between tries, in place of a minute; who is to stay away waits longer than any story.
SOON, NEVER = 1, 600


def connect3(at, device, clean=True, **options):
    """MQTT 3.1.1, as the SDK's samples do it."""
    options = {"keep_alive_secs": 30, **options}
    connection = keep(mqtt_connection_builder.mtls_from_path(**common(at, device), clean_session=clean, **options))
    connection.connect().result(WAIT)
    return connection


def connect5(at, device, **options):
    """MQTT 5, with options of the SDK's own."""
    up = Future()
    client = mqtt5_client_builder.mtls_from_path(
        **common(at, device),
        on_lifecycle_connection_success=lambda data: up.done() or up.set_result(data),
        on_lifecycle_connection_failure=lambda data: up.done() or up.set_exception(data.exception),
        **options,
    )
    keep(client).start()
    up.result(WAIT)
    return client


def connect(at, device, way, soon=False):
    """Either, for clients that take both; `soon`: it does not wait long before it comes back."""
    make, pauses, pause = connect3, ("reconnect_min_timeout_secs", "reconnect_max_timeout_secs"), SOON
    if way.five:
        make, pauses, pause = connect5, ("min_reconnect_delay_ms", "max_reconnect_delay_ms"), 1000 * SOON
    return make(at, device, **(dict.fromkeys(pauses, pause) if soon else {}))


def end(connection):
    if isinstance(connection, mqtt5.Client):
        connection.stop()
    else:
        connection.disconnect().result(WAIT)


def rejected(future):
    """What a V2 client was refused with."""
    try:
        answer = future.result(WAIT)
    except awsiot.V2ServiceException as refused:
        holds(refused.modeled_error is not None, f"no modeled error: {refused.message} {refused.inner_error}")
        return refused.modeled_error
    raise AssertionError(f"accepted: {answer}")


class Three(matrix.Client):
    """The connection of MQTT 3.1.1, with the builder's defaults: a session that is kept, a keep-alive of 20 minutes, a user name."""

    can = Can(qos=1)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        more = {"clean_session": True} if self.clean else {}
        if self.will:
            more["will"] = mqtt.Will(self.will.topic, mqtt.QoS.AT_LEAST_ONCE, self.will.payload.encode(), False)
        pause = SOON if self.returns else NEVER
        self.connection = mqtt_connection_builder.mtls_from_path(
            **common(self.line, self.device),
            on_connection_interrupted=lambda **_: self.ends.put(None),
            on_connection_resumed=lambda session_present, **_: self.ups.put(session_present),
            reconnect_min_timeout_secs=pause,
            reconnect_max_timeout_secs=pause,
            **more,
        )
        keep(self.connection).on_message(
            lambda topic, payload, qos, retain, **_: self.messages.put((topic, bytes(payload), int(qos), retain))
        )

    def connect(self, *filters, qos=1):
        present = self.connection.connect().result(WAIT)["session_present"]
        for topic in filters:
            granted = self.connection.subscribe(topic, mqtt.QoS(qos))[0].result(WAIT)["qos"]
            holds(granted == mqtt.QoS(qos), f"SUBACK for {topic}: {granted}")
        return present

    def publish(self, topic, payload, qos=1, retain=False):
        self.connection.publish(topic, payload, mqtt.QoS(qos), retain)[0].result(matrix.WAIT)

    def leave(self):
        self.connection.disconnect().result(WAIT)

    def drop(self):
        # It says so by exceptions of several kinds where it is not connected.
        with contextlib.suppress(Exception):
            self.leave()


class Five(matrix.Client):
    """The client of MQTT 5."""

    can = Can(qos=1)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.stopped = queue.Queue()
        more = {}
        if not self.clean:
            behaviour = mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS
            more = {"session_behavior": behaviour, "session_expiry_interval_sec": 3600}
        if self.will:
            more["will"] = mqtt5.PublishPacket(self.will.payload, mqtt5.QoS.AT_LEAST_ONCE, topic=self.will.topic)
            more["will_delay_interval_sec"] = self.will.delay
        pause = 1000 * (SOON if self.returns else NEVER)
        self.client = mqtt5_client_builder.mtls_from_path(
            **common(self.line, self.device),
            on_publish_received=self.heard,
            on_lifecycle_connection_success=lambda data: self.ups.put(data.connack_packet.session_present),
            on_lifecycle_disconnection=self.ended,
            on_lifecycle_stopped=self.stopped.put,
            min_reconnect_delay_ms=pause,
            max_reconnect_delay_ms=pause,
            **more,
        )

    def heard(self, data):
        it = data.publish_packet
        self.messages.put((it.topic, bytes(it.payload or b""), int(it.qos), it.retain))

    def ended(self, data):
        packet = data.disconnect_packet
        self.ends.put(int(packet.reason_code) if packet else None)

    def connect(self, *filters, qos=1):
        keep(self.client).start()
        present = within(self.ups, WAIT, "the CONNACK")
        for topic in filters:
            packet = mqtt5.SubscribePacket([mqtt5.Subscription(topic, mqtt5.QoS(qos))])
            codes = [int(code) for code in self.client.subscribe(packet).result(WAIT).reason_codes]
            holds(codes == [qos], f"SUBACK for {topic}: {codes}")
        return present

    def publish(self, topic, payload, qos=1, retain=False):
        packet = mqtt5.PublishPacket(payload, mqtt5.QoS(qos), retain, topic)
        puback = self.client.publish(packet).result(matrix.WAIT).puback
        return None if puback is None or puback.reason_code is None else int(puback.reason_code)

    def leave(self):
        self.client.stop(mqtt5.DisconnectPacket())
        within(self.stopped, WAIT, "the end of the client")

    def drop(self):
        self.client.stop()


def adapter(device, line, way, **options):
    return (Five if way.five else Three)(device, line, way, **options)
