// Chooses the view from the address: #/deliveries?user=ann, #/deliveries/ID, #/campaigns.

import { ask, takeToken } from "./api.js";
import { showCampaigns } from "./campaigns.js";
import { showDelivery } from "./delivery.js";
import { attempt, h, showProblem } from "./dom.js";
import { drawStates, showSearch } from "./search.js";

async function route() {
  if (takeToken()) {
    location.reload();
    return;
  }
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  const parameters = new URLSearchParams(query);
  const view = name === "campaigns" ? "campaigns" : id ? "delivery" : "deliveries";
  showProblem(null);
  for (const each of ["deliveries", "delivery", "campaigns"]) {
    document.getElementById(each).hidden = each !== view;
  }
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.hash === (view === "campaigns" ? "#/campaigns" : "#/deliveries");
    link.setAttribute("aria-current", isHere ? "page" : "false");
  }
  if (view === "campaigns") await showCampaigns(parameters);
  else if (view === "delivery") await showDelivery(id);
  else await showSearch(parameters);
}

async function start() {
  takeToken();
  window.addEventListener("hashchange", route);
  const project = await attempt(() => ask("project"));
  if (!project) return;
  document.title = `${project.id} · batchpush`;
  document.getElementById("project").append(
    h("strong", {}, project.id),
    ...(project.emulator ? [" ", h("span", { class: "badge" }, "emulator")] : []),
  );
  drawStates(project.states);
  await route();
}

await start();
