// Asks the questions, and shows what comes of the answers. What comes from files is only ever text.

const PAUSE = 150; // ms after the last key until the project is rendered anew
const byId = (id) => document.getElementById(id);
const form = byId("form");

// What people may have: what each kind of it needs, and what follows from it.
const MODES = {
  new: { files: ["weights", "labels", "model", "picture"], source: "from the files" },
  data: { files: ["data", "labels", "start", "model", "picture"], source: "from the data" },
  adopt: { files: ["service", "weights", "labels"], source: "from the files" },
  update: { files: ["project"], source: "of the project" },
};
const TITLES = {
  weights: "a checkpoint",
  labels: "labels",
  model: "the code of a network of your own",
  picture: "an image to predict",
  data: "data",
  start: "a checkpoint to begin with",
  service: "the folder of a service",
  project: "a project",
};
const FOLDERS = ["service", "project"]; // what is no file
const ENDINGS = [
  ["picture", /\.(jpe?g|png|webp|bmp|gif|tiff?)$/i],
  ["labels", /\.(txt|json|jsonl|ya?ml|csv|pbtxt|names)$/i],
  ["model", /\.py$/i],
  ["weights", /\.(pth?|pt2|ckpt|bin|safetensors|onnx|tar|pkl)$/i],
];

let mode = "new";
const given = {}; // answers of people, by question
let known = {}; // answers that the files tell
let likely = {}; // answers that are likely
let assumed = {}; // by question, what is assumed
let open = {}; // why the files do not answer a question
let places = {}; // by question, where the answer was read
const paths = {}; // what was chosen, by kind
let largest = 0; // bytes of a file that may be dropped
let isRead = false; // whether the files of the mode were read
let files = {}; // the rendered texts, by path
let replaced = {}; // files of the user's, by what replaces them
let shown = "README.md";
let changed = {}; // the lines that the last change changed, by path
let asked = new Set(); // the questions that apply
let newest = 0; // number of the request; what came of older ones is not shown
let timer = 0;

// ------------------------------------------------------------------------------------ the server

const ask = (name, content) => send(name, "application/json", JSON.stringify(content));

async function send(name, type, body) {
  const headers = { "Content-Type": type };
  const reply = await fetch(`api/${name}`, { method: "POST", headers, body }).catch(() => {
    throw new Error("ts-template start does not answer: it was stopped, or a file cannot be read.");
  });
  const isJson = (reply.headers.get("Content-Type") ?? "").startsWith("application/json");
  const found = isJson ? await reply.json() : { error: await reply.text() };
  if (!reply.ok) throw new Error(found.error);
  return found;
}

function guarded(call) {
  return async (...words) => {
    fail("");
    try {
      await call(...words);
    } catch (problem) {
      fail(problem.message);
    }
  };
}

