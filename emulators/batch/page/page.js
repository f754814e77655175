// The page: shows the emulator's event stream, and sends the actions.

import { ask, clock, draw, fillSelect, h } from "./dom.js";
import { drawDeliveries } from "./deliveries.js";
import { eventsOf } from "./events.js";
import { EXAMPLES } from "./examples.js";
import { drawPeople } from "./people.js";
import { drawPhones, pushesOfCampaign, pushOf, trackedBy } from "./phones.js";
import { drawTimeline } from "./timeline.js";

const FAULTS = [
  ["503", "is down (503)", { status: 503 }],
  ["429", "has too many requests (429)", { status: 429 }],
  ["504", "loses the answer (504)", { status: 504 }],
  ["reset", "resets the connection", { reset: true }],
  ["hang", "does not answer", { hang: true, accept: false }],
  ["400", "refuses the request (400)", { status: 400 }],
];

const LISTED = 30; // events to choose from
const OLD_CODE = "Until it does, the functions run the code from before.";
const MAY_BE_TWICE = "Batch may have accepted it already: people may get it twice.";

const $ = (id) => document.getElementById(id);

const page = { view: null, selected: null, isFollowing: true, busy: [], arrived: null, unheard: [] };

// --- Showing

function render() {
  const { view } = page;
  if (!view) return;
  const isAlone = view.deliveries === null;
  const sends = view.calls.filter((call) => call.route === "transactional/send");
  const ofCampaigns = view.campaigns.flatMap((each) => pushesOfCampaign(each, view.calls));
  const tracked = view.calls.filter((call) => call.accepted).flatMap(trackedBy);
  const pushes = [...sends.filter((call) => call.accepted).map(pushOf), ...tracked, ...ofCampaigns];
  pushes.sort((one, other) => new Date(other.at) - new Date(one.at));
  announce(pushes);

  const people = [...new Set(pushes.flatMap((push) => push.to))].sort();
  fillSelect($("person"), [["", "everybody"], ...people.map((each) => [each, each])]);
  const called = [...sends.map((call) => call.app ?? call.app_key), ...tracked.map(({ app }) => app)];
  const apps = [...new Set([...view.apps, ...called])];
  fillSelect($("fault-app"), [["", "all apps"], ...apps.map((each) => [each, each])]);
  const ofPerson = pushes.filter((push) => isFor(push, $("person").value));
  const events = eventsOf(view, page.unheard);
  const event = page.isFollowing ? newestOf(events) : events.find((each) => each.key === page.selected);
  const selected = event?.key;
  drawPhones($("screens"), { apps, pushes: ofPerson, selected, select });
  drawTimeline($("timeline"), event);
  fillSelect($("event"), events.slice(0, LISTED).map((each) => [each.key, inOneLine(each)]));
  $("event").value = selected ?? "";
  $("event").disabled = !events.length;
  $("follow").setAttribute("aria-pressed", String(page.isFollowing));

  $("known").hidden = !view.people.length;
  drawPeople($("people"), view.people);

  draw($("faults"), view.faults, (faults) => faults.map((each) => h("li", {}, inWords(each))));
  $("end-outage").disabled = !view.faults.length;

  $("problem").hidden = !view.problem;
  $("problem").textContent = view.problem ? `The code does not load: ${view.problem}\n${OLD_CODE}` : "";
  $("ui").hidden = !view.ui;
  if (view.ui) $("ui").href = view.ui;
  $("write-alone").hidden = $("deliveries-alone").hidden = !isAlone;
  document.querySelector("#write fieldset").disabled = isAlone;
  $("sweep").disabled = $("rotate").disabled = isAlone;
  const { busy } = page;
  drawDeliveries($("deliveries"), { deliveries: view.deliveries ?? [], selected, busy, select, replay });
  $("deliveries").hidden = isAlone;
}

/** `12:00:01 SENT new_message conversations/dinner/messages/1` */
function inOneLine({ at, state, name, document }) {
  return [clock(at), state, name, document].filter(Boolean).join(" ");
}

function select(key) {
  Object.assign(page, { selected: key, isFollowing: false });
  render();
}

function isFor(push, person) {
  return !person || push.campaign !== undefined || push.to.includes(person);
}

/** The newest event; profiles follow pushes at a pace of their own, and do not displace them. */
function newestOf(events) {
  return events.find((each) => !each.ofPeople) ?? events[0];
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
  const { kind, calls } = await ask("PUT", address(path), fields);
  if (!calls.length) page.unheard.push({ at: new Date().toISOString(), path, kind });
  page.isFollowing = true;
  render();
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

/** Show what a replay would do, and do it if the person agrees. */
async function replay({ id, state }) {
  const isHeld = state === "HELD";
  const url = `/__deliveries/${id}/replay?resend_unknown=${isHeld}`;
  page.busy = [...page.busy, id];
  render();
  await saying($("replayed"), async () => {
    const plan = await ask("GET", url);
    if (!(await agreed(plan, isHeld))) return "Nothing was sent.";
    return (await ask("POST", url)).says.join("\n");
  });
  page.busy = page.busy.filter((each) => each !== id);
  render();
}

/** Whether the person wants the plan carried out. */
function agreed({ function: name, document, says, sends }, isHeld) {
  const dialog = $("plan");
  $("plan-event").textContent = `${name} ${document}`;
  $("plan-says").textContent = says.join("\n");
  $("plan-risk").textContent = isHeld && sends ? MAY_BE_TWICE : "";
  $("plan-send").hidden = !sends;
  $("plan-send").textContent = isHeld ? "Send anyway" : "Send it";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "send"), { once: true });
  });
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
$("event").addEventListener("change", () => select($("event").value));
$("plan-send").addEventListener("click", () => $("plan").close("send"));
$("plan-cancel").addEventListener("click", () => $("plan").close());
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
