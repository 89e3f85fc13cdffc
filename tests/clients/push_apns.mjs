// A sender on node-apn: push_apns.mjs HOST:PORT CA KEY KEY_ID TEAM_ID TOPIC TOKEN GONE
//
// Sends to an app on a phone what it should take and what it should refuse. Prints a line of JSON with what came back:
// "sent", or status and reason. CLIENTS says where node-apn is installed.

import { createRequire } from "node:module";

const apn = createRequire(`${process.env.CLIENTS}/`)("@parse/node-apn");
const [host, ca, key, keyId, teamId, topic, token, gone] = process.argv.slice(2);
const [address, port] = host.split(":");

const provider = (changes = {}) =>
  new apn.Provider({ token: { key, keyId, teamId, ...changes }, ca: [ca], address, port, connectionRetryLimit: 0 });
const note = (changes = {}) => {
  const { payload = {}, ...rest } = changes;
  const made = new apn.Notification({ topic, pushType: "alert", collapseId: "alarm-7", expiry: 2000000000, ...rest });
  made.alert = { title: "Battery low", body: "14 %" };
  made.payload = payload;
  return made;
};
const ask = async (sender, made, to = token) => {
  const { sent, failed } = await sender.send(made, to);
  if (sent.length > 0) return "sent";
  const [{ status, response, error }] = failed;
  return [status ?? 0, response?.reason ?? String(error)];
};

const ours = provider();
const stranger = provider({ teamId: "OTHERTEAM1" });
const id = "123e4567-e89b-12d3-a456-4266554400a0";
console.log(JSON.stringify({
  accepted: await ask(ours, note({ id, payload: { alarm: 7 } })),
  again: await ask(ours, note({ id, payload: { alarm: 7 } })),
  quiet: await ask(ours, note({ pushType: "background", priority: 5 })),
  loud: await ask(ours, note({ pushType: "background", priority: 10 })),
  other_topic: await ask(ours, note({ topic: "com.example.other" })),
  no_topic: await ask(ours, note({ topic: undefined })),
  long_key: await ask(ours, note({ collapseId: "x".repeat(65) })),
  large: await ask(ours, note({ payload: { text: "x".repeat(4096) } })),
  nobody: await ask(ours, note(), "0".repeat(64)),
  gone: await ask(ours, note(), gone),
  stranger: await ask(stranger, note()),
}));
await Promise.all([ours.shutdown(), stranger.shutdown()]);
