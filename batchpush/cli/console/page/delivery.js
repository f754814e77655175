// One delivery: its story, its calls and bodies, who was left out, and its replay.

import { ask } from "./api.js";
import { attempt, badge, h, moment } from "./dom.js";
import { addressOfList, forget } from "./search.js";

const section = document.getElementById("delivery");

const RISK = "Batch may have accepted some of these calls already: people may get the push twice.";

let shown = null; // the id

/** `said` is what became of a replay. */
export async function showDelivery(id, said = "") {
  shown = id;
  section.replaceChildren(h("p", { role: "status" }, "Reading"));
  const delivery = await attempt(() => ask(`deliveries/${encodeURIComponent(id)}`));
  if (shown !== id) return; // another one was opened meanwhile
  section.replaceChildren(...(delivery ? parts(delivery) : []));
  if (!delivery) return;
  document.getElementById("delivery-title").focus();
  document.getElementById("replayed").textContent = said;
}

function parts(delivery) {
  const { id, calls, bodies } = delivery;
  return [
    h("p", {}, h("a", { href: addressOfList() }, "Back to the list")),
    h(
      "div",
      { class: "line" },
      h("h2", { id: "delivery-title", tabindex: "-1" }, `${delivery.function} `, h("code", {}, delivery.document)),
      badge(delivery.state),
    ),
    h("p", {}, delivery.means),
    h("p", { class: "soft" }, h("code", {}, id)),
    replayPart(delivery),
    part("Story", h("ol", { class: "steps" }, delivery.story.map(step))),
    part("Left out", leftOut(Object.entries(delivery.left_out))),
    calls.length > 0 && part("Calls", h("ul", { class: "calls" }, calls.map(callRow))),
    (bodies.length > 0 || delivery.no_bodies) && part("Bodies", bodiesPart(delivery)),
    part("Record", details("All its fields", json(record(delivery)))),
  ].filter(Boolean);
}

function part(title, ...children) {
  return h("section", { "aria-label": title }, h("h3", {}, title), children);
}

function step({ at, what }) {
  return h("li", {}, at ? moment(at) : h("span"), h("span", {}, what));
}

function leftOut(reasons) {
  if (!reasons.length) return h("p", { class: "soft" }, "Nobody");
  return h("dl", {}, reasons.map(([reason, ids]) => [h("dt", {}, reason), h("dd", {}, ids.join(", "))]));
}

function callRow(call) {
  const words = [
    call.tries && `${call.tries} ${call.tries === 1 ? "attempt" : "attempts"}`,
    call.unknown && `${call.unknown} with an unknown outcome`,
    call.status && `status ${call.status}`,
    `body ${call.body}`,
  ];
  return h(
    "li",
    {},
    h("strong", {}, call.app),
    " ",
    badge(call.state),
    h("span", { class: "soft" }, ` ${words.filter(Boolean).join(", ")}`),
    call.problem && h("p", {}, call.problem),
  );
}

function bodiesPart({ bodies, no_bodies: gone, calls }) {
  if (gone) return h("p", {}, `They ${gone}.`);
  return bodies.map((body, number) => {
    const apps = calls.filter((call) => call.body === number).map((call) => call.app);
    const title = `Body ${number}${apps.length ? `, for ${[...new Set(apps)].join(", ")}` : ""}`;
    return body ? details(title, json(body)) : h("p", {}, `${title}: it was erased.`);
  });
}

function details(title, ...children) {
  return h("details", {}, h("summary", {}, title), children);
}

function json(value) {
  return h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}

function record({ story, bodies, no_bodies, replay, version, means, ...fields }) {
  return fields;
}

// Replay

function replayPart(delivery) {
  const { plan, anyway, why_not: whyNot } = delivery.replay;
  const choice = (text, lines, isAnyway) =>
    h(
      "button",
      { type: "button", class: isAnyway && "risky", onclick: () => confirmReplay(delivery, lines, isAnyway) },
      text,
    );
  const buttons = [plan && choice("Replay", plan, false), anyway && choice("Send anyway", anyway, true)];
  return part(
    "Replay",
    whyNot && h("p", { class: "soft" }, `Nothing to replay: ${whyNot}.`),
    !whyNot && h("div", { id: "choices", class: "buttons" }, buttons),
    anyway && h("p", { class: "soft" }, `Send anyway: ${RISK}`),
    h("p", { id: "replayed", role: "status" }),
  );
}

async function confirmReplay(delivery, plan, isAnyway) {
  if (!(await isAgreed(plan, isAnyway))) return;
  const said = document.getElementById("replayed");
  said.textContent = "Sending";
  document.getElementById("choices").remove();
  const parameters = { version: delivery.version, ...(isAnyway && { resend_unknown: "yes" }) };
  const answer = await attempt(() => ask(`deliveries/${delivery.id}/replay`, parameters, "POST"));
  forget();
  if (!said.isConnected) return; // another one was opened meanwhile
  if (answer) await showDelivery(delivery.id, answer.says.join("\n"));
  else said.replaceChildren(h("button", { type: "button", onclick: () => showDelivery(delivery.id) }, "Look again"));
}

/** Shows the plan, and asks. */
function isAgreed(plan, isAnyway) {
  const close = (answer) => () => dialog.close(answer);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "ask-title" },
    h("h2", { id: "ask-title" }, isAnyway ? "Send it anyway?" : "Replay it?"),
    isAnyway && h("p", { class: "risk" }, RISK),
    h("ul", {}, plan.map((line) => h("li", {}, line))),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", class: "quiet", autofocus: true, onclick: close("no") }, "Cancel"),
      h(
        "button",
        { type: "button", class: isAnyway && "risky", onclick: close("yes") },
        isAnyway ? "Send anyway" : "Replay",
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  // The event comes late: an element that is used again would get the one of the question before.
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
  });
}
