// The page: shows the emulator's event stream, and sends the actions.

import { ask, draw, fillSelect, h } from "./dom.js";
import { drawDeliveries } from "./deliveries.js";
import { EXAMPLES } from "./examples.js";
import { drawPhones, pushesOfCampaign, pushOf } from "./phones.js";
import { drawTimeline } from "./timeline.js";

const FAULTS = [
  ["503", "is down (503)", { status: 503 }],
  ["429", "has too many calls (429)", { status: 429 }],
  ["504", "loses the answer (504)", { status: 504 }],
  ["reset", "resets the connection", { reset: true }],
  ["hang", "does not answer", { hang: true, accept: false }],
  ["400", "refuses the call (400)", { status: 400 }],
];

const $ = (id) => document.getElementById(id);

const page = { view: null, selected: null, isFollowing: true, busy: [], arrived: null };

// --- Showing

function render() {
  const { view } = page;
  if (!view) return;
  const isAlone = view.deliveries === null;
  const sends = view.calls.filter((call) => call.route === "transactional/send");
  const ofCampaigns = view.campaigns.flatMap((each) => pushesOfCampaign(each, view.calls));
  const pushes = [...sends.filter((call) => call.accepted).map(pushOf), ...ofCampaigns];
  pushes.sort((one, other) => new Date(other.at) - new Date(one.at));
  announce(pushes);

  const people = [...new Set(pushes.flatMap((push) => push.to))].sort();
  fillSelect($("person"), [["", "everybody"], ...people.map((each) => [each, each])]);
  const apps = [...new Set([...view.apps, ...sends.map((call) => call.app ?? call.app_key)])];
  fillSelect($("fault-app"), [["", "all apps"], ...apps.map((each) => [each, each])]);
  const ofPerson = pushes.filter((push) => isFor(push, $("person").value));
  const event = eventOf(page.isFollowing ? newest() : page.selected);
  drawPhones($("screens"), { apps, pushes: ofPerson, selected: event.key, select });
  drawTimeline($("timeline"), event);
  $("follow").setAttribute("aria-pressed", String(page.isFollowing));

  draw($("faults"), view.faults, (faults) => faults.map((each) => h("li", {}, inWords(each))));
  $("end-outage").disabled = !view.faults.length;

  $("write-alone").hidden = $("deliveries-alone").hidden = !isAlone;
  document.querySelector("#write fieldset").disabled = isAlone;
  $("sweep").disabled = $("rotate").disabled = isAlone;
  const { busy } = page;
  drawDeliveries($("deliveries"), { deliveries: view.deliveries ?? [], selected: event.key, busy, select, replay });
  $("deliveries").hidden = isAlone;
}

/** The delivery or the call that began last. */
function newest() {
  const delivery = page.view.deliveries?.[0];
  const call = page.view.calls.findLast((each) => each.method === "POST" && !each.delivery);
  if (!delivery || !call) return delivery?.id ?? call?.number ?? null;
  return new Date(call.received_at) > new Date(delivery.created_at) ? call.number : delivery.id;
}

/** Everything known about an event: its record and its calls. */
function eventOf(key) {
  const delivery = page.view.deliveries?.find((each) => each.id === key);
  const calls = page.view.calls.filter((call) => (call.delivery ?? call.number) === key);
  return { key, delivery, calls };
}

function select(key) {
  Object.assign(page, { selected: key, isFollowing: false });
  render();
}

function isFor(push, person) {
  return !person || push.campaign !== undefined || push.to.includes(person);
}

/** Announce new pushes to screen readers. */
function announce(pushes) {
  const fresh = page.arrived && pushes.filter((push) => !page.arrived.has(push.key));
  page.arrived = new Set(pushes.map((push) => push.key));
  if (!fresh?.length) return;
  const words = fresh.map((push) => `${push.app}: ${push.isSilent ? "a silent push" : `${push.title ?? ""} ${push.body}`}`);
  $("arrived").textContent = words.join(". ");
}

function inWords({ times, app, ...fault }) {
  const known = FAULTS.find(([, , each]) => JSON.stringify(each) === JSON.stringify(fault));
  const often = times === null ? "until ended" : times === 1 ? "once more" : `${times} times more`;
  return `Batch ${known?.[1] ?? JSON.stringify(fault)}, ${app ?? "all apps"}, ${often}`;
}

function listen() {
  const events = new EventSource("/__events");
  const say = (word) => {
    $("connection").textContent = word;
    $("connection").dataset.state = word;
  };
  events.onopen = () => say("live");
  events.onerror = () => say("connecting");
  events.onmessage = (event) => {
    page.view = JSON.parse(event.data);
    render();
  };
}

// --- Actions

/** Carry out an action, and show its result. */
async function saying(place, work) {
  place.classList.remove("wrong");
  place.textContent = "";
  try {
    place.textContent = (await work()) ?? "";
  } catch (error) {
    place.classList.add("wrong");
    place.textContent = error.message;
  }
}

function showExample() {
  const { path, fields, before } = EXAMPLES[$("example").value];
  $("path").value = path;
  $("fields").value = JSON.stringify(fields, null, 2);
  const first = Object.keys(before);
  $("before").textContent = first.length ? `Written first: ${first.join(", ")}` : "";
}

async function write() {
  const id = Date.now().toString(36);
  const filled = (text) => text.replaceAll("{id}", id);
  const fields = parsed($("fields").value);
  for (const [path, before] of Object.entries(EXAMPLES[$("example").value].before)) {
    await ask("PUT", address(filled(path)), before);
  }
  const path = filled($("path").value.trim());
  await ask("PUT", address(path), fields);
  page.isFollowing = true;
  return `Written: ${path}`;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The fields are not JSON: ${error.message}`);
  }
}

function address(path) {
  return `/__documents/${path.split("/").map(encodeURIComponent).join("/")}`;
}

async function replay(id) {
  page.busy = [...page.busy, id];
  render();
  await saying($("replayed"), async () => (await ask("POST", `/__deliveries/${id}/replay`)).said);
  page.busy = page.busy.filter((each) => each !== id);
  render();
}

async function order() {
  const [, , fault] = FAULTS.find(([name]) => name === $("fault").value);
  const app = $("fault-app").value ? { app: $("fault-app").value } : {};
  const times = $("fault-times").value ? Number($("fault-times").value) : null;
  await ask("POST", "/__faults", { ...fault, ...app, times });
}

function onSubmit(form, place, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    saying(place, work);
  });
}

fillSelect($("example"), EXAMPLES.map(({ name }, index) => [String(index), name]));
fillSelect($("fault"), FAULTS.map(([name, words]) => [name, words]));
showExample();

$("example").addEventListener("change", showExample);
$("person").addEventListener("change", render);
$("follow").addEventListener("click", () => {
  page.isFollowing = true;
  render();
});
$("clear").addEventListener("click", () => ask("DELETE", "/__calls"));
$("end-outage").addEventListener("click", () => saying($("troubled"), () => ask("DELETE", "/__faults")));
$("rotate").addEventListener("click", () =>
  saying($("troubled"), async () => {
    await ask("POST", "/__rest_keys/rotate");
    return "Batch now accepts only a new key, which Secret Manager holds. A function that has just read the old one leaves its push to the redelivery.";
  }),
);
$("sweep").addEventListener("click", () =>
  saying($("replayed"), async () => {
    await ask("POST", "/__sweep");
    return "The sweep resumed what waited for 15 minutes, and what had an expired lease.";
  }),
);
onSubmit($("write"), $("written"), write);
onSubmit($("trouble"), $("troubled"), order);
listen();
