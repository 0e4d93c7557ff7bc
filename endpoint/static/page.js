"use strict";
const MAX_REQUESTS = 4; // at a time; the server runs them in batches
const find = (selector, place = document) => place.querySelector(selector);
const make = (tag, values) => Object.assign(document.createElement(tag), values);
const sleep = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const parse = async answer => new DOMParser().parseFromString(await answer.text(), "text/html");
const form = find("#request"), keyForm = find("#key");
const cards = [], waiting = []; // all cards, and those that are not sent yet
let running = 0, firstSent = 0, target = form.action, newKey, key = sessionStorage.getItem("key");

function add(input) { // a File or a string
  const item = find("template").content.firstElementChild.cloneNode(true);
  const kind = input.type?.split("/")[0], frame = make("span");
  const view = make({ image: "img", audio: "audio" }[kind] ?? "q", { alt: "", controls: true });
  if (view.tagName === "Q") view.textContent = input.name ?? input;
  else view.src = URL.createObjectURL(input);
  view.onerror = () => frame.replaceChildren("No preview");
  frame.append(view);
  find("figure", item).append(frame);
  find("ol").append(item);
  cards.push({ input, item, name: input.name ?? input.slice(0, 60) });
  send(cards.at(-1));
}

function send(card) {
  card.values = card.seconds = null;
  card.item.setAttribute("aria-busy", true);
  showStatus(card, "Waiting");
  if (!running) firstSent = performance.now();
  waiting.push(card);
  if (running < MAX_REQUESTS) sendWaiting();
}

async function sendWaiting() {
  running++;
  for (let card; (card = waiting.shift());) {
    showProgress();
    await request(card);
  }
  running--;
  showProgress();
}

async function request(card) { // Repeat it while the server is busy or needs an API key.
  while (true) {
    const used = key, headers = { Accept: "text/html", ...(key && { "X-API-Key": key }) };
    const started = performance.now();
    showStatus(card, "Sent");
    try {
      const answer = await fetch(target, { method: "POST", headers, body: formData(card.input) });
      const shown = find(".answer", await parse(answer));
      if (answer.status === 503) {
        showStatus(card, shown?.textContent ?? "The server is busy.");
        await sleep(Number(answer.headers.get("Retry-After")) || 5);
      } else if (answer.status === 401) {
        showStatus(card, "Waiting for the API key");
        if (used === key) await askForKey();
      } else {
        const model = /predict;dur=([\d.]+)/.exec(answer.headers.get("Server-Timing"))?.[1];
        card.seconds = (performance.now() - started) / 1000;
        if (shown) return showAnswer(card, shown, model / 1000);
        return showError(card, `The server answered with status ${answer.status}: send it again.`);
      }
    } catch {
      return showError(card, "The server cannot be reached: send it again later.");
    }
  }
}

function formData(input) {
  const sent = new FormData();
  const names = JSON.parse(find("#inputs").dataset.fields)[target.split("/predict/")[1] ?? ""];
  for (const [name, value] of new FormData(form)) if (names.includes(name) && (typeof value === "string" || value.size)) sent.set(name, value);
  typeof input === "string" ? sent.set("text", input) : sent.append("file", input);
  return sent;
}

function showStatus(card, text) {
  find(".answer", card.item).replaceWith(make("div", { className: "answer", textContent: text }));
  find("small", card.item).textContent = card.name;
}

function showAnswer(card, shown, model) {
  find(".answer", card.item).replaceWith(shown);
  const time = card.seconds ? ` · ${card.seconds.toFixed(2)} s` : "";
  find(":scope > small", card.item).textContent = card.name + time + (model ? ` (model ${model.toFixed(2)})` : "");
  card.values = JSON.parse(shown.dataset.item);
  card.failed = shown.classList.contains("error");
  card.item.setAttribute("aria-busy", false);
}

function showError(card, detail) {
  const shown = make("div", { className: "answer error" });
  shown.dataset.item = JSON.stringify({ error: { detail } });
  shown.append(make("p", { textContent: detail }));
  showAnswer(card, shown);
}

function showProgress() {
  const done = cards.filter(card => card.values), failed = done.filter(card => card.failed).length;
  const time = running ? "" : ` in ${((performance.now() - firstSent) / 1000).toFixed(1)} s`;
  find("#count").textContent = `${done.length - failed} of ${cards.length} answered${failed ? `, ${failed} refused` : ""}${time}`;
  Object.assign(find("progress"), { max: cards.length, value: done.length, hidden: !running });
  find("#answers").hidden = !cards.length;
  showSendButton();
}

