// Asks the questions, and shows what comes of the answers. What comes from files is only ever text.

const PAUSE = 150; // ms after the last key until the project is rendered anew
const byId = (id) => document.getElementById(id);
const form = byId("form");

const given = {}; // answers of people, by question
let known = {}; // answers that the checkpoint tells
let likely = {}; // answers that are likely
let assumed = {}; // by question, what is assumed
let open = {}; // why the checkpoint does not answer a question
const paths = {}; // what was chosen: weights, labels, picture, project
let files = {}; // the rendered texts, by path
let shown = "README.md";
let changed = {}; // the lines that the last change changed, by path
let asked = new Set(); // the questions that apply
let newest = 0; // number of the request; what came of older ones is not shown
let timer = 0;

// ------------------------------------------------------------------------------------ the server

async function ask(name, content) {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(`api/${name}`, { method: "POST", headers, body: JSON.stringify(content) });
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
  const found = await ask("preview", { answers: { ...likely, ...known, ...given } });
  if (number !== newest) return;
  showQuestions(found.questions);
  byId("status").textContent = found.files ? "" : "An answer is refused: the project is the last one.";
  if (found.error) fail(found.error);
  byId("copy").disabled = byId("make").disabled = !found.files;
  if (!found.files) return;
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

function isAssumed(name) {
  if (name in given) return false;
  return name in assumed || (!(name in known) && (name in likely || name in open));
}

function row(question, old) {
  const { name, is_asked: isAsked } = question;
  // What it offers; where that changes, it is made anew.
  const offer = JSON.stringify([question.type, isAsked, question.choices]);
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
    const why = element("p", { className: "reason why" });
    if (control.tagName === "FIELDSET") {
      control.prepend(element("legend", { textContent: name }, mark));
      made.append(control, help);
    } else {
      made.append(element("label", { textContent: name, htmlFor: control.id }), mark, help, control);
    }
    control.setAttribute("aria-describedby", `help-${name} problem-${name}`);
    control.disabled = !isAsked;
    control.addEventListener("input", () => answer(name, valueOf(made, question.type)));
    made.append(why, confirm, reason, problem);
  }
  const focused = made.contains(document.activeElement);
  if (!focused || !question.is_given) setValue(made, question);
  made.querySelector(".problem").textContent = question.problem;
  const mark = made.querySelector(".mark");
  const isOpen = isAsked && isAssumed(name);
  mark.textContent = isOpen ? "assumed" : name in given ? "yours" : "from the checkpoint";
  mark.hidden = !isAsked || !(isOpen || name in given || name in known);
  made.querySelector(".why").textContent = isOpen ? (open[name] ?? assumed[name] ?? "") : "";
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
  if (paths.weights && ["task", "architecture", "head"].includes(name)) inspectSoon();
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
  const rows = Object.keys(files).map((name) => {
    const button = element("button", { type: "button", textContent: name });
    button.classList.toggle("changed", name in changed);
    if (name in changed) button.setAttribute("aria-label", `${name}, changed`);
    button.setAttribute("aria-current", String(name === shown));
    button.addEventListener("click", () => {
      shown = name;
      for (const each of byId("tree").querySelectorAll("button")) {
        each.setAttribute("aria-current", String(each === button));
      }
      showFile();
    });
    return element("li", {}, button);
  });
  const place = byId("tree").scrollTop;
  byId("tree").replaceChildren(...rows);
  byId("tree").scrollTop = place;
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

function chooser(place, kind, title) {
  const path = element("span", { id: `path-${kind}`, textContent: "none" });
  const choose = element("button", { type: "button", textContent: `Choose ${title}` });
  choose.addEventListener("click", () => browse(kind, title, ""));
  byId(place).append(element("p", { className: "file" }, choose, path));
}

const browse = guarded(async (kind, title, folder) => {
  const found = await ask("files", { folder });
  byId("browser-heading").textContent = `Choose ${title}`;
  byId("place").textContent = [found.root, found.folder].filter(Boolean).join("/");
  const rows = found.entries.map(({ name, path, is_folder: isFolder }) => {
    const button = element("button", { type: "button", textContent: isFolder ? `${name}/` : name });
    button.addEventListener("click", () => (isFolder ? browse(kind, title, path) : take(kind, path)));
    return element("li", {}, button);
  });
  if (found.parent !== null) {
    const up = element("button", { type: "button", textContent: "../" });
    up.addEventListener("click", () => browse(kind, title, found.parent));
    rows.unshift(element("li", {}, up));
  }
  if (found.left_out) rows.push(element("li", { textContent: `and ${found.left_out} more` }));
  byId("entries").replaceChildren(...rows);
  byId("take").hidden = kind === "picture";
  byId("take").onclick = () => take(kind, found.folder || ".");
  if (!byId("browser").open) byId("browser").showModal();
  byId("entries").querySelector("button")?.focus();
});

function take(kind, path) {
  paths[kind] = path;
  byId(`path-${kind}`).textContent = path;
  byId("browser").close();
  if (kind === "weights" || (kind === "labels" && paths.weights)) inspect();
}

function inspectSoon() {
  clearTimeout(timer);
  timer = setTimeout(inspect, PAUSE);
}

const inspect = guarded(async () => {
  byId("status").textContent = "Reading the checkpoint …";
  const { weights, labels } = paths;
  const found = await ask("inspect", { weights, labels, answers: given });
  if (weights !== paths.weights || labels !== paths.labels) return;
  ({ known, likely, assumed, open } = found);
  byId("report").textContent = found.report;
  byId("evidence").hidden = false;
  byId("evidence").open = true;
  await preview();
  if (found.problem) fail(found.problem);
});

// ---------------------------------------------------------------------------------------- buttons

byId("close").addEventListener("click", () => byId("browser").close());
byId("all").addEventListener("change", () => preview());
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
    byId("make").disabled = true;
    byId("status").textContent = "Making the project …";
    try {
      const content = { ...paths, destination: byId("destination").value, answers: effective() };
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify(content);
      const reply = await fetch("api/make", { method: "POST", headers, body });
      if (!reply.ok) throw new Error((await reply.json()).error);
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        steps.textContent += part.value;
        steps.scrollTop = steps.scrollHeight;
      }
      const [text, status] = steps.textContent.split("\0");
      steps.textContent = text;
      byId("status").textContent = status === "0" ? "The project is made, and has predicted." : "";
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
      showLines(byId("changes"), found.lines);
      byId("changes").hidden = !count;
    } finally {
      byId("status").textContent = "";
    }
  }),
);

chooser("chosen", "weights", "a checkpoint");
chooser("chosen", "labels", "labels");
chooser("chosen", "picture", "an image to predict");
chooser("existing", "project", "a project");
preview();
