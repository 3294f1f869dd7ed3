// The checks of mqtt_js.py: node mqtt_js.mjs CHECK JSON. It ends with 0 when the check holds.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.FLEETWARD_NODE}/`);
const mqtt = require('mqtt');
const [check, asked] = process.argv.slice(2);
const { url, version, topic, devices } = JSON.parse(asked);

// A check that hangs has failed.
setTimeout(() => { console.error(`${check} waited in vain`); process.exit(1); }, 40000).unref();

const files = (device) => ({
  key: readFileSync(device.key), cert: readFileSync(device.cert), ca: readFileSync(device.ca),
});

// A client with its messages in a queue.
async function connect(device, more = {}) {
  const client = mqtt.connect(url, {
    clientId: device.name, protocolVersion: version, reconnectPeriod: 0, ...files(device), ...more,
  });
  client.got = [];
  client.on('message', (at, payload, packet) => {
    client.got.push([at, payload.toString(), packet.qos, packet.retain]);
    client.emit('queued');
  });
  client.on('error', () => {});
  await once(client, 'connect');
  return client;
}

async function message(client) {
  while (client.got.length === 0) await once(client, 'queued');
  return client.got.shift();
}

const checks = {
  async retains() {
    const client = await connect(devices.device);
    await client.publishAsync(topic, 'stays', { qos: 1, retain: true });
    await client.subscribeAsync(topic, { qos: 1 });
    assert.deepEqual(await message(client), [topic, 'stays', 1, true]);
    await client.endAsync();
  },

  async denies() {
    const { device } = devices;
    let client = await connect(device);
    const refused = version === 5 ? 0x87 : 0x80;
    for (const filter of [topic, '#', '$SYS/#', `$share/g/${topic}`]) {
      const granted = await client.subscribeAsync(filter, { qos: 1 }).then((codes) => codes[0].qos, (error) => error.packet?.granted[0]);
      assert.equal(granted, refused, filter);
    }
    if (version === 5) {
      await assert.rejects(client.publishAsync(topic, 'x', { qos: 1 }), { code: 0x87 });
    } else {
      const closed = once(client, 'close');
      client.publish(topic, 'x', { qos: 1 }, () => {});
      await closed;
      client = await connect(device);
    }
    const shadow = `$aws/things/${device.name}/shadow/update`;
    await client.subscribeAsync([`${shadow}/accepted`, `${shadow}/rejected`, `${shadow}/delta`], { qos: 1 });
    await client.publishAsync(shadow, JSON.stringify({ state: { desired: { led: 'on' } } }), { qos: 1 });
    assert.equal((await message(client))[0], `${shadow}/delta`);
    assert.equal((await message(client))[0], `${shadow}/accepted`);
    await client.publishAsync(shadow, '{', { qos: 1 });
    const [at, payload] = await message(client);
    assert.equal(at, `${shadow}/rejected`);
    assert.equal(JSON.parse(payload).code, 400);
    await client.endAsync(true);
  },

  async pages() {
    const WebSocket = require('ws');
    const answer = (subprotocol, more) => new Promise((resolve) => {
      const socket = new WebSocket(url, subprotocol, { ...files(devices.device), ...more });
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode));
      socket.on('open', () => { socket.close(); resolve(101); });
      socket.on('error', (error) => resolve(String(error)));
    });
    assert.equal(await answer('mqtt', {}), 101);
    assert.equal(await answer('mqtt', { origin: 'https://elsewhere.example' }), 403);
    assert.equal(await answer([], {}), 400);
    assert.equal(await answer('wamp', {}), 400);
  },
};

await checks[check]();
process.exit(0);
