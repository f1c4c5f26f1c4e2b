"use strict";
// Keeps #live equal to what the server renders, touching only what changed: a picture that stays
// is not loaded again, a button that has the focus keeps it.
const live = document.getElementById("live");

const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id : "");
const isLeaving = (node) => node.nodeType === 1 && node.classList.contains("leaving");

function matchAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
}

function leave(node) {
  if (node.nodeType !== 1 || !node.dataset.key) return node.remove();
  node.querySelectorAll("img").forEach((image) => image.remove()); // What vanished is not shown fading.
  node.classList.add("leaving");
  setTimeout(() => node.remove(), 400);
}

function morph(old, fresh) {
  const here = [...old.childNodes].filter((node) => !isLeaving(node));
  const known = new Map(here.filter(keyOf).map((node) => [keyOf(node), node]));
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (place && isLeaving(place)) place = place.nextSibling;
    const key = keyOf(child);
    const same = key ? known.get(key) : place && !keyOf(place) ? place : null;
    if (same && same.nodeName === child.nodeName) {
      if (same === place) place = place.nextSibling;
      else old.insertBefore(same, place);
      if (same.isEqualNode(child)) continue;
      if (same.nodeType !== 1) same.nodeValue = child.nodeValue;
      else {
        matchAttributes(same, child);
        morph(same, child);
      }
    } else old.insertBefore(child, place);
  }
  while (place) {
    const next = place.nextSibling;
    if (!isLeaving(place)) leave(place);
    place = next;
  }
}

let asked = null;
async function askServer() {
  try {
    const answer = await fetch(live.dataset.source, { cache: "no-store" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    morph(live, document.adoptNode(page.body));
  } catch {
    // The server is away for a moment; the next round tells.
  }
}

window.refreshLive = async () => {
  if (asked) await asked; // An answer that is under way may be older than what the caller did.
  asked = askServer();
  await asked;
  asked = null;
};

setInterval(() => {
  if (!document.hidden && !asked) window.refreshLive();
}, Number(live.dataset.everyMs));
