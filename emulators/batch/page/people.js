// What Batch knows of people: attributes, and what happened to them last.

import { draw, h, inJson } from "./dom.js";

export function drawPeople(container, people) {
  draw(container, people, () => [
    h("ul", { class: "people" }, people.map(person)),
  ]);
}

function person({ id, apps, values, events }) {
  const attributes = Object.entries(values).sort(([one], [other]) => one.localeCompare(other));
  return h(
    "li",
    {},
    h("strong", {}, id),
    h("span", { class: "detail" }, ` ${apps.join(", ")}`),
    attributes.map(([name, value]) => h("code", {}, `${name} ${inJson(value)}`)),
    events.map((name) => h("span", { class: "badge" }, name)),
  );
}
