// Uses two public clients as in their READMEs, and prints the result of each call.
const batchNode = require("batch-node");
const batchNotifications = require("batch-notifications");

const [, , appKey, restKey] = process.argv;

const push = (name) => ({
  group_id: name,
  recipients: { custom_ids: ["ann"] },
  message: { title: "Hello!", body: `From ${name}` },
});

const campaign = {
  name: "Test campaign",
  push_time: "now",
  live: false,
  messages: [{ language: "en", title: "Hello!", body: "How's it going?" }],
};

async function main() {
  const said = {};

  const old = batchNode(appKey, restKey);
  // It passes the response, like an error, as the callback's first parameter.
  said.batchNode = await new Promise((done) => old.sendNotification(push("batch-node"), done));

  const silent = { info() {}, debug() {}, error() {} };
  const client = batchNotifications({ liveKey: appKey, restKey, logger: silent });
  said.pushToken = await client.transactional.post(push("batch-notifications"));
  const token = await client.campaign.create(campaign);
  said.campaignToken = token;
  await client.campaign.enable(token);
  said.listed = await client.campaign.list();
  said.viewed = await client.campaign.get(token);
  said.stats = await client.campaign.stats(token);
  await client.campaign.remove(token);
  said.isThere = await client.campaign.has(token);

  console.log(JSON.stringify(said));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
