// Campaigns, with their state in each app.

import { ask } from "./api.js";
import { attempt, badge, button, counted, h, moment } from "./dom.js";

const count = document.getElementById("campaigns-count");
const list = document.getElementById("campaigns-found");
const more = document.getElementById("campaigns-more");
const all = document.getElementById("campaigns-all");

let found = new Map(); // by path

all.addEventListener("change", () => {
  location.hash = all.checked ? "#/campaigns?all=yes" : "#/campaigns";
});

export async function showCampaigns(parameters) {
  all.checked = parameters.has("all");
  found = new Map();
  list.replaceChildren();
  await read(parameters, {});
}

async function read(parameters, next) {
  const before = found;
  count.textContent = "Reading";
  const answer = await attempt(() => ask("campaigns", [...parameters, ...Object.entries(next)]));
  if (found !== before) return; // another list was begun meanwhile
  for (const each of answer?.campaigns ?? []) {
    const apps = [...(found.get(each.path)?.apps ?? []), ...each.apps]; // pages may part them
    found.set(each.path, { ...each, apps });
  }
  draw(parameters, answer);
}

function draw(parameters, answer) {
  const words = all.checked ? ["campaign", "campaigns"] : ["campaign needs care", "campaigns need care"];
  count.textContent = answer ? counted(found.size, ...words) : "";
  list.replaceChildren(...[...found.values()].map((each) => h("li", {}, card(each))));
  more.replaceChildren(...(answer?.next ? [button("More", () => read(parameters, { after: answer.next }))] : []));
}

function card(campaign) {
  return h(
    "article",
    {},
    h("h3", {}, campaign.name ?? "Its document is gone"),
    h("p", { class: "soft" }, h("code", {}, campaign.path)),
    h("ul", { class: "calls" }, campaign.apps.map(appRow)),
  );
}

function appRow(app) {
  return h(
    "li",
    {},
    h("strong", {}, app.app),
    " ",
    badge(app.state),
    " ",
    moment(app.updated_at),
    app.error && h("p", {}, app.error),
    app.campaign_token && h("p", { class: "soft" }, "in Batch: ", h("code", {}, app.campaign_token)),
  );
}
