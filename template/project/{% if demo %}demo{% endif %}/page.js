// copier update rewrites this file, unless "What is yours" in README.md names it.
// Sends what people give to the service, and shows what comes back.
import { clear, draw, listen } from "./input.js";
import { read } from "./prediction.js";

const SHOWN = 10_000; // characters of the response
const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324"];

const IDS = ["status", "error", "found", "text", "objects", "response"];
const [status, error, found, text, objects, response] = IDS.map((id) => document.getElementById(id));
let newest = 0; // number of the request; what came of older ones is not shown

listen(send, fail);

async function send(body, contentType) {
  const number = ++newest;
  error.hidden = true;
  found.hidden = true;
  status.textContent = "Waiting for the prediction …";
  clear();
  const start = performance.now();
  try {
    const headers = { "Content-Type": contentType };
    const reply = await fetch("predict", { method: "POST", body, headers });
    const content = await (isJson(reply) ? reply.json() : reply.blob());
    const taken = Math.round(performance.now() - start);
    if (!reply.ok) throw new Error(reason(reply.status, content));
    const prediction = await read(content);
    if (number !== newest) return;
    status.textContent = `Predicted in ${taken} ms`;
    await show(prediction, content);
  } catch (problem) {
    if (number === newest) fail(problem.message);
  }
}

function isJson(reply) {
  return (reply.headers.get("Content-Type") ?? "").startsWith("application/json");
}

function reason(code, content) {
  return content.error ?? content.message ?? `The service answers with status ${code}.`;
}

function fail(message) {
  status.textContent = "";
  error.textContent = message;
  error.hidden = false;
}

async function show(prediction, content) {
  const things = (prediction.objects ?? []).map((thing, index) => ({
    ...thing,
    colour: COLOURS[(thing.index ?? index) % COLOURS.length],
  }));
  text.textContent = prediction.text ?? (things.length ? "" : "Nothing was found.");
  objects.replaceChildren(...things.map(row));
  response.textContent =
    content instanceof Blob
      ? `${content.type}, ${content.size} bytes`
      : JSON.stringify(content, null, 2).slice(0, SHOWN);
  found.hidden = false;
  await draw({ ...prediction, objects: things });
}

function row(thing) {
  const item = document.createElement("li");
  const colour = element("span", "colour");
  if (thing.box || thing.mask) colour.style.background = thing.colour;
  item.append(colour, element("span", "label", thing.label));
  if (thing.score !== undefined) {
    const meter = document.createElement("meter");
    meter.value = thing.score;
    meter.setAttribute("aria-hidden", "true"); // the number beside it says the same
    item.append(meter, element("span", "score", `${(100 * thing.score).toFixed(1)} %`));
  }
  return item;
}

function element(kind, name, content = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = content;
  return made;
}
