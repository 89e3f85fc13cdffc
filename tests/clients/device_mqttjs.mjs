// A device on mqtt.js, as its users would write it: device_mqttjs.mjs URL VERSION DEVICE
//
// Learns what it should be, reports it at every quality of service, and sends something that can't be applied.
// Prints a line of JSON with what it saw. CLIENTS says where mqtt.js is installed.

import { createRequire } from "node:module";

const mqtt = createRequire(`${process.env.CLIENTS}/`)("mqtt");
const [url, version, device] = process.argv.slice(2);
const seen = {};

const client = mqtt.connect(url, {
  username: device,
  password: "any",
  protocolVersion: version === "5" ? 5 : 4,
  reconnectPeriod: 0,
});
client.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
const closed = () => {
  console.error("the connection was closed");
  process.exit(1);
};
client.on("close", closed);
client.on("connect", () => {
  seen.connected = true;
  client.subscribe(`devices/${device}/desired`, { qos: 1 });
});
client.once("message", async (topic, payload) => {
  seen.desired = JSON.parse(payload.toString()).desired;
  for (const qos of [0, 1, 2]) {
    const state = { ...seen.desired, [`qos${qos}`]: true };
    await client.publishAsync(`devices/${device}/state`, JSON.stringify(state), { qos });
  }
  try {
    await client.publishAsync(`devices/${device}/state`, "not JSON", { qos: 1 });
    seen.refused = [0, ""];
  } catch (error) {
    seen.refused = [error.code, error.message];
  }
  client.off("close", closed);
  await client.endAsync();
  console.log(JSON.stringify(seen));
});
