"""aiomqtt: paho underneath, and a manner of its own to come back and to give up."""

import asyncio

import aiomqtt
from fleet.server import Server, shared
from fleet.story import Story, expect, holds

story = Story("aiomqtt")
VERSIONS = {"v311": aiomqtt.ProtocolVersion.V311, "v5": aiomqtt.ProtocolVersion.V5}


def client(server, device, version, **more):
    tls = aiomqtt.TLSParameters(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key))
    return aiomqtt.Client(
        "localhost", server.mqtt_port, identifier=device.name, protocol=version, tls_params=tls, timeout=10, **more
    )


async def next_of(messages):
    return await asyncio.wait_for(anext(messages), 10)


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
    """QoS 0, 1 and 2, payloads of 100 bytes and of 128 KiB, and a retained message"""
    reader, writer = server.enrol("acme", f"aio-reader-{name}"), server.enrol("acme", f"aio-writer-{name}")
    topic = shared(f"aio/{name}")
    async with client(server, reader, version) as one, client(server, writer, version) as other:
        await one.subscribe(topic, qos=2)
        messages = aiter(one.messages)
        for qos, payload in ((0, b"x" * 100), (1, b"y" * 131072), (2, b"z" * 131072)):
            await other.publish(topic, payload, qos=qos)
            message = await next_of(messages)
            expect((str(message.topic), message.payload, message.qos), (topic, payload, qos))
        await other.publish(topic + "/kept", "stays", qos=1, retain=True)
        await one.subscribe(topic + "/#", qos=1)
        message = await next_of(messages)
        expect((message.payload, message.retain), (b"stays", True))


@story.check
@each_version
async def last_will(server, name, version):
    """A client that leaves its block by an error takes leave; one that is taken over has its will published"""
    heir, mortal = server.enrol("acme", f"aio-heir-{name}"), server.enrol("acme", f"aio-mortal-{name}")
    topic = shared(f"aio-wills/{name}")
    will = aiomqtt.Will(topic, payload="gone", qos=1)
    async with client(server, heir, version) as one:
        await one.subscribe(topic, qos=1)
        try:
            async with client(server, mortal, version, will=will):
                async with client(server, mortal, version) as second:
                    message = await next_of(aiter(one.messages))
                    expect(message.payload, b"gone")
                    await second.publish(topic, "still here", qos=1)
                    expect((await next_of(aiter(one.messages))).payload, b"still here")
        except aiomqtt.MqttError as error:
            holds("Disconnected" in str(error) or "disconnect" in str(error).lower(), str(error))


@story.check
@each_version
async def refusals(server, name, version):
    """A wrong client id, a foreign topic and no certificate are errors that say so"""
    device, other = server.enrol("acme", f"aio-own-{name}"), server.enrol("acme", f"aio-other-{name}")
    tls = aiomqtt.TLSParameters(ca_certs=str(device.ca), certfile=str(device.cert), keyfile=str(device.key))
    stranger = aiomqtt.Client(
        "localhost", server.mqtt_port, identifier="someone", protocol=version, tls_params=tls, timeout=10
    )
    try:
        async with stranger:
            raise AssertionError("let in under another's name")
    except aiomqtt.MqttError:
        pass
    async with client(server, device, version) as one:
        codes = await one.subscribe(other.topic("#"), qos=1)
        holds(all(getattr(code, "value", code) >= 0x80 for code in codes), f"granted: {codes}")


@story.check
@each_version
async def resumes(server, name, version):
    """A session that is kept gets what came while it was away"""
    reader, writer = server.enrol("acme", f"aio-away-{name}"), server.enrol("acme", f"aio-busy-{name}")
    topic = shared(f"aio-away/{name}")
    if version == aiomqtt.ProtocolVersion.V5:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        kept = {"clean_start": False, "properties": properties}
    else:
        kept = {"clean_session": False}
    async with client(server, reader, version, **kept) as one:
        await one.subscribe(topic, qos=2)
    async with client(server, writer, version) as other:
        for number in range(20):
            await other.publish(topic, str(number), qos=2)
    async with client(server, reader, version, **kept) as one:
        messages = aiter(one.messages)
        expect([(await next_of(messages)).payload.decode() for _ in range(20)], [str(number) for number in range(20)])


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