function fail(message) {
  byId("error").textContent = message;
  byId("error").hidden = !message;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ------------------------------------------------------------------------------------- questions

function changeSoon() {
  clearTimeout(timer);
  timer = setTimeout(preview, PAUSE);
}

const preview = guarded(async () => {
  const number = ++newest;
  byId("status").textContent = "Rendering …";
  const answers = { ...likely, ...known, ...given };
  const read = isRead ? { ...chosen(), ...training() } : {};
  const content = { ...read, answers, given, has_reasons: byId("all").checked };
  const found = await ask("preview", content);
  if (number !== newest) return;
  showQuestions(found.questions);
  byId("status").textContent = found.files ? "" : "An answer is refused: the project is the last one.";
  if (found.error) fail(found.error);
  byId("copy").disabled = byId("make").disabled = !found.files || (mode !== "new" && !isRead);
  if (!found.files) return;
  ({ replaced } = found);
  byId("command").textContent = found.command;
  showFiles(found.files);
});

function effective() {
  return Object.fromEntries(Object.entries(given).filter(([name]) => asked.has(name)));
}

function showQuestions(questions) {
  asked = new Set(questions.filter((x) => x.is_asked).map((x) => x.name));
  const isShown = (question) => question.is_asked || byId("all").checked;
  const wanted = questions.filter(isShown);
  const rows = wanted.map((question) => row(question, form.querySelector(`#row-${question.name}`)));
  // Rows that stay are not moved, so that the focus is not lost.
  for (const old of [...form.children]) if (!rows.includes(old)) old.remove();
  rows.forEach((each, place) => {
    if (form.children[place] !== each) form.insertBefore(each, form.children[place] ?? null);
  });
  const names = questions.filter((x) => x.is_asked && isAssumed(x.name)).map((x) => x.name);
  byId("assumed").textContent = names.length
    ? `Assumed, and for you to confirm: ${names.join(", ")}.`
    : "";
}

function chosen() {
  const pairs = MODES[mode].files.map((kind) => [kind, paths[kind]]);
  return Object.fromEntries(pairs.filter(([, path]) => path));
}

function training() {
  if (mode !== "data") return {};
  const [destination, epochs] = [byId("destination").value, byId("epochs").value];
  return { destination, epochs, from_scratch: byId("from-scratch").checked };
}

function isAssumed(name) {
  if (name in given) return false;
  return name in assumed || (!(name in known) && (name in likely || name in open));
}

function row(question, old) {
  const { name, is_asked: isAsked } = question;
  // What it offers; where that changes, it is made anew.
  const offer = JSON.stringify([question.type, isAsked, question.choices, question.reason]);
  let made = old;
  if (old?.dataset.offer !== offer) {
    made = element("div", { id: `row-${name}`, className: "question" });
    made.classList.toggle("disabled", !isAsked);
    made.dataset.offer = offer;
    const control = controlOf(question);
    const help = element("p", { className: "help", id: `help-${name}`, textContent: question.help });
    const problem = element("p", { className: "problem", id: `problem-${name}` });
    problem.setAttribute("role", "alert");
    const reason = element("p", { className: "reason", textContent: question.reason });
    const mark = element("span", { className: "mark", hidden: true });
    const confirm = element("button", { type: "button", className: "confirm", textContent: "Confirm" });
    confirm.addEventListener("click", () => answer(name, valueOf(made, question.type)));
    const why = element("p", { className: "reason why", id: `why-${name}` });
    if (control.tagName === "FIELDSET") {
      control.prepend(element("legend", { textContent: name }, mark));
      made.append(control, help);
    } else {
      made.append(element("label", { textContent: name, htmlFor: control.id }), mark, help, control);
    }
    control.setAttribute("aria-describedby", `help-${name} why-${name} problem-${name}`);
    control.disabled = !isAsked;
    control.addEventListener("input", () => answer(name, valueOf(made, question.type)));
    made.append(why, confirm, reason, problem);
  }
  const focused = made.contains(document.activeElement);
  if (!focused || !question.is_given) setValue(made, question);
  made.querySelector(".problem").textContent = question.problem;
  const mark = made.querySelector(".mark");
  const isOpen = isAsked && isAssumed(name);
  mark.textContent = isOpen ? "assumed" : name in given ? "yours" : MODES[mode].source;
  mark.hidden = !isAsked || !(isOpen || name in given || name in known);
  const reason = isOpen ? (open[name] ?? assumed[name] ?? "") : "";
  const read = places[name] ? `read in ${places[name]}` : "";
  made.querySelector(".why").textContent = isAsked ? [reason, read].filter(Boolean).join("; ") : "";
  const confirm = made.querySelector(".confirm");
  confirm.hidden = !isOpen;
  confirm.setAttribute("aria-label", `Confirm ${name}`);
  return made;
}

function controlOf(question) {
  const id = `answer-${question.name}`;
  const { choices } = question;
  if (question.type === "bool") return element("input", { id, type: "checkbox", className: "control" });
  if (question.type === "list" && choices.length) {
    const boxes = choices.map(({ value, title, problem }) =>
      element(
        "label",
        { title: problem },
        element("input", { type: "checkbox", value, disabled: Boolean(problem) }),
        ` ${title}${problem ? ` (${problem})` : ""}`,
      ),
    );
    return element("fieldset", { id, className: "control" }, ...boxes);
  }
  if (question.name === "architecture" && choices.length) {
    const list = element("datalist", { id: "architectures" });
    list.append(...choices.map(({ value, title }) => element("option", { value, label: title })));
    const input = element("input", { id, className: "control", spellcheck: false });
    input.setAttribute("list", list.id);
    document.getElementById(list.id)?.remove();
    document.body.append(list);
    return input;
  }
  if (choices.length) {
    const options = choices.map(({ value, title, problem }) =>
      element("option", {
        value,
        disabled: Boolean(problem),
        textContent: problem ? `${title} (${problem})` : title,
      }),
    );
    return element("select", { id, className: "control" }, ...options);
  }
  return element("input", { id, className: "control", spellcheck: false });
}

function setValue(made, question) {
  const control = made.querySelector(".control");
  if (control.tagName === "FIELDSET") {
    for (const box of control.querySelectorAll("input")) box.checked = question.value.includes(box.value);
  } else if (control.type === "checkbox") {
    control.checked = question.value === true;
  } else {
    const { value } = question;
    control.value = typeof value === "string" ? value : JSON.stringify(value);
  }
}

function valueOf(made, type) {
  const control = made.querySelector(".control");
  if (control.tagName === "FIELDSET") {
    return [...control.querySelectorAll("input:checked")].map((box) => box.value);
  }
  return type === "bool" ? control.checked : control.value;
}

function answer(name, value) {
  given[name] = value;
  // Another task, or another network, is told otherwise.
  if (Object.keys(chosen()).length && mode !== "update" && ["task", "architecture", "head"].includes(name)) inspectSoon();
  else changeSoon();
}

// ------------------------------------------------------------------------------------- the project

function showFiles(found) {
  const isFirst = Object.keys(files).length === 0;
  const before = files;
  if (!isFirst) {
    const now = {};
    for (const [name, text] of Object.entries(found)) {
      if (before[name] !== text) now[name] = newLines(before[name] ?? "", text);
    }
    if (Object.keys(now).length || Object.keys(before).some((name) => !(name in found))) changed = now;
  }
  files = found;
  if (!(shown in files)) shown = "README.md" in files ? "README.md" : Object.keys(files)[0];
  const count = Object.keys(changed).length;
  if (count) byId("status").textContent = `The last change changed ${count} ${count > 1 ? "files" : "file"}.`;
  showTree();
  showFile();
}

function newLines(before, after) {
  const [old, lines] = [before.split("\n"), after.split("\n")];
  let [start, end] = [0, 0];
  while (start < lines.length && lines[start] === old[start]) start += 1;
  const rest = Math.min(old.length, lines.length) - start;
  while (end < rest && lines.at(-1 - end) === old.at(-1 - end)) end += 1;
  const known = new Set(old);
  const found = new Set();
  for (let place = start; place < lines.length - end; place += 1) {
    if (!known.has(lines[place])) found.add(place);
  }
  return found;
}

function showTree() {
  const place = byId("tree").scrollTop;
  const focused = document.activeElement?.dataset.path;
  byId("tree").replaceChildren(...rowsOf(Object.keys(files), ""));
  byId("tree").scrollTop = place;
  if (focused) byId("tree").querySelector(`[data-path="${CSS.escape(focused)}"]`)?.focus();
  const gone = Object.entries(replaced).map(([old, by]) => (old === by ? old : `${old} (by ${by})`));
  byId("replaced").textContent = gone.length ? `Files of yours that are replaced: ${gone.join(", ")}.` : "";
}

function rowsOf(names, folder) {
  const inside = (name) => name.slice(folder.length).split("/");
  const parts = [...new Set(names.map((name) => inside(name)[0]))];
  const isFolder = (part) => !names.includes(folder + part);
  parts.sort((a, b) => isFolder(a) - isFolder(b) || (a < b ? -1 : 1));
  return parts.map((part) => {
    const path = folder + part;
    if (!isFolder(part)) return element("li", {}, fileButton(path, part));
    const below = names.filter((name) => name.startsWith(`${path}/`));
    const list = element("ul", {}, ...rowsOf(below, `${path}/`));
    list.setAttribute("aria-label", path);
    return element("li", {}, element("span", { className: "folder", textContent: `${part}/` }), list);
  });
}

function fileButton(path, name) {
  const button = element("button", { type: "button", textContent: name });
  button.dataset.path = path;
  button.classList.toggle("changed", path in changed);
  const words = [path];
  if (path in changed) words.push("changed");
  if (Object.values(replaced).includes(path)) words.push("replaces yours");
  button.setAttribute("aria-label", words.join(", "));
  if (words.includes("replaces yours")) button.append(element("span", { className: "mark", textContent: "replaces yours" }));
  button.setAttribute("aria-current", String(path === shown));
  button.addEventListener("click", () => {
    shown = path;
    for (const each of byId("tree").querySelectorAll("button")) {
      each.setAttribute("aria-current", String(each === button));
    }
    showFile();
  });
  return button;
}

const showFile = guarded(async () => {
  const name = shown;
  const text = files[name];
  const { lines } = await ask("colours", { name, text });
  if (name !== shown || files[name] !== text) return;
  const isOther = byId("file-heading").textContent !== name;
  byId("file-heading").textContent = name;
  showLines(byId("text"), lines, changed[name]);
  if (isOther) byId("text").scrollTop = 0;
  const first = byId("text").querySelector(".changed");
  if (first) byId("text").scrollTop = Math.max(0, first.offsetTop - byId("text").offsetTop - 60);
});

function showLines(place, lines, marked = new Set()) {
  const rows = lines.map((pieces, number) => {
    const line = element("span", { className: marked.has(number) ? "changed" : "" });
    for (const [kind, text] of pieces) {
      line.append(kind ? element("span", { className: kind, textContent: text }) : text);
    }
    line.append("\n");
    return line;
  });
  place.replaceChildren(...rows);
}

// ----------------------------------------------------------------------------- files to choose

function showChoosers() {
  const rows = MODES[mode].files.map((kind) => {
    const path = element("span", { id: `path-${kind}` });
    const title = TITLES[kind];
    const choose = element("button", { type: "button", textContent: `Choose ${title}` });
    choose.addEventListener("click", () => browse(kind, title, ""));
    const clear = element("button", { type: "button", textContent: "Clear", id: `clear-${kind}` });
    clear.setAttribute("aria-label", `Clear ${title}`);
    clear.addEventListener("click", () => {
      take(kind, undefined);
      choose.focus();
    });
    const row = element("p", { className: "file" }, choose, path, clear);
    row.dataset.kind = kind;
    return row;
  });
  byId("chosen").replaceChildren(...rows);
  showPaths();
}

function showPaths() {
  for (const kind of MODES[mode].files) {
    const path = paths[kind];
    const isDropped = path?.startsWith(".ts-template-start-");
    byId(`path-${kind}`).textContent = isDropped ? `${path.split("/").at(-1)} (dropped)` : (path ?? "none");
    byId(`clear-${kind}`).hidden = !path;
  }
  const words = { data: "Make, train, archive and predict", adopt: "Make it in this folder" };
  const isWhole = mode === "new" && paths.weights;
  byId("make").textContent = isWhole ? "Make, archive and predict" : (words[mode] ?? "Make the project");
  byId("into").hidden = mode === "adopt";
  byId("training").hidden = mode !== "data";
  byId("making").hidden = mode === "update";
  byId("updating").hidden = mode !== "update";
  byId("drop").hidden = mode === "update";
}

const browse = guarded(async (kind, title, folder) => {
  const found = await ask("files", { folder });
  byId("browser-heading").textContent = `Choose ${title}`;
  byId("place").textContent = [found.root, found.folder].filter(Boolean).join("/");
  const rows = found.entries.map(({ name, path, is_folder: isFolder }) => {
    const button = element("button", { type: "button", textContent: isFolder ? `${name}/` : name });
    button.addEventListener("click", () => (isFolder ? browse(kind, title, path) : take(kind, path)));
    button.disabled = !isFolder && FOLDERS.includes(kind);
    return element("li", {}, button);
  });
  if (found.parent !== null) {
    const up = element("button", { type: "button", textContent: "../" });
    up.addEventListener("click", () => browse(kind, title, found.parent));
    rows.unshift(element("li", {}, up));
  }
  if (found.left_out) rows.push(element("li", { textContent: `and ${found.left_out} more` }));
  byId("entries").replaceChildren(...rows);
  byId("take").hidden = ["picture", "model", "start"].includes(kind);
  byId("outside").hidden = !canDrop(kind);
  byId("elsewhere").value = "";
  byId("elsewhere").onchange = () => drop(kind, byId("elsewhere").files[0]);
  byId("take").onclick = () => take(kind, found.folder || ".");
  if (!byId("browser").open) byId("browser").showModal();
  (byId("entries").querySelector("button:enabled") ?? byId("close")).focus();
});

function take(kind, path) {
  paths[kind] = path;
  byId("browser").close();
  showPaths();
  if (kind !== "picture") inspect();
}

async function upload(kind, file) {
  if (file.size > largest) throw new Error(`${file.name} is larger than ${megabytes()}: choose it in the folder.`);
  byId("status").textContent = `Taking ${file.name} …`;
  const found = await send(`drop?name=${encodeURIComponent(file.name)}`, "application/octet-stream", file);
  byId("status").textContent = `${found.name} is taken as ${TITLES[kind]}.`;
  take(kind, found.path);
}

const drop = guarded((kind, file) => {
  byId("browser").close();
  return upload(kind, file);
});

function inspectSoon() {
  clearTimeout(timer);
  timer = setTimeout(inspect, PAUSE);
}

function forget() {
  [known, likely, assumed, open, places, replaced, isRead] = [{}, {}, {}, {}, {}, {}, false];
  byId("evidence").hidden = true;
}

const inspect = guarded(async () => {
  const content = chosen();
  const isEnough = mode === "new" ? content.weights || content.labels || content.model : content[MODES[mode].files[0]];
  if (!isEnough) {
    forget();
    await preview();
    return;
  }
  byId("status").textContent = "Reading the files …";
  const name = mode === "update" ? "project" : "inspect";
  let found;
  try {
    found = await ask(name, { ...content, answers: given });
  } catch (problem) {
    forget();
    await preview();
    throw problem;
  }
  if (JSON.stringify(content) !== JSON.stringify(chosen())) return; // others were chosen meanwhile
  forget();
  ({ known, likely = {}, assumed = {}, open = {}, places = {} } = found);
  isRead = true;
  if (found.report) {
    byId("report").textContent = found.report;
    byId("evidence").hidden = false;
    byId("evidence").open = true;
  }
  await preview();
  if (found.problem) fail(found.problem);
});

function choose(name) {
  mode = name;
  document.querySelector(`#modes [value="${name}"]`).checked = true;
  byId("steps").hidden = true;
  showChoosers();
  inspect();
}

// ------------------------------------------------------------------------------------ dragging

document.addEventListener("dragover", (event) => {
  if (mode !== "update") event.preventDefault();
});

document.addEventListener("drop", (event) => {
  event.preventDefault();
  const dropped = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const own = dropped.length === 1 && event.target.closest?.("[data-kind]")?.dataset.kind;
  // All are asked for at once: later, there is nothing to be had of them.
  const found = dropped.map((item) => [item.getAsFile(), Boolean(item.webkitGetAsEntry?.()?.isDirectory)]);
  takeAll(found, own);
});

const takeAll = guarded(async (found, own) => {
  const wrong = [];
  for (const [file, isFolder] of found) {
    const kind = own || kindOf(file.name);
    if (isFolder) wrong.push(`${file.name} is a folder: choose it in the folder of this page.`);
    else if (kind && canDrop(kind)) await upload(kind, file).catch((problem) => wrong.push(problem.message));
    else wrong.push(`${file.name} may be several things: drop it onto the line that it is for.`);
  }
  if (wrong.length) throw new Error(wrong.join("\n"));
});

function kindOf(name) {
  const kind = ENDINGS.find(([, ending]) => ending.test(name))?.[0];
  return kind === "weights" && mode === "data" ? "start" : kind;
}

function canDrop(kind) {
  return MODES[mode].files.includes(kind) && ![...FOLDERS, "data"].includes(kind);
}

function megabytes() {
  return `${largest / 1_000_000} MB`;
}

// ---------------------------------------------------------------------------------------- buttons

byId("close").addEventListener("click", () => byId("browser").close());
byId("all").addEventListener("change", () => preview());
for (const name of ["destination", "epochs", "from-scratch"]) {
  byId(name).addEventListener("input", () => mode === "data" && changeSoon());
}
byId("modes").addEventListener("change", (event) => choose(event.target.value));
form.addEventListener("submit", (event) => event.preventDefault());

byId("copy").addEventListener(
  "click",
  guarded(async () => {
    await navigator.clipboard.writeText(byId("command").textContent);
    byId("status").textContent = "The command is copied.";
  }),
);

byId("make").addEventListener(
  "click",
  guarded(async () => {
    const steps = byId("steps");
    steps.hidden = false;
    steps.textContent = "";
    steps.focus();
    byId("make").disabled = true;
    byId("status").textContent = "Making the project …";
    try {
      const content = { ...chosen(), ...training(), destination: byId("destination").value, answers: effective() };
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify(content);
      const reply = await fetch("api/make", { method: "POST", headers, body });
      if (!reply.ok) throw new Error((await reply.json()).error);
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        steps.textContent += part.value;
        byId("status").textContent = steps.textContent.match(/^\d+\. .*$/gm)?.at(-1) ?? "";
        steps.scrollTop = steps.scrollHeight;
      }
      const [text, status] = steps.textContent.split("\0");
      steps.textContent = text;
      const made = content.data || (content.weights && mode === "new") ? "made, and has predicted" : "made";
      byId("status").textContent = status === "0" ? `The project is ${made}.` : "";
      if (status !== "0") throw new Error("The project is not made: the last lines of the steps tell why.");
    } finally {
      byId("make").disabled = false;
    }
  }),
);

byId("compare").addEventListener(
  "click",
  guarded(async () => {
    byId("status").textContent = "Updating a copy of the project …";
    try {
      const found = await ask("change", { project: paths.project, answers: effective() });
      const count = found.files.length;
      const words = [`${count} ${count === 1 ? "file" : "files"} would change`];
      if (found.conflicts.length) words.push(`you changed the same lines in ${found.conflicts.join(", ")}`);
      if (found.unused.length) words.push(`without effect: ${found.unused.join(", ")}`);
      byId("difference").textContent = `${words.join("; ")}. The command: ${found.command}`;
      byId("command").textContent = found.command;
      showLines(byId("changes"), found.lines);
      byId("changes").hidden = !count;
      if (count) byId("changes").focus();
    } finally {
      byId("status").textContent = "";
    }
  }),
);

showChoosers();
await guarded(async () => {
  const found = await ask("folder", {});
  largest = found.largest_file;
  for (const place of document.querySelectorAll(".limit")) place.textContent = megabytes();
  if (!found.is_project) return preview();
  paths.project = ".";
  choose("update");
})();
