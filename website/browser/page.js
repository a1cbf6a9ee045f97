"use strict";
// What is pasted or dropped goes to the engine (worker.js) and nowhere else; the answer is put into the page as text.
const $ = (id) => document.getElementById(id);
const worker = globalThis.OOMSCOPE_WORKER ? new Worker(OOMSCOPE_WORKER) : new Worker("worker.js", { type: "module" });
if (globalThis.OOMSCOPE_INSIDE) worker.postMessage(globalThis.OOMSCOPE_INSIDE);
let asked = 0;

function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (className) element.className = className;
  return element;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
function size(bytes) {
  let value = bytes, unit = 0;
  while (Math.round(Math.abs(value) * 10) / 10 >= 1024 && unit < UNITS.length - 1) { value /= 1024; unit += 1; }
  return `${unit ? value.toFixed(1) : value} ${UNITS[unit]}`;
}
const number = (value) => (value === null || value === undefined ? "" : value.toLocaleString("en-US"));
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function table(title, columns, rows) {
  const part = made("section");
  part.append(made("h3", title));
  const frame = made("div", "", "scroll");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", title);
  const whole = made("table"), head = whole.createTHead().insertRow();
  for (const [name, kind] of columns) { const cell = made("th", name, kind); cell.scope = "col"; head.append(cell); }
  const body = whole.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, at) => {
      const cell = line.insertCell();
      cell.className = columns[at][1];
      cell.append(value instanceof Node ? value : String(value ?? ""));
    });
  }
  frame.append(whole);
  part.append(frame);
  return part;
}

function share(part, whole, of) {
  const cell = document.createDocumentFragment(), bar = made("meter");
  bar.max = whole; bar.value = Math.max(0, part); bar.setAttribute("aria-label", `${of}: ${percent(part / whole)} of RAM`);
  cell.append(bar, ` ${percent(part / whole)}`);
  return cell;
}

function balance(report) {
  const told = report.balance, page = report.kernel?.page_size_bytes;
  if (!told) return [];
  const rows = [...told.rows.map((row) => [row.kind, row.pages]), ["unaccounted for", told.unexplained_pages]];
  rows.sort((a, b) => b[1] - a[1]);
  return [table("Where RAM is", [["kind", ""], [page ? "size" : "pages", "number"], ["of RAM", "share"]],
    rows.map(([kind, pages]) => [kind, page ? size(pages * page) : number(pages), share(pages, told.ram_pages, kind)]))];
}

function processes(report) {
  const page = report.kernel?.page_size_bytes, told = report.oom?.process_groups ?? [];
  if (!told.length || !page) return [];
  const killed = new Set((report.oom.victims ?? []).map((victim) => victim.comm));
  const name = (comm) => (killed.has(comm) ? made("span", `${comm} (killed)`, "killed") : comm);
  return [table("Processes by name (shared pages count in each)", [["name", ""], ["processes", "number"], ["memory", "number"]],
    told.slice(0, 15).map((group) => [name(group.comm), number(group.processes), size(group.pages * page)]))];
}

function findings(report) {
  return (report.findings ?? []).map((finding) => {
    const part = made("details"), head = made("summary", `${finding.certainty}: ${finding.claim}`);
    part.append(head, ...finding.because.map((line) => made("p", line, "evidence")), made("p", `Next: ${finding.next}`));
    return part;
  });
}

function download(name, type, content) {
  const link = made("a", name);
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  return link;
}

function show(said) {
  const answer = $("answer");
  answer.replaceChildren();
  answer.hidden = false;
  if (said.error) {
    answer.append(made("p", said.advice ? `${said.error}. ${said.advice}` : said.error, "error"));
    return;
  }
  const { report } = said, told = report.answer;
  globalThis.oomscope = report; // for who works on with it in the console
  answer.append(made("h2", told.headline));
  const kind = told.class ?? told.oom_class;
  if (report.oom) answer.append(made("p", `OOM class: ${kind}${told.certainty ? ` (${told.certainty})` : ""}`));
  if (said.machine) answer.append(made("p", said.machine, "machine"));
  if (report.oom?.story?.length) answer.append(made("p", report.oom.story.join(" ")));
  if (told.next) answer.append(made("p", `Next: ${told.next}`, "next"));
  answer.append(...balance(report), ...processes(report));
  const rest = findings(report);
  if (rest.length) answer.append(made("h3", "Findings and the lines they rest on"), ...rest);
  const unknown = report.absent ?? [];
  if (unknown.length) {
    const list = made("ul");
    list.append(...unknown.map((each) => made("li", `${each.what}: ${each.reason}`)));
    answer.append(made("h3", "Not known"), list);
  }
  const links = made("p");
  links.append("For a ticket: ", download("oom.md", "text/markdown", said.markdown), ". For a script: ",
    download("oom.json", "application/json", JSON.stringify(report, null, 2)), ".");
  answer.append(links);
}

worker.onmessage = ({ data }) => {
  if (data.ready) { document.documentElement.dataset.engine = "ready"; return; }
  if (data.id !== undefined && data.id !== asked) return;
  if (data.failed) {
    $("answer").hidden = true;
    $("state").textContent = data.id === undefined ? `The engine did not start: ${data.failed}` : `It could not be explained: ${data.failed}`;
    return;
  }
  $("state").textContent = "";
  show(JSON.parse(data.said));
  document.documentElement.dataset.answered = String(data.id);
  $("answer").scrollIntoView({ block: "start" });
};
worker.onerror = (event) => { $("state").textContent = `The engine did not start: ${event.message || "it could not be loaded"}`; };

const plain = (name) => name.replace(/[^\w.@+-]/g, "_").replace(/^\.+/, "_").slice(0, 120) || "input";
async function explain(files) {
  if (!files.length) return;
  asked += 1;
  const id = asked;
  $("state").textContent = document.documentElement.dataset.engine ? "Reading…" : "Starting Python, then reading…";
  const seen = new Set();
  const named = files.map((file) => {
    let name = plain(file.name);
    for (let count = 1; seen.has(name); count += 1) name = `${count}-${plain(file.name)}`;
    seen.add(name);
    return [name, file];
  });
  try {
    const given = await Promise.all(named.map(async ([name, file]) => ({ name, bytes: await file.arrayBuffer() })));
    // Who asked again meanwhile wants the later answer.
    if (id === asked) worker.postMessage({ id, files: given }, given.map(({ bytes }) => bytes));
  } catch (error) {
    if (id === asked) $("state").textContent = `A file could not be read (a folder, or gone?): ${error}`;
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("text").value.trim()) explain([new File([$("text").value], "pasted.txt")]);
});
$("files").addEventListener("change", () => { explain([...$("files").files]); $("files").value = ""; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); explain([...event.dataTransfer.files]); });
