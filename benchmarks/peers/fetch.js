// As a Firebase team would write it: the SDKs, and the fetch that Node has built in.
const { createHash, randomBytes } = require("node:crypto");

const { initializeApp } = require("firebase-admin/app");
const { getFirestore } = require("firebase-admin/firestore");
const { onDocumentCreated } = require("firebase-functions/firestore");

initializeApp();
const database = getFirestore();
const records = database.collection("peer_fetch");
const apps = Object.entries({ ios: process.env.IOS_KEY, android: process.env.ANDROID_KEY });

exports.outbox = onDocumentCreated({ document: "pushes/{push_id}", retry: true }, async (event) => {
  const body = JSON.stringify(event.data.data());
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
  const reply = await fetch(`${process.env.BATCH_API_URL}/1.1/${key}/transactional/send`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Authorization": process.env.REST_KEY },
    body,
    signal: AbortSignal.timeout(10_000),
  });
  await reply.text();
  return { app, state: reply.status === 201 ? "accepted" : "pending", status: reply.status };
}
