// The server sends all there is to show whenever something changes. The page
// draws it, and knows nothing from before.
"use strict";

const $ = (id) => document.getElementById(id);
let snapshot = null;
let ahead = 0; // of the server's clock, in ms, so that ages are right

function draw() {
  const { etcd, workers, events } = snapshot;
  $("endpoint").textContent = snapshot.endpoint;
  $("port").textContent = snapshot.port;
  $("key").textContent = snapshot.key;
  figure("workers", workers.length, "worker process", "worker processes");
  figure("connections", etcd.connections, "connection at etcd", "connections at etcd");
  figure("watchers", etcd.known ? etcd.watchers : "?", "watcher at etcd", "watchers at etcd");

  // Rows are kept by pid, so that a button does not vanish under the finger.
  const rows = new Map([...$("list").children].map((li) => [li.dataset.pid, li]));
  for (const w of workers) {
    const li = rows.get(String(w.pid)) ?? newRow(w.pid);
    rows.delete(String(w.pid));
    drawWorker(li, w);
  }
  rows.forEach((li) => li.remove());

  $("events").replaceChildren(...events.slice(-12).reverse().map((e) => {
    const li = document.createElement("li");
    const at = document.createElement("time");
    at.textContent = new Date(e.at).toTimeString().slice(0, 8);
    const text = document.createElement("span");
    text.textContent = e.text;
    li.append(at, text);
    return li;
  }));
}

function figure(id, n, one, many) {
  $(id).textContent = n;
  $(id + "-label").textContent = n === 1 ? one : many;
}

function newRow(pid) {
  const li = $("worker").content.firstElementChild.cloneNode(true);
  li.dataset.pid = pid;
  li.querySelector(".kill").setAttribute("aria-label", `kill -9 ${pid}`);
  li.querySelector(".kill").addEventListener("click", () => act("kill", { pid }));
  $("list").append(li);
  return li;
}

function drawWorker(li, w) {
  const role = { "": "starting", none: "waiting" }[w.role] ?? w.role;
  li.className = [role, w.stale ? "stale" : ""].join(" ").trim();
  const put = (name, text) => { li.querySelector("." + name).textContent = text; };
  put("role", role);
  put("pid", w.pid);
  put("value", !w.known ? w.waiting ?? "" : w.deleted ? "deleted" : w.value);
  li.querySelector(".value").classList.toggle("none", !w.known || w.deleted);
  put("term", w.term || "–");
  put("revision", w.revision || "–");
  put("state", !w.known ? "no value" : w.stale ? "stale" : "fresh");
  li.querySelector(".state").title = w.reason ?? "";
  put("age", w.known ? age(w.stale ? w.since : w.seen) : "–");
}

function age(since) {
  const s = Math.max(0, Math.floor((Date.now() - ahead - Date.parse(since)) / 1000));
  return s < 120 ? `${s}s` : s < 7200 ? `${Math.floor(s / 60)}m` : `${Math.floor(s / 3600)}h`;
}

async function act(what, body) {
  let trouble = "";
  try {
    const resp = await fetch(what, { method: "POST", body: JSON.stringify(body) });
    if (!resp.ok) trouble = await resp.text();
  } catch {
    trouble = "The supervisor does not answer.";
  }
  $("trouble").textContent = trouble;
  $("trouble").hidden = !trouble;
  return !trouble;
}

$("start").addEventListener("click", () => act("start", {}));
$("edit").addEventListener("submit", async (e) => {
  e.preventDefault();
  if (await act("value", { value: $("value").value })) $("value").value = "";
});

function live(text, gone) {
  $("live").textContent = text;
  $("live").classList.toggle("gone", gone);
}

const source = new EventSource("events");
source.onopen = () => live("live", false);
source.onerror = () => live("disconnected, trying again", true);
source.onmessage = (e) => {
  snapshot = JSON.parse(e.data);
  ahead = Date.now() - Date.parse(snapshot.now);
  draw();
};
setInterval(() => { if (snapshot) draw(); }, 1000);
