// One client of MQTT.js, driven from outside: node mqtt_js_driver.mjs JSON. Each line of its input is an order, and is answered
// with its number; what happens to the client is told in between. Payloads are in base64.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.env.FLEETWARD_NODE}/`);
const mqtt = require('mqtt');
const { url, version, device, clean, will, returns, alpn } = JSON.parse(process.argv[2]);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const options = {
  clientId: device.name,
  protocolVersion: version,
  key: readFileSync(device.key),
  cert: readFileSync(device.cert),
  ca: readFileSync(device.ca),
  clean,
  reconnectPeriod: returns ? 1000 : 0,
  // Its session keeps them; where they are asked for once, a session that was lost shows.
  resubscribe: false,
};
if (alpn.length > 0) options.ALPNProtocols = alpn;
if (version === 5 && !clean) options.properties = { sessionExpiryInterval: 3600 };
if (will) {
  options.will = { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: false };
  if (version === 5) options.will.properties = { willDelayInterval: will.delay };
}

let client;
let up = false;
let reason = null;

const orders = {
  connect() {
    client = mqtt.connect(url, options);
    client.on('message', (topic, payload, { qos, retain }) => say({ message: [topic, payload.toString('base64'), qos, retain] }));
    client.on('connect', ({ sessionPresent }) => { up = true; reason = null; say({ up: sessionPresent }); });
    client.on('disconnect', (packet) => { reason = packet.reasonCode; });
    client.on('close', () => { if (up) say({ end: reason }); up = false; });
    client.on('error', () => {});
  },
  async subscribe(topic, qos) {
    return (await client.subscribeAsync(topic, { qos }))[0].qos;
  },
  async publish(topic, payload, qos, retain) {
    await client.publishAsync(topic, Buffer.from(payload, 'base64'), { qos, retain });
  },
  async leave() {
    await client.endAsync();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [number, order, ...more] = JSON.parse(line);
  // The next order may come while this one waits for its answer.
  Promise.resolve(orders[order](...more)).then(
    (done) => say({ done: number, with: done ?? null }),
    (error) => say({ done: number, failed: String(error), code: error.code ?? null }),
  );
}
process.exit(0);
