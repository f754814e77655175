// Packs a folder as `firebase deploy` does, with the Firebase CLI's own function.
//
// Argument: the folder, with a firebase.json whose "functions" is one entry; on stdout: the path
// of the archive.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const lib = "./node_modules/firebase-tools/lib/deploy/functions";
const { prepareFunctionsUpload } = require(`${lib}/prepareFunctionsUpload.js`);

const folder = process.argv[2];
const { functions } = JSON.parse(readFileSync(join(folder, "firebase.json"), "utf8"));
const source = join(folder, functions.source);
const options = { exportType: "zip", executablePaths: [] };
const packed = await prepareFunctionsUpload(folder, source, functions, [], undefined, options);
console.log(packed.pathToSource);
