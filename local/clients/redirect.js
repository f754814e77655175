// Sends what a Node.js program means for Batch to the stand-in at BATCH_API_URL:
//
//     BATCH_API_URL=http://127.0.0.1:4010 node --require ./local/clients/redirect.js program.js
//
// For programs that offer no setting for Batch's address. Their code stays as it is.
const http = require("http");
const https = require("https");

const standIn = new URL(process.env.BATCH_API_URL);

https.request = (options, answered) => {
  const host = options.hostname || options.host;
  if (host !== "api.batch.com") throw new Error(`a call to ${host}, which is not Batch`);
  const { hostname, port } = standIn;
  return http.request(
    { ...options, protocol: "http:", host: hostname, hostname, port, agent: undefined },
    answered
  );
};
