// As an expert would write it: no Firebase SDK, a compiled decoder, one pool of connections.
const { createHash, randomBytes } = require("node:crypto");

const { Firestore } = require("@google-cloud/firestore");
const functions = require("@google-cloud/functions-framework");
const { Pool } = require("undici");

// Its package exports everything but this; the decoder is what firebase-functions itself uses.
const protos = require("./node_modules/firebase-functions/protos/compiledFirestore.js");
const { DocumentEventData } = protos.google.events.cloud.firestore.v1;

const database = new Firestore();
const records = database.collection("peer_undici");
const pool = new Pool(process.env.BATCH_API_URL, { connections: 160, bodyTimeout: 10_000 });
const apps = Object.entries({ ios: process.env.IOS_KEY, android: process.env.ANDROID_KEY });

functions.cloudEvent("outbox", async (event) => {
  const { value } = DocumentEventData.decode(event.data);
  const body = JSON.stringify(plain(value.fields));
  const id = createHash("sha256").update(`outbox\n${event.source}\n${event.id}`).digest("hex");
  const now = new Date();
  const record = records.doc(id);
  const claim = await record.create({
    function: "outbox",
    source: event.source,
    event_id: event.id,
    document: event.document,
    state: "CLAIMED",
    owner: randomBytes(8).toString("hex"),
    created_at: now,
    lease_until: new Date(now.getTime() + 60_000),
    expire_at: new Date(now.getTime() + 30 * 24 * 3600_000),
    bodies: [body],
    calls: apps.map(([app]) => ({ app, state: "pending" })),
  });
  const calls = await Promise.all(apps.map(([app, key]) => send(app, key, body)));
  const state = calls.every((call) => call.state === "accepted") ? "SENT" : "RETRY";
  const end = { state, calls, updated_at: new Date() };
  const told = { function: "outbox", state, apps: calls, updated_at: end.updated_at };
  await database
    .batch()
    .update(record, end, { lastUpdateTime: claim.writeTime })
    .set(database.doc(`${event.document}/delivery/state`), told)
    .commit();
  if (state !== "SENT") throw new Error("not every call is accepted yet");
});

async function send(app, key, body) {
  const reply = await pool.request({
    method: "POST",
    path: `/1.1/${key}/transactional/send`,
    headers: { "Content-Type": "application/json", "X-Authorization": process.env.REST_KEY },
    body,
  });
  await reply.body.text();
  return { app, state: reply.statusCode === 201 ? "accepted" : "pending", status: reply.statusCode };
}

function plain(fields) {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value) {
  if (value.mapValue) return plain(value.mapValue.fields);
  if (value.arrayValue) return value.arrayValue.values.map(plainValue);
  return value[value.valueType];
}
