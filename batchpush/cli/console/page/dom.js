// Elements, and what several views show.

/** An element. Text becomes text nodes, so that what people wrote is never parsed as HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

export function badge(state) {
  return h("span", { class: `badge ${state.toLowerCase()}` }, state);
}

/** The time in UTC, as the other commands print it; on demand in the reader's zone. */
export function moment(at) {
  return h("time", { datetime: at, title: new Date(at).toLocaleString() }, at.replace("T", " "));
}

export function counted(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A button that cannot be pressed again while its work lasts. */
export function button(text, work, attributes = {}) {
  const pressed = async (event) => {
    const pressedOne = event.currentTarget;
    pressedOne.disabled = true;
    try {
      await work();
    } finally {
      pressedOne.disabled = false;
    }
  };
  return h("button", { type: "button", ...attributes, onclick: pressed }, text);
}

/** Shows an error, with the command that fixes it; null takes it away. */
export function showProblem(error) {
  const place = document.getElementById("problem");
  place.replaceChildren(
    ...(error
      ? [h("p", {}, error.message), ...(error.fix ? [h("p", {}, "Fix it with: ", h("code", {}, error.fix))] : [])]
      : []),
  );
  if (error) place.scrollIntoView({ block: "nearest" });
}

/** Carries out the work, and shows what goes wrong. */
export async function attempt(work) {
  showProblem(null);
  try {
    return await work();
  } catch (error) {
    showProblem(error);
    return null;
  }
}
