// The search, and the list of what it found.

import { ask } from "./api.js";
import { attempt, badge, button, counted, h, moment } from "./dom.js";

const form = document.getElementById("search");
const count = document.getElementById("found-count");
const list = document.getElementById("found");
const more = document.getElementById("found-more");

let shown = null; // the search that the list answers
let address = "#/deliveries"; // its own
let found = [];

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const filled = [...new FormData(form)].filter(([, text]) => text.trim());
  const query = new URLSearchParams(filled).toString();
  const hash = query ? `#/deliveries?${query}` : "#/deliveries";
  forget();
  if (location.hash === hash) showSearch(new URLSearchParams(query));
  else location.hash = hash;
});

export function drawStates(states) {
  document.getElementById("states").replaceChildren(
    ...states.map((state) =>
      h("label", { class: "choice" }, h("input", { type: "checkbox", name: "state", value: state }), badge(state)),
    ),
  );
}

/** The way back to the list. */
export function addressOfList() {
  return address;
}

/** After a replay, the list is no longer true. */
export function forget() {
  shown = null;
}

export async function showSearch(parameters) {
  address = location.hash;
  if (parameters.toString() === shown) return;
  shown = parameters.toString();
  fill(parameters);
  found = [];
  draw(parameters, null);
  await read(parameters, {});
}

function fill(parameters) {
  for (const name of ["user", "document", "function", "since"]) {
    form.elements[name].value = parameters.get(name) ?? "";
  }
  for (const box of form.querySelectorAll("[name=state]")) {
    box.checked = parameters.getAll("state").includes(box.value);
  }
}

async function read(parameters, next) {
  const search = shown;
  count.textContent = "Searching";
  const answer = await attempt(() => ask("deliveries", [...parameters, ...Object.entries(next)]));
  if (shown !== search) return; // another one was begun meanwhile
  if (answer) {
    found = answer.is_continued ? [...found, ...answer.deliveries] : answer.deliveries;
    found.sort((one, other) => other.created_at.localeCompare(one.created_at));
  } else {
    forget();
  }
  draw(parameters, answer);
}

function draw(parameters, answer) {
  const user = parameters.get("user");
  document.getElementById("found-title").textContent = titleOf(parameters);
  count.textContent = answer ? counted(found.length, "delivery", "deliveries") : "";
  list.replaceChildren(...found.map((each) => h("li", {}, card(each, user))));
  if (answer && !found.length && !answer.next) list.append(h("li", { class: "empty" }, whyNone(user)));
  const goOn = (text) => button(text, () => read(parameters, answer.next));
  more.replaceChildren(
    ...(answer?.question ? [h("p", {}, answer.question), goOn("Read on")] : answer?.next ? [goOn("More")] : []),
  );
}

function titleOf(parameters) {
  if (parameters.get("user")) return `Deliveries about ${parameters.get("user")}`;
  return parameters.size ? "Deliveries" : "What was not sent";
}

function card(delivery, user) {
  return h(
    "article",
    {},
    h("div", { class: "line" }, badge(delivery.state), moment(delivery.created_at)),
    h(
      "a",
      { href: `#/deliveries/${delivery.id}` },
      h("strong", {}, delivery.function),
      " ",
      h("code", {}, delivery.document),
    ),
    delivery.left_out.map((reason) => h("p", { class: "left-out" }, `Not sent to ${user}: ${reason}`)),
    h("p", {}, delivery.left_out.length > 0 && "to others: ", delivery.means, delivery.not_before && [" until ", moment(delivery.not_before)]),
    delivery.apps && h("p", { class: "soft" }, delivery.apps),
  );
}

function whyNone(user) {
  if (!user) return "There is no such delivery.";
  return (
    `No delivery was for ${user}, waits for them, or left them out. Those from before ` +
    "RECIPIENT_INDEX_DAYS was set are not found by user. Search for the document that should have " +
    "told them: if it has no delivery, its write was for nobody, or never reached the function."
  );
}
