"""aiomqtt: paho underneath, and a manner of its own to come back and to give up."""

import asyncio
import ssl

import aiomqtt
from fleet import matrix
from fleet.loop import run
from fleet.matrix import Can, ways
from fleet.server import Server, shared
from fleet.story import Story, expect, holds, within
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

story = Story("aiomqtt")


def properties(packet, **values):
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def make(device, line, way, clean=True, will=None):
    """aiomqtt's client, which has to be made where its loop runs."""
    tls = ssl.create_default_context(cafile=str(device.ca))
    tls.load_cert_chain(str(device.cert), str(device.key))
    if way.alpn:
        tls.set_alpn_protocols(way.alpn)
    options = {"clean_session": clean}
    if way.five:
        kept = properties(PacketTypes.CONNECT, SessionExpiryInterval=0 if clean else 3600)
        options = {"clean_start": clean, "properties": kept}
    if will:
        told = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay) if way.five else None
        options["will"] = aiomqtt.Will(will.topic, will.payload, 1, properties=told)
    version = aiomqtt.ProtocolVersion.V5 if way.five else aiomqtt.ProtocolVersion.V311
    return aiomqtt.Client(line.host, line.port, identifier=device.name, protocol=version, tls_context=tls, timeout=10, **options)


class Client(matrix.Client):
    """The loop that aiomqtt's documentation has for those who want to come back, with what happens in queues."""

    can = Can(session_present=False)
    task = None

    def connect(self, *filters, qos=1):
        self.task = run(self.begin(filters, qos))
        return within(self.ups, matrix.WAIT, "its connection")

    async def begin(self, filters, qos):
        return asyncio.create_task(self.live(make(self.device, self.line, self.way, self.clean, self.will), filters, qos))

    async def live(self, client, filters, qos):
        while True:
            try:
                async with client as self.inner:
                    for topic in filters:
                        codes = await self.inner.subscribe(topic, qos=qos)
                        expect([getattr(code, "value", code) for code in codes], [qos], f"SUBACK for {topic}")
                    # Its session keeps them; where they are asked for once, a session that was lost shows.
                    filters = ()
                    self.ups.put(None)
                    async for it in self.inner.messages:
                        self.messages.put((str(it.topic), bytes(it.payload), it.qos, bool(it.retain)))
            except aiomqtt.MqttError as error:
                cause = getattr(error.__cause__, "rc", None)
                self.ends.put(getattr(cause, "value", cause))
                if not self.returns:
                    return
                await asyncio.sleep(1)

    def publish(self, topic, payload, qos=1, retain=False):
        run(self.inner.publish(topic, payload, qos=qos, retain=retain))

    def leave(self):
        # It leaves its block, which says DISCONNECT.
        run(self.cancel())

    def drop(self):
        if self.task:
            run(self.cancel())

    async def cancel(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


matrix.tell(story, Client, ways("8883", "ALPN"))


def each_version(check):
    """Runs the coroutine on both versions of the protocol."""

    def both(server):
        for way in ways("8883"):
            run(check(server, way, way.version.replace(".", "")))

    both.__doc__, both.__name__ = check.__doc__, check.__name__
    return both


@story.check
@each_version
async def retains(server, way, name):
    """A retained message comes to who subscribes later, marked as such"""
    device, line = server.enrol("acme", f"aio-kept-{name}"), matrix.plain_line(server, way)
    topic = shared(f"aio-kept/{name}")
    async with make(device, line, way) as one:
        await one.publish(topic, "stays", qos=1, retain=True)
        await one.subscribe(topic, qos=1)
        message = await asyncio.wait_for(anext(aiter(one.messages)), 10)
        expect((message.payload, message.retain), (b"stays", True))


@story.check
@each_version
async def refusals(server, way, name):
    """A wrong client id, a foreign topic and no certificate are errors that say so"""
    device, other = server.enrol("acme", f"aio-own-{name}"), server.enrol("acme", f"aio-other-{name}")
    line = matrix.plain_line(server, way)
    try:
        async with make(type(device)("acme", "someone", device.key, device.cert, device.ca), line, way):
            raise AssertionError("let in under another's name")
    except aiomqtt.MqttError:
        pass
    tls = ssl.create_default_context(cafile=str(device.ca))
    try:
        async with aiomqtt.Client(line.host, line.port, identifier=device.name, tls_context=tls, timeout=10):
            raise AssertionError("let in without a certificate")
    except aiomqtt.MqttError:
        pass
    async with make(device, line, way) as one:
        codes = await one.subscribe(other.topic("#"), qos=1)
        holds(all(getattr(code, "value", code) >= 0x80 for code in codes), f"granted: {codes}")


def main():
    with Server() as server:
        server.tenant("acme")
        story.tell(server)


if __name__ == "__main__":
    main()
