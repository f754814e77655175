// As an expert would write it: no Firebase SDK, a compiled decoder, one pool of connections, and
// single writes that share requests.
const { createHash, randomBytes } = require("node:crypto");

const { Firestore } = require("@google-cloud/firestore");
const functions = require("@google-cloud/functions-framework");
const { Pool } = require("undici");

const { bodies } = require("./in_words.js");

// Its package exports everything but this; the decoder is what firebase-functions itself uses.
const protos = require("./node_modules/firebase-functions/protos/compiledFirestore.js");
const { DocumentEventData } = protos.google.events.cloud.firestore.v1;

const database = new Firestore();
const records = database.collection("peer_undici");
const writer = database.bulkWriter({ throttling: false });
const pool = new Pool(process.env.BATCH_API_URL, { connections: 160, bodyTimeout: 10_000 });
const apps = Object.entries({ ios: process.env.IOS_KEY, android: process.env.ANDROID_KEY });

functions.cloudEvent("outbox", (event) =>
  deliver("outbox", event, [JSON.stringify(written(event))], true),
);

functions.cloudEvent("new_message", async (event) => {
  const message = written(event);
  const [, conversationId] = event.document.split("/");
  const conversation = await database.doc(`conversations/${conversationId}`).get();
  const ids = [message.sender_id, ...conversation.get("member_ids")];
  const read = await database.getAll(...ids.map((id) => database.doc(`users/${id}`)));
  const users = Object.fromEntries(read.map((user) => [user.id, user.data()]));
  await deliver("new_message", event, bodies(message, users));
});

async function deliver(name, event, texts, isTold = false) {
  const id = createHash("sha256").update(`${name}\n${event.source}\n${event.id}`).digest("hex");
  const now = new Date();
  const record = records.doc(id);
  const requests = texts.flatMap((body) => apps.map(([app, key]) => ({ app, key, body })));
  const claim = await alone(
    writer.create(record, {
      function: name,
      source: event.source,
      event_id: event.id,
      document: event.document,
      state: "CLAIMED",
      owner: randomBytes(8).toString("hex"),
      created_at: now,
      lease_until: new Date(now.getTime() + 60_000),
      expire_at: new Date(now.getTime() + 30 * 24 * 3600_000),
      bodies: texts,
      calls: requests.map(({ app }) => ({ app, state: "pending" })),
    }),
  );
  const calls = await Promise.all(requests.map(send));
  const state = calls.every((call) => call.state === "accepted") ? "SENT" : "RETRY";
  const end = { state, calls, updated_at: new Date() };
  const unchanged = { lastUpdateTime: claim.writeTime };
  if (isTold) {
    const told = { function: name, state, apps: calls, updated_at: end.updated_at };
    const summary = database.doc(`${event.document}/delivery/state`);
    await database.batch().update(record, end, unchanged).set(summary, told).commit();
  } else {
    await alone(writer.update(record, end, unchanged));
  }
  if (state !== "SENT") throw new Error("not every call is accepted yet");
}

// A write that need not be atomic with others: those of one turn of the loop share a request.
let isFlushing = false;

function alone(result) {
  if (!isFlushing) {
    isFlushing = true;
    setImmediate(() => {
      isFlushing = false;
      void writer.flush();
    });
  }
  return result;
}

async function send({ app, key, body }) {
  const reply = await pool.request({
    method: "POST",
    path: `/1.1/${key}/transactional/send`,
    headers: { "Content-Type": "application/json", "X-Authorization": process.env.REST_KEY },
    body,
  });
  await reply.body.text();
  return { app, state: reply.statusCode === 201 ? "accepted" : "pending", status: reply.statusCode };
}

function written(event) {
  return plain(DocumentEventData.decode(event.data).value.fields);
}

function plain(fields) {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value) {
  if (value.mapValue) return plain(value.mapValue.fields);
  if (value.arrayValue) return value.arrayValue.values.map(plainValue);
  return value[value.valueType];
}
