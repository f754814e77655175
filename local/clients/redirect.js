// Redirects a Node.js program's requests from Batch to the emulator at BATCH_API_URL:
//
//     BATCH_API_URL=http://127.0.0.1:4010 node --require ./local/clients/redirect.js program.js
//
// For programs without a setting for Batch's address. Their code stays unchanged.
const http = require("http");
const https = require("https");

const emulator = new URL(process.env.BATCH_API_URL);

https.request = (options, answered) => {
  const host = options.hostname || options.host;
  if (host !== "api.batch.com") throw new Error(`a request to ${host}, which is not Batch`);
  const { hostname, port } = emulator;
  return http.request(
    { ...options, protocol: "http:", host: hostname, hostname, port, agent: undefined },
    answered
  );
};
