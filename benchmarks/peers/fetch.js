// As a Firebase team would write it: the SDKs, and the fetch that Node has built in.
const { createHash, randomBytes } = require("node:crypto");

const { initializeApp } = require("firebase-admin/app");
const { getFirestore } = require("firebase-admin/firestore");
const { onDocumentCreated } = require("firebase-functions/firestore");

const { bodies } = require("./in_words.js");

initializeApp();
const database = getFirestore();
const records = database.collection("peer_fetch");
const apps = Object.entries({ ios: process.env.IOS_KEY, android: process.env.ANDROID_KEY });

exports.outbox = onDocumentCreated({ document: "pushes/{push_id}", retry: true }, (event) =>
  deliver("outbox", event, [JSON.stringify(event.data.data())], true),
);

exports.new_message = onDocumentCreated(
  { document: "conversations/{conversation_id}/messages/{message_id}", retry: true },
  async (event) => {
    const message = event.data.data();
    const { conversation_id } = event.params;
    const conversation = await database.doc(`conversations/${conversation_id}`).get();
    const ids = [message.sender_id, ...conversation.get("member_ids")];
    const read = await database.getAll(...ids.map((id) => database.doc(`users/${id}`)));
    const users = Object.fromEntries(read.map((user) => [user.id, user.data()]));
    await deliver("new_message", event, bodies(message, users));
  },
);

async function deliver(name, event, texts, isTold = false) {
  const id = createHash("sha256").update(`${name}\n${event.source}\n${event.id}`).digest("hex");
  const now = new Date();
  const record = records.doc(id);
  const requests = texts.flatMap((body) => apps.map(([app, key]) => ({ app, key, body })));
  const claim = await record.create({
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
  });
  const calls = await Promise.all(requests.map(send));
  const state = calls.every((call) => call.state === "accepted") ? "SENT" : "RETRY";
  const end = { state, calls, updated_at: new Date() };
  const batch = database.batch().update(record, end, { lastUpdateTime: claim.writeTime });
  if (isTold) {
    const told = { function: name, state, apps: calls, updated_at: end.updated_at };
    batch.set(database.doc(`${event.document}/delivery/state`), told);
  }
  await batch.commit();
  if (state !== "SENT") throw new Error("not every call is accepted yet");
}

async function send({ app, key, body }) {
  const reply = await fetch(`${process.env.BATCH_API_URL}/1.1/${key}/transactional/send`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Authorization": process.env.REST_KEY },
    body,
    signal: AbortSignal.timeout(10_000),
  });
  await reply.text();
  return { app, state: reply.status === 201 ? "accepted" : "pending", status: reply.status };
}
