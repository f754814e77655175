// The delivery records, with a button to replay what Batch has not accepted.
//
// Of a HELD one, Batch may have accepted a call, and only a person can decide to send it again.

import { clock, draw, h } from "./dom.js";
import { badge, reason } from "./timeline.js";

const COLUMNS = ["State", "Function", "Document", "Apps", "Claimed", "Actions"];

export function drawDeliveries(container, { deliveries, selected, busy, select, replay }) {
  draw(container, { deliveries, selected, busy }, () => {
    if (!deliveries.length) return [h("p", { class: "empty" }, "No deliveries yet.")];
    // With explicit roles, it stays a table even if the style lays it out as cards.
    return [
      h(
        "table",
        { role: "table", "aria-labelledby": "deliveries-title" },
        h("thead", {}, h("tr", { role: "row" }, COLUMNS.map((name) => h("th", { role: "columnheader", scope: "col" }, name)))),
        h("tbody", {}, deliveries.map((each) => row(each, selected, busy, select, replay))),
      ),
    ];
  });
}

const UNACCEPTED = ["RETRY", "REFUSED", "HELD", "EXPIRED"];

function canReplay({ state, calls, chunks }) {
  return UNACCEPTED.includes(state) && (calls.length > 0 || chunks?.length > 0);
}

function row(delivery, selected, busy, select, replay) {
  const cell = (...children) => h("td", { role: "cell" }, ...children);
  const short = delivery.id.slice(0, 12);
  return h(
    "tr",
    { role: "row", "data-id": delivery.id, class: selected === delivery.id ? "selected" : null },
    cell(badge(delivery.state)),
    h("td", { role: "cell", class: "short" }, delivery.function),
    cell(h("code", {}, delivery.document)),
    cell(h("span", {}, perApp(delivery.calls)), delivery.state !== "SENT" && h("small", {}, reason(delivery))),
    cell(h("time", { datetime: delivery.created_at }, clock(delivery.created_at))),
    cell(
      h(
        "div",
        { class: "buttons" },
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-key": `show-${short}`,
            "aria-label": `Show ${delivery.function} ${delivery.document}`,
            onclick: () => select(delivery.id),
          },
          "Show",
        ),
        canReplay(delivery) && replayButton(delivery, busy, replay),
      ),
    ),
  );
}

function replayButton(delivery, busy, replay) {
  const word = delivery.state === "HELD" ? "Send anyway" : "Replay";
  return h(
    "button",
    {
      type: "button",
      "data-key": `replay-${delivery.id.slice(0, 12)}`,
      "aria-label": `${word}: ${delivery.function} ${delivery.document}`,
      disabled: busy.includes(delivery.id),
      onclick: () => replay(delivery),
    },
    busy.includes(delivery.id) ? "Replaying" : word,
  );
}

/** `ios 2 accepted, android pending (2 attempts, 503)` */
function perApp(calls) {
  const counts = new Map();
  for (const call of calls) {
    const words = `${call.state}${call.state === "accepted" ? "" : attempts(call)}`;
    const key = JSON.stringify([call.app, words]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts]
    .map(([key, count]) => {
      const [app, words] = JSON.parse(key);
      return `${app} ${count > 1 ? `${count} ` : ""}${words}`;
    })
    .join(", ");
}

function attempts(call) {
  const words = [call.tries && `${call.tries} ${call.tries === 1 ? "attempt" : "attempts"}`, call.status];
  const told = words.filter(Boolean).join(", ");
  return told && ` (${told})`;
}