function showSendButton() { // Files are sent when they are chosen; the button repeats that.
  if (form.text) return;
  find("#send").hidden = !cards.length;
  find("#send button").textContent = "Send all again";
}

function askForKey() {
  find("#rejected").textContent = key ? "That key was rejected." : "";
  keyForm.hidden = false;
  keyForm.key.focus();
  return newKey ??= new Promise(done => keyForm.onsubmit = event => {
    event.preventDefault();
    sessionStorage.setItem("key", key = keyForm.key.value);
    keyForm.hidden = true;
    newKey = null;
    done();
  });
}

async function watchHealth() { // Show the state, and the new form once the model is ready.
  for (let health; true; await sleep(health.state === "ready" ? 15 : 1)) {
    try {
      health = await (await fetch(`${form.action}health`)).json();
      const served = `${health.model} on ${health.device}`;
      if (health.state === "ready" && served !== document.body.dataset.served) await reloadForm(served);
    } catch {
      health = { reason: "The server cannot be reached" };
    }
    const model = health.device ? `${health.model} on ${health.device}` : health.model;
    const text = `${model ? `${model}. ` : ""}${health.reason}.`;
    if (find("#state").textContent !== text) find("#state").textContent = text;
    find("#state").dataset.state = health.state;
  }
}

async function reloadForm(served) {
  const page = await parse(await fetch(form.action, { headers: { Accept: "text/html" } }));
  for (const id of ["#title", "#inputs", "#curl"]) find(id).replaceWith(find(id, page));
  document.body.dataset.served = served;
  showSendButton();
}

function showAttention({ target }) { // Darken what the model did not look at for a word.
  find("figure canvas")?.remove();
  if (!target.dataset?.map) return;
  const map = JSON.parse(target.dataset.map), most = Math.max(...map.flat());
  const canvas = make("canvas", { width: map[0].length, height: map.length }), pen = canvas.getContext("2d");
  map.forEach((row, y) => row.forEach((weight, x) => {
    pen.fillStyle = `rgb(0 0 0 / ${0.7 - 0.7 * weight / most})`;
    pen.fillRect(x, y, 1, 1);
  }));
  find("figure span", target.closest("li")).append(canvas);
}

const rows = () => cards.filter(card => card.values).map(({ name, values, failed, seconds }) =>
  ({ file: name, ...(failed ? {} : values), error: failed ? values.error.detail : values.error, seconds }));

function csv() {
  const table = rows(), columns = [...new Set(table.flatMap(Object.keys))];
  const cell = value => String(typeof value === "object" ? JSON.stringify(value) : value ?? "");
  const line = values => values.map(value => `"${cell(value).replaceAll('"', '""')}"`).join(",") + "\r\n";
  return line(columns) + table.map(row => line(columns.map(name => row[name]))).join("");
}

function save(name, type, text) {
  make("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) }).click();
}

document.documentElement.className = "js";
form.noValidate = true;
form.onsubmit = event => {
  event.preventDefault();
  target = event.submitter?.getAttribute("formaction") ?? form.action;
  if (!form.text) cards.filter(card => card.values).forEach(send);
  else if (form.text.value.trim()) add(form.text.value);
};
form.onchange = ({ target }) => {
  if (target.type !== "file" || (target.name && target.name !== "file")) return;
  [...target.files].forEach(add);
  target.value = "";
};
document.onpaste = event => [...event.clipboardData.files].forEach(add);
document.ondragover = document.ondragleave = document.ondrop = event => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.toggle("dragging", event.type === "dragover");
  if (event.type === "drop") [...event.dataTransfer.files].forEach(add);
};
for (const event of ["pointerover", "focusin"]) document.addEventListener(event, showAttention);
find("#copy").hidden = !navigator.clipboard; // Browsers allow it only on https and localhost.
find("#copy").onclick = () => navigator.clipboard.writeText(
  rows().map(({ file, error, ...values }) => `${file}\t${error ?? Object.values(values)[0]}\n`).join(""));
find("#csv").onclick = () => save("answers.csv", "text/csv", csv());
find("#json").onclick = () => save("answers.json", "application/json", JSON.stringify(rows(), null, 2));
find("#curl").textContent = find("#curl").textContent.replace(/http\S+$/, form.action);
showSendButton();
watchHealth();
