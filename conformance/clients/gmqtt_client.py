"""gmqtt: a client with a codec of its own, MQTT 3.1.1 and 5."""

import asyncio
import ssl

import gmqtt
from fleet.server import Server, shared
from fleet.story import Story, expect, holds

story = Story("gmqtt")
VERSIONS = {"v311": gmqtt.constants.MQTTv311, "v5": gmqtt.constants.MQTTv50}


class Client:
    """A gmqtt client with its messages and ends in queues."""

    def __init__(self, device, version, clean=True, **more):
        self.version = version
        if version == gmqtt.constants.MQTTv50 and not clean:
            more["session_expiry_interval"] = 3600
        self.client = gmqtt.Client(device.name, clean_session=clean, **more)
        self.client.set_config({"reconnect_retries": 0})
        self.messages, self.ends, self.subacks = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self.client.on_message = self.heard
        self.client.on_disconnect = lambda _client, packet, exc=None: self.ends.put_nowait(packet)
        self.client.on_subscribe = lambda _client, _mid, codes, _properties: self.subacks.put_nowait(list(codes))
        self.tls = ssl.create_default_context(cafile=str(device.ca))
        self.tls.load_cert_chain(str(device.cert), str(device.key))

    async def heard(self, _client, topic, payload, qos, properties):
        self.messages.put_nowait((topic, bytes(payload), qos, properties))
        return 0

    async def connect(self, server):
        await self.client.connect("localhost", server.mqtt_port, ssl=self.tls, version=self.version)
        return self

    async def subscribe(self, topic, **options):
        self.client.subscribe(topic, **options)
        return await asyncio.wait_for(self.subacks.get(), 10)

    async def message(self):
        return await asyncio.wait_for(self.messages.get(), 10)

    async def leave(self):
        try:
            await self.client.disconnect()
        except ssl.SSLError:
            pass  # the server was still speaking (a PUBREL, say) when Python's TLS had said good-bye


def each_version(check):
    """Runs the coroutine on both versions of the protocol."""

    def both(server):
        for name, version in VERSIONS.items():
            asyncio.run(check(server, name, version))

    both.__doc__, both.__name__ = check.__doc__, check.__name__
    return both


@story.check
@each_version
async def delivers(server, name, version):
    """QoS 0, 1 and 2, payloads of 100 bytes and of 128 KiB"""
    reader = Client(server.enrol("acme", f"g-reader-{name}"), version)
    writer = Client(server.enrol("acme", f"g-writer-{name}"), version)
    topic = shared(f"g/{name}")
    await reader.connect(server)
    await writer.connect(server)
    expect(await reader.subscribe(topic, qos=2), [2])
    for qos, payload in ((0, b"x" * 100), (1, b"y" * 131072), (2, b"z" * 131072)):
        writer.client.publish(topic, payload, qos=qos)
        expect((await reader.message())[:3], (topic, payload, qos))
    await reader.leave()
    await writer.leave()


@story.check
def properties(server):
    """MQTT 5: identifiers of subscriptions, user properties, response topic and correlation data come through"""

    async def told():
        version = VERSIONS["v5"]
        reader = Client(server.enrol("acme", "g-asks"), version)
        writer = Client(server.enrol("acme", "g-answers"), version)
        await reader.connect(server)
        await writer.connect(server)
        topic = shared("g/properties")
        await reader.subscribe(topic, qos=1, subscription_identifier=77)
        writer.client.publish(
            topic, b"x", qos=1, response_topic=shared("g/answers"), correlation_data=b"42", user_property=[("a", "b"), ("a", "c")],
            content_type="text/plain", message_expiry_interval=60,
        )
        seen = (await reader.message())[3]
        expect(seen["subscription_identifier"], [77])
        expect(seen["user_property"], [("a", "b"), ("a", "c")])
        expect((seen["response_topic"], seen["correlation_data"]), ([shared("g/answers")], [b"42"]))
        holds(0 < seen["message_expiry_interval"][0] <= 60, f"expiry: {seen}")
        await reader.leave()
        await writer.leave()

    asyncio.run(told())


@story.check
@each_version
async def resumes(server, name, version):
    """A session that is kept gets what came while it was away, in order"""
    away, busy = server.enrol("acme", f"g-away-{name}"), server.enrol("acme", f"g-busy-{name}")
    topic = shared(f"g-away/{name}")
    reader = await Client(away, version, clean=False).connect(server)
    await reader.subscribe(topic, qos=1)
    await reader.leave()
    writer = await Client(busy, version).connect(server)
    witness = await Client(server.enrol("acme", f"g-sees-{name}"), version).connect(server)
    await witness.subscribe(topic, qos=1)
    for number in range(20):
        writer.client.publish(topic, str(number), qos=1)
        await witness.message()
    reader = await Client(away, version, clean=False).connect(server)
    expect([(await reader.message())[1].decode() for _ in range(20)], [str(number) for number in range(20)])
    for client in (reader, writer, witness):
        await client.leave()


@story.check
@each_version
async def takes_over(server, name, version):
    """A second connection of the same device ends the first, whose last will comes"""
    device, heir = server.enrol("acme", f"g-twice-{name}"), server.enrol("acme", f"g-heir-{name}")
    topic = shared(f"g-wills/{name}")
    one = await Client(heir, version).connect(server)
    await one.subscribe(topic, qos=1)
    first = await Client(device, version, will_message=gmqtt.Message(topic, b"gone", qos=1)).connect(server)
    second = await Client(device, version).connect(server)
    expect((await one.message())[1], b"gone")
    await asyncio.wait_for(first.ends.get(), 10)
    second.client.publish(topic, b"still here", qos=1)
    expect((await one.message())[1], b"still here")
    await second.leave()
    await one.leave()


@story.check
@each_version
async def denies(server, name, version):
    """Foreign topics are refused in the SUBACK"""
    one, other = server.enrol("acme", f"g-deny-{name}"), server.enrol("acme", f"g-other-{name}")
    client = await Client(one, version).connect(server)
    refused = 0x87 if version == VERSIONS["v5"] else 0x80
    for topic in (other.topic("#"), "#", "$share/g/" + other.topic("x")):
        expect(await client.subscribe(topic, qos=1), [refused], topic)
    await client.leave()


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
