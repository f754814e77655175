// Asks the server. The token comes in the address, and goes into a header.

const TOKEN = "token";

/** Keeps the token for this tab, out of the address and the history; false if there is none. */
export function takeToken() {
  const found = location.hash.match(/^#token=([\w-]+)$/);
  if (!found) return false;
  sessionStorage.setItem(TOKEN, found[1]);
  history.replaceState(null, "", "#/deliveries");
  return true;
}

/** The answer; throws an Error with `fix`, the command that helps, or "". */
export async function ask(path, parameters = {}, method = "GET") {
  const query = new URLSearchParams(parameters);
  const authorization = `Bearer ${sessionStorage.getItem(TOKEN)}`;
  let reply, answer;
  try {
    reply = await fetch(`/api/${path}?${query}`, { method, headers: { authorization } });
    answer = await reply.json();
  } catch {
    throw problem("The console does not answer", "python -m batchpush console");
  }
  if (!reply.ok) throw problem(answer.problem, answer.fix);
  return answer;
}

function problem(message, fix) {
  return Object.assign(new Error(message), { fix });
}
