// What happened to one event: from the document to the record, and each call in full.

import { clock, draw, h, inJson, milliseconds } from "./dom.js";
import { named } from "./phones.js";

export function drawTimeline(container, { delivery, calls }) {
  draw(container, { delivery, calls }, () => {
    if (!delivery && !calls.length) {
      return [h("p", { class: "empty" }, "Write a document, and see here what happens to it.")];
    }
    return [heading(delivery, calls), steps(delivery, calls), h("div", { class: "calls" }, calls.map(inFull))];
  });
}

function heading(delivery, calls) {
  if (!delivery) return h("p", { class: "event" }, h("code", {}, calls[0].path), " arrived without an event");
  return h(
    "p",
    { class: "event" },
    badge(delivery.state),
    h("strong", {}, delivery.function),
    h("code", {}, delivery.document),
  );
}

export function badge(state) {
  return h("span", { class: `badge ${state.toLowerCase()}` }, state);
}

/** The steps with a known time, in order. */
function steps(delivery, calls) {
  const rows = [];
  if (delivery) {
    rows.push([delivery.event_time, "Document written", ""]);
    if (delivery.called_at) rows.push([delivery.called_at, "Function called", ""]);
    rows.push([delivery.created_at, "Claimed", "the record exists, with its calls"]);
  }
  for (const call of calls) {
    rows.push([call.received_at, `${name(call)} called`, forWhom(call)]);
    if (call.answered_at) rows.push([call.answered_at, `${name(call)} answered`, replied(call)]);
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
  const said = call.reply.body?.message;
  return said ? `${call.reply.status}, ${said}` : String(call.reply.status);
}

function recipients(call) {
  return Object.values(call.body?.recipients ?? {}).flat();
}

function total(call) {
  return Object.values(call.recipients).reduce((sum, each) => sum + each, 0);
}

function forWhom(call) {
  return total(call) ? `for ${named(recipients(call), total(call))}` : call.path;
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
    h("h3", {}, "The call"),
    h("p", { class: "request" }, h("code", {}, `${call.method} ${call.path}`)),
    total(call) > shown && h("p", { class: "note" }, `The first ${shown} of ${total(call)} recipients.`),
    json(call.body, `The call to ${name(call)}`),
    h("h3", {}, call.accepted ? "The reply: Batch accepted it" : "The reply: Batch did not accept it"),
    call.reply ? json(call.reply.body, `The reply to ${name(call)}`) : h("p", { class: "note" }, "There was none."),
  );
}

function json(value, label) {
  return h("pre", { tabindex: "0", role: "region", "aria-label": label }, inJson(value));
}
