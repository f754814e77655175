// Evaluates rules of the Realtime Database, with targaryen.
//
// On stdin, one question a line, {"rules", and what is asked}; on stdout, one answer a line, or
// {"error"}:
//   nothing more                         {}, if they are rules
//   "data", "now", "auth", "read": path  {"allowed"}
//   "data", "now", "auth", "update": {path: value, ...}
//                                        {"allowed", "allowed_unless_above"}: the latter where
//                                        `.validate` does not look above what is deleted

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const targaryen = require("targaryen");

const rulesets = new Map(); // by their text

function ruleset(text) {
  if (!rulesets.has(text)) rulesets.set(text, targaryen.ruleset(JSON.parse(text)));
  return rulesets.get(text);
}

// It looks children up without asking whether they are the object's own: `toString` would be a
// child that is there, and one without rules.
function refuseInherited(path) {
  for (const key of path.split("/")) {
    if (key in Object.prototype) throw new Error(`targaryen cannot tell a child ${key}`);
  }
}

function parsed(line) {
  return JSON.parse(line, (key, value) => {
    refuseInherited(key);
    return value;
  });
}

function answer({ rules, data, now, auth, read, update }) {
  const known = ruleset(rules);
  if (read === undefined && update === undefined) return {};
  const database = targaryen.database(known, data, now).as(auth);
  if (read !== undefined) {
    refuseInherited(read);
    return { allowed: database.read(read, now).allowed };
  }
  const after = database.update("/", update, now).newDatabase;
  const results = Object.entries(update).map(([path, value]) => {
    const { permitted, validated } = known.tryWrite(path, database, after, value);
    return { permitted, validated, deleted: value === null };
  });
  return {
    allowed: results.every(({ permitted, validated }) => permitted && validated),
    allowed_unless_above: results.every((r) => r.permitted && (r.validated || r.deleted)),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = answer(parsed(line));
  } catch (error) {
    said = { error: error.message };
  }
  console.log(JSON.stringify(said));
}
