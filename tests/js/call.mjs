// Calls `notify` with Firebase's own client library, as an app does.
//
// On stdin: {"user": {"email", "password"} | null, "calls": [data, ...]}; on stdout: what the app
// gets for each, {"data"} or {"code", "message", "details"}.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const { initializeApp, deleteApp } = require("firebase/app");
const { connectAuthEmulator, getAuth, signInWithEmailAndPassword } = require("firebase/auth");
const { connectFunctionsEmulator, getFunctions, httpsCallable } = require("firebase/functions");

const { user, calls } = JSON.parse(readFileSync(0, "utf8"));
const app = initializeApp({ projectId: process.env.GCLOUD_PROJECT, apiKey: "local" });
const auth = getAuth(app);
connectAuthEmulator(auth, `http://${process.env.FIREBASE_AUTH_EMULATOR_HOST}`, {
  disableWarnings: true,
});
const functions = getFunctions(app);
const { hostname, port } = new URL(process.env.FUNCTIONS_EMULATOR_URL);
connectFunctionsEmulator(functions, hostname, Number(port));

if (user) await signInWithEmailAndPassword(auth, user.email, user.password);
const notify = httpsCallable(functions, "notify");
const answers = [];
for (const data of calls) {
  try {
    answers.push({ data: (await notify(data)).data });
  } catch ({ code, message, details }) {
    answers.push({ code, message, details });
  }
}
console.log(JSON.stringify(answers));
await deleteApp(app);
