// What happened to one event: from the document to the record, and each call in full.

import { clock, draw, h, inJson, milliseconds } from "./dom.js";
import { named } from "./phones.js";

export function drawTimeline(container, event) {
  draw(container, event ?? null, () => {
    if (!event) return [h("p", { class: "empty" }, "Write a document, and see here what happens to it.")];
    return [
      heading(event),
      event.said && h("p", { class: "note" }, event.said),
      event.campaign && perApp(event.campaign),
      leftOut(event.delivery?.left_out ?? {}),
      steps(event),
      h("div", { class: "calls" }, event.calls.map(inFull)),
    ];
  });
}

function heading({ state, name, document, delivery, campaign, said, ofPeople }) {
  const isCall = !delivery && !campaign && !said && !ofPeople;
  if (isCall) return h("p", { class: "event" }, h("code", {}, document), " arrived without an event");
  return h(
    "p",
    { class: "event" },
    !campaign && badge(state),
    name && h("strong", {}, name),
    h("code", {}, document),
  );
}

/** A campaign's state in each app. */
function perApp({ apps }) {
  const rows = Object.entries(apps).sort(([one], [other]) => one.localeCompare(other));
  return h(
    "ul",
    { class: "apps", "aria-label": "The campaign in each app" },
    rows.map(([app, { state, error }]) =>
      h("li", {}, badge(state), h("strong", {}, app), error && h("span", { class: "detail" }, error)),
    ),
  );
}

/** Who got nothing, by reason. */
function leftOut(byReason) {
  const reasons = Object.entries(byReason);
  return (
    reasons.length > 0 &&
    h(
      "ul",
      { class: "left-out", "aria-label": "Left out" },
      reasons.map(([why, people]) => h("li", {}, `Left out: ${named(people, people.length)} (${why})`)),
    )
  );
}

export function badge(state) {
  return h("span", { class: `badge ${state.toLowerCase().replaceAll(" ", "-")}` }, state);
}

/** The steps with a known time, in order. */
function steps({ at, delivery, campaign, said, calls }) {
  const rows = [];
  if (said) rows.push([at, "Document written", ""]);
  for (const [app, { state, updated_at }] of Object.entries(campaign?.apps ?? {})) {
    rows.push([updated_at, `Recorded ${state} for ${app}`, ""]);
  }
  if (delivery) {
    rows.push([delivery.event_time, "Document written", ""]);
    if (delivery.called_at) rows.push([delivery.called_at, "Function called", ""]);
    rows.push([delivery.created_at, "Claimed", "the record exists, with its requests"]);
  }
  for (const call of calls) {
    rows.push([call.received_at, `${name(call)} request`, forWhom(call)]);
    if (call.answered_at) rows.push([call.answered_at, `${name(call)} reply`, replied(call)]);
  }
  if (delivery && delivery.state !== "CLAIMED") {
    rows.push([delivery.updated_at, `Recorded ${delivery.state}`, reason(delivery)]);
  }
  rows.sort((one, other) => new Date(one[0]) - new Date(other[0]));
  const start = rows[0][0];
  return h(
    "ol",
    { class: "steps" },
    rows.map(([at, step, detail], index) =>
      h(
        "li",
        {},
        h("time", { datetime: at }, index ? `+${milliseconds(start, at)} ms` : clock(at)),
        h("span", {}, h("strong", {}, step), " ", h("span", { class: "detail" }, detail)),
      ),
    ),
  );
}

function name(call) {
  return call.app ?? call.app_key ?? "Batch";
}

export function reason(delivery) {
  return delivery.reason ?? delivery.calls.find((call) => call.problem)?.problem ?? "";
}

function replied(call) {
  const said = call.reply.body?.message ?? call.reply.body?.error_message;
  return said ? `${call.reply.status}, ${said}` : String(call.reply.status);
}

function recipients(call) {
  if (call.events.length) return call.events.flatMap(({ to }) => to);
  return Object.values(call.body?.recipients ?? {}).flat();
}

function total(call) {
  if (call.events.length) return recipients(call).length;
  return Object.values(call.recipients).reduce((sum, each) => sum + each, 0);
}

function forWhom(call) {
  return total(call) ? `for ${named(recipients(call), total(call))}` : (call.route ?? call.path);
}

function inFull(call) {
  const shown = recipients(call).length;
  const ended = call.reply ? call.reply.status : "no answer";
  const taken = call.answered_at ? `${milliseconds(call.received_at, call.answered_at)} ms` : "";
  return h(
    "details",
    { class: "call", "data-key": `call-${call.number}` },
    h(
      "summary",
      { "data-key": `summary-${call.number}` },
      h("span", { class: `dot ${call.accepted ? "accepted" : "refused"}` }),
      `${name(call)} ${forWhom(call)}: ${ended}`,
      h("span", { class: "detail" }, `${clock(call.received_at)} ${taken}`),
    ),
    h("h3", {}, "The request"),
    h("p", { class: "request" }, h("code", {}, `${call.method} ${call.path}`)),
    total(call) > shown && h("p", { class: "note" }, `The first ${shown} of ${total(call)} recipients.`),
    json(call.body, `The ${name(call)} request`),
    h("h3", {}, call.accepted ? "The reply: Batch accepted it" : "The reply: Batch did not accept it"),
    call.reply ? json(call.reply.body, `The ${name(call)} reply`) : h("p", { class: "note" }, "There was none."),
  );
}

function json(value, label) {
  return h("pre", { tabindex: "0", role: "region", "aria-label": label }, inJson(value));
}
