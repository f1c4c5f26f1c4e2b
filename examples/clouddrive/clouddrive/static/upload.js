"use strict";
// Uploads what is dropped or chosen, a few at a time. No preview is made here: a picture is seen
// only when the server shows it, after it was checked.
const AT_ONCE = 3;
const form = document.getElementById("upload-form");
const input = document.getElementById("file");
const list = document.getElementById("progress");
const said = document.getElementById("said");
const queue = [];
let active = 0;

document.documentElement.classList.add("scripted");

const place = document.getElementById("jurisdiction");
if (place) {
  const before = sessionStorage.getItem("jurisdiction");
  if ([...place.options].some((option) => option.value === before)) place.value = before;
  place.addEventListener("change", () => sessionStorage.setItem("jurisdiction", place.value));
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function addRow(file) {
  const row = element("li");
  const state = element("span", "quiet", "waiting");
  const bar = element("progress");
  bar.max = 100;
  bar.value = 0;
  bar.setAttribute("aria-label", `Upload of ${file.name}`);
  row.append(element("span", "name", file.name), state, bar);
  list.append(row);
  return { row, state, bar };
}

function fail({ row, state, bar }, text) {
  row.classList.add("failed");
  bar.remove();
  const close = element("button", "plain", "Hide");
  close.type = "button";
  close.addEventListener("click", () => row.remove());
  state.replaceWith(close);
  row.append(element("p", "detail", text));
  said.textContent = text;
}

async function settle(shown, name, answer) {
  if (answer.state === "too_large" || answer.state === "deleted" || !answer.state) {
    fail(shown, (answer.lines || [answer.heading]).join(" "));
    return;
  }
  await window.refreshLive(); // The server's own words appear first, then the progress goes.
  shown.row.remove();
  said.textContent = `${name}: ${answer.heading}. ${(answer.lines || []).join(" ")}`;
}

function send(file, shown) {
  const request = new XMLHttpRequest();
  const body = new FormData();
  if (place) body.append("jurisdiction", place.value);
  body.append("file", file);
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => {
    if (!event.lengthComputable) return;
    shown.bar.value = (100 * event.loaded) / event.total;
    shown.state.textContent = event.loaded < event.total ? `${Math.round(shown.bar.value)} %` : "being checked";
  });
  request.addEventListener("loadend", async () => {
    active -= 1;
    next();
    if (request.response) await settle(shown, file.name, request.response);
    else fail(shown, "The upload was interrupted. Nothing was added; please try again.");
  });
  shown.state.textContent = "0 %";
  request.send(body);
}

function next() {
  while (active < AT_ONCE && queue.length) {
    active += 1;
    send(...queue.shift());
  }
}

function take(files) {
  const most = Number(form.dataset.bytesMax);
  for (const file of files) {
    const shown = addRow(file);
    if (file.size > most) fail(shown, `This is larger than ${most / 1e6} MB, the most the drive takes per file.`);
    else queue.push([file, shown]);
  }
  next();
}

input.addEventListener("change", () => {
  take([...input.files]);
  input.value = "";
});
form.addEventListener("submit", (event) => event.preventDefault());

// The whole window takes a drop; leaving it is counted, as every child fires its own events.
let depth = 0;
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
const drag = (on) => document.body.classList.toggle("dragging", on);
addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  depth += 1;
  drag(true);
});
addEventListener("dragleave", (event) => {
  if (!hasFiles(event)) return;
  depth = Math.max(0, depth - 1);
  drag(depth > 0);
});
addEventListener("dragover", (event) => {
  if (hasFiles(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  drag(false);
  take([...event.dataTransfer.files]);
});
