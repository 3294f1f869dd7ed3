"""gmqtt: a client with a codec of its own, MQTT 3.1.1 and 5."""

import asyncio
import logging
import ssl

import gmqtt
from fleet import matrix
from fleet.loop import run
from fleet.matrix import Can, Way, ways
from fleet.server import Server, shared
from fleet.story import Story, expect, holds, within

story = Story("gmqtt")
logging.getLogger("gmqtt").setLevel(logging.CRITICAL)


class Client(matrix.Client):
    """A gmqtt client in a loop of its own, with what happens to it in queues."""

    # It hands a message of QoS 2 on when it comes and not when it is released, so it hands it on again after a loss.
    can = Can(exactly_once=False)
    client = None

    def connect(self, *filters, qos=1):
        run(self.begin())
        for topic in filters:
            expect(self.subscribe(topic, qos=qos), [qos], f"SUBACK for {topic}")
        return within(self.ups)

    async def begin(self):
        more = {"session_expiry_interval": 3600} if self.way.five and not self.clean else {}
        if self.will:
            told = {"will_delay_interval": self.will.delay} if self.way.five else {}
            more["will_message"] = gmqtt.Message(self.will.topic, self.will.payload, qos=1, **told)
        self.client = gmqtt.Client(self.device.name, clean_session=self.clean, **more)
        self.client.set_config({"reconnect_retries": -1 if self.returns else 0, "reconnect_delay": 1})
        self.subacks, self.properties = asyncio.Queue(), asyncio.Queue()
        self.client.on_message = self.heard
        self.client.on_connect = lambda _client, flags, _code, _properties: self.ups.put(bool(flags & 1))
        # A DISCONNECT with its reason; without one where the line was lost.
        self.client.on_disconnect = lambda _client, packet, exc=None: self.ends.put(packet[0] if packet else None)
        self.client.on_subscribe = lambda _client, _mid, codes, _properties: self.subacks.put_nowait(list(codes))
        tls = ssl.create_default_context(cafile=str(self.device.ca))
        tls.load_cert_chain(str(self.device.cert), str(self.device.key))
        if self.way.alpn:
            tls.set_alpn_protocols(self.way.alpn)
        version = gmqtt.constants.MQTTv50 if self.way.five else gmqtt.constants.MQTTv311
        await self.client.connect(self.line.host, self.line.port, ssl=tls, version=version)

    async def heard(self, _client, topic, payload, qos, properties):
        self.properties.put_nowait(properties)
        self.messages.put((topic, bytes(payload), qos, bool(properties.get("retain"))))
        return 0

    def subscribe(self, topic, **options):
        async def answered():
            self.client.subscribe(topic, **options)
            return await asyncio.wait_for(self.subacks.get(), 10)

        return run(answered())

    def publish(self, topic, payload, qos=1, retain=False, **properties):
        async def acknowledged():
            self.client.publish(topic, payload, qos=qos, retain=retain, **properties)
            # It has no other word for an acknowledgement than that it keeps the message no longer.
            await self.client._persistent_storage.wait_empty()

        run(acknowledged(), matrix.WAIT)

    def leave(self):
        try:
            run(self.client.disconnect())
        except ssl.SSLError:
            pass  # the server was still speaking (a PUBREL, say) when Python's TLS had said good-bye

    def drop(self):
        if self.client:
            self.leave()


matrix.tell(story, Client, ways("8883", "ALPN"))


def client(server, device, way):
    return Client(device, matrix.plain_line(server, way), way)


@story.check
def properties(server):
    """MQTT 5: identifiers of subscriptions, user properties, response topic and correlation data come through"""
    way, topic = Way("5", "8883"), shared("g/properties")
    with client(server, server.enrol("acme", "g-asks"), way) as reader, client(server, server.enrol("acme", "g-answers"), way) as writer:
        reader.connect()
        writer.connect()
        reader.subscribe(topic, qos=1, subscription_identifier=77)
        writer.publish(
            topic, b"x", response_topic=shared("g/answers"), correlation_data=b"42", user_property=[("a", "b"), ("a", "c")],
            content_type="text/plain", message_expiry_interval=60,
        )
        reader.message()
        seen = run(reader.properties.get())
        expect(seen["subscription_identifier"], [77])
        expect(seen["user_property"], [("a", "b"), ("a", "c")])
        expect((seen["response_topic"], seen["correlation_data"]), ([shared("g/answers")], [b"42"]))
        holds(0 < seen["message_expiry_interval"][0] <= 60, f"expiry: {seen}")


@story.check
def denies(server):
    """Foreign topics are refused in the SUBACK"""
    for way in ways("8883"):
        name = way.version.replace(".", "")
        one, other = server.enrol("acme", f"g-deny-{name}"), server.enrol("acme", f"g-other-{name}")
        with client(server, one, way) as refused:
            refused.connect()
            for topic in (other.topic("#"), "#", "$share/g/" + other.topic("x")):
                expect(refused.subscribe(topic, qos=1), [0x87 if way.five else 0x80], topic)


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
