// Elements, and times in words.

/** An element. Text becomes text nodes, so that text from users is never parsed as HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const drawn = new WeakMap();

/** Fill the container from the data if it changed; open and focused elements stay so. */
export function draw(container, data, build) {
  const text = JSON.stringify(data);
  if (drawn.get(container) === text) return;
  drawn.set(container, text);
  const focused = container.contains(document.activeElement) && document.activeElement.dataset.key;
  const open = new Set([...container.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  container.replaceChildren(...build(data).filter(Boolean));
  for (const details of container.querySelectorAll("details")) {
    if (open.has(details.dataset.key)) details.open = true;
  }
  if (focused) {
    container.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

/** Fill a list of options, and keep the selected one. */
export function fillSelect(select, options) {
  draw(select, options, () => {
    const chosen = select.value;
    return options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  });
}

export function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB");
}

export function milliseconds(from, to) {
  return Math.round(new Date(to) - new Date(from));
}

export function inJson(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** The parsed reply; throws an Error with the emulator's message. */
export async function ask(method, path, data) {
  const body = data === undefined ? undefined : JSON.stringify(data);
  const reply = await fetch(path, { method, body });
  const text = await reply.text();
  const answer = text && JSON.parse(text);
  if (!reply.ok) throw new Error(answer.message);
  return answer;
}
