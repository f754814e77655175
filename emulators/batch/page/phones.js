// One phone per app, which shows each push as its platform would.

import { clock, draw, h } from "./dom.js";
import { keyOf } from "./events.js";

const PLATFORMS = { ios: "iOS", android: "Android", web: "Web" };
const TOLD = 3; // recipients that are named

const seen = new Set(); // pushes that are on the screens already
const unreachable = new Set(); // pictures that did not come

/** The push that an accepted call shows on a phone. */
export function pushOf(call) {
  const body = call.body ?? {};
  return {
    key: `call-${call.number}`,
    app: call.app ?? call.app_key,
    event: keyOf(call),
    at: call.received_at,
    title: body.message?.title,
    body: body.message?.body,
    picture: body.media?.picture,
    icon: body.media?.icon,
    deeplink: body.deeplink,
    isSilent: body.push_type === "background",
    collapse: body.gcm_collapse_key?.enabled ? (body.gcm_collapse_key.key ?? "default") : null,
    to: Object.values(body.recipients ?? {}).flat().map(String),
    count: Object.values(call.recipients).reduce((sum, each) => sum + each, 0),
  };
}

/** The events that a call to CEP tracks: at Batch, automations make pushes of them. */
export function trackedBy(call) {
  return call.events.map(({ name, attributes, to }, index) => ({
    key: `call-${call.number}-${index}`,
    app: call.app,
    event: keyOf(call),
    at: call.received_at,
    title: attributes?.title,
    body: attributes?.body,
    picture: attributes?.picture,
    icon: attributes?.icon,
    deeplink: attributes?.deeplink,
    isSilent: false,
    collapse: null,
    tracks: name,
    to,
    count: to.length,
  }));
}

/** The pushes that a campaign shows on a phone, one per language. */
export function pushesOfCampaign(campaign, calls) {
  const body = campaign.body ?? {};
  const created = calls.find((call) => call.reply?.body?.campaign_token === campaign.campaign_token);
  return (body.messages ?? []).map((message, index) => ({
    key: `${campaign.campaign_token}-${index}`,
    app: campaign.app ?? campaign.app_key,
    event: created && keyOf(created),
    at: campaign.sent_at,
    title: message.title,
    body: message.body,
    picture: message.media?.picture ?? body.media?.picture,
    icon: message.media?.icon ?? body.media?.icon,
    deeplink: message.deeplink ?? body.deeplink,
    isSilent: body.push_type === "background",
    collapse: null,
    campaign: body.name,
    language: message.language,
    targeting: body.targeting,
    to: [],
  }));
}

export function drawPhones(container, { apps, pushes, selected, select }) {
  draw(container, { apps, pushes, selected }, () =>
    apps.map((app) => phone(app, pushes.filter((push) => push.app === app), selected, select)),
  );
  for (const push of pushes) seen.add(push.key);
}

function phone(app, pushes, selected, select) {
  const platform = app.split("_")[0].toLowerCase();
  const kind = PLATFORMS[platform] ? platform : "other";
  const groups = grouped(pushes, kind === "android");
  const name = PLATFORMS[platform] ?? (app === "CEP" ? "Project" : "App");
  return h(
    "article",
    { class: `phone ${kind}`, "aria-label": `${name}, ${app}` },
    h("h3", {}, name, name.toLowerCase() !== app && h("span", {}, app)),
    h(
      "div",
      { class: "case" },
      h(
        "div",
        { class: "screen", tabindex: "0", role: "group", "aria-label": `Screen of ${app}`, "data-key": `screen-${app}` },
        pushes.length
          ? h("ol", {}, groups.map((group) => h("li", {}, ...shown(group, selected, select))))
          : h("p", { class: "empty" }, "No pushes yet"),
      ),
    ),
  );
}

/** On Android, a push replaces earlier ones to the same people with the same collapse key. */
function grouped(pushes, isCollapsing) {
  const groups = new Map();
  for (const push of pushes) {
    const key = isCollapsing && push.collapse ? JSON.stringify([push.collapse, push.to]) : push.key;
    groups.set(key, [...(groups.get(key) ?? []), push]);
  }
  return [...groups.values()];
}

function shown([newest, ...earlier], selected, select) {
  const cards = [card(newest, selected, select)];
  if (earlier.length) {
    cards.push(
      h(
        "details",
        { class: "replaced", "data-key": `replaced-${newest.collapse}-${newest.to}` },
        h("summary", { "data-key": `earlier-${newest.collapse}-${newest.to}` }, `${earlier.length} replaced by it`),
        earlier.map((push) => card(push, selected, select)),
      ),
    );
  }
  return cards;
}

function card(push, selected, select) {
  const classes = ["push", push.isSilent && "silent", !seen.has(push.key) && "new"];
  const isSelected = push.event !== undefined && push.event === selected;
  return h(
    "button",
    {
      type: "button",
      class: classes.filter(Boolean).join(" "),
      "aria-pressed": String(isSelected),
      "data-key": push.key,
      onclick: () => select(push.event ?? null),
    },
    h(
      "span",
      { class: "from" },
      picture(push.icon, "icon") ?? h("span", { class: "icon" }),
      h("span", {}, "Your app"),
      h("time", { datetime: push.at }, clock(push.at)),
    ),
    push.isSilent
      ? h("span", { class: "words" }, h("em", {}, "Silent: wakes the app, shows nothing"))
      : h(
          "span",
          { class: "words" },
          push.title != null && h("strong", {}, String(push.title)),
          h("span", {}, String(push.body ?? "")),
        ),
    picture(push.picture, "picture"),
    push.deeplink != null && h("code", { class: "link" }, `opens ${push.deeplink}`),
    h("span", { class: "to" }, recipients(push)),
  );
}

function recipients(push) {
  if (push.campaign !== undefined) {
    const whom = push.targeting ? JSON.stringify(push.targeting) : "everybody";
    return `campaign ${push.campaign}, in ${push.language ?? "any language"}, to ${whom}`;
  }
  const to = `to ${named(push.to, push.count)}`;
  return push.tracks === undefined ? to : `event ${push.tracks}, ${to}`;
}

/** `ann, bob, zoe and 9,997 more` */
export function named(people, count) {
  const more = count - Math.min(people.length, TOLD);
  const names = people.slice(0, TOLD).join(", ");
  return more > 0 ? `${names} and ${more.toLocaleString("en")} more` : names;
}

/** An image from another site, or its address if it cannot be loaded. */
function picture(url, kind) {
  if (url == null) return null;
  const fallback = () => h("span", { class: `${kind} missing` }, kind === "icon" ? "" : String(url));
  if (!String(url).startsWith("https://") || unreachable.has(url)) return fallback();
  const image = h("img", { class: kind, src: url, alt: "", referrerpolicy: "no-referrer" });
  image.addEventListener("error", () => {
    unreachable.add(url);
    image.replaceWith(fallback());
  });
  return image;
}
