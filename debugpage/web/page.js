// The handler sends all there is to show about once a second. The page draws
// it and remembers nothing but which keys are open. What comes from the
// cluster is set as text everywhere, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search);
const mostFollowers = 24, mostTakeovers = 8;
let view = null;
let ahead = 0; // of this clock before the server's, in ms
let source = null;
const open = new Map(); // explanations by key; null before the first one has come

const now = () => Date.now() - ahead;
const plural = (n, one, many = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const put = (e, text) => { if (e.textContent !== text) e.textContent = text; };
const clock = (t) => new Date(t).toTimeString().slice(0, 8);

function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) if (v !== undefined) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

for (const table of document.querySelectorAll("table[data-columns]")) {
  const columns = table.dataset.columns.split(",").map((name) => el("th", { role: "columnheader", scope: "col" }, name));
  table.append(el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...columns)), el("tbody", { role: "rowgroup" }));
}

function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 120) return `${Math.floor(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}
const age = (t) => (now() - Date.parse(t) < 1000 ? "0 s" : span(now() - Date.parse(t)));

function size(n) {
  return n < 10240 ? `${n} B` : n < 10485760 ? `${n >> 10} KiB` : `${n >> 20} MiB`;
}

// room is the width that a picture has.
const room = (host) => Math.max(200, Math.floor(host.clientWidth - 2 * parseFloat(getComputedStyle(host).paddingLeft)));

function draw() {
  const { stats } = view;
  document.title = `${stats.name}: ${stats.role === "none" ? "no leader" : "led by " + stats.leader_pid}${blindSince() ? ", blind" : ""}`;
  put($("name"), stats.name);
  put($("where"), `${stats.address}, seen by pid ${stats.pid}, ${standing(stats)}`);
  $("main").hidden = false;
  drawTabs();
  drawBanner();
  drawNow();
  drawRates();
  drawKeys();
  drawTakeovers();
  drawProcesses();
  put($("foot"), `Version ${stats.build || "unknown"} · ` +
    (stats.runtime_dir ? `runtime directory ${stats.runtime_dir}` : `no runtime directory: ${stats.runtime_dir_trouble || "none"}`) +
    (stats.socket_trouble ? ` · no Unix socket beside the port: ${stats.socket_trouble}` : "") +
    (view.at ? ` · the leader was last heard at ${clock(view.at)}` : ""));
}

function standing(stats) {
  if (view.closed) return "whose client is closed";
  if (stats.role === "none") return `without a leader for ${age(stats.since)}`;
  return `${stats.role === "leader" ? "which leads" : "which follows"} since ${age(stats.since)}, term ${stats.term}`;
}

function drawTabs() {
  const nav = $("tabs");
  nav.hidden = view.clients.length < 2;
  const state = JSON.stringify([view.clients, view.client]);
  if (nav.hidden || nav.dataset.state === state) return;
  nav.dataset.state = state;
  nav.replaceChildren(...view.clients.map((c, i) => el("a", {
    href: `?client=${i}`, "aria-current": i === view.client ? "page" : undefined,
  }, `${c.name} (${c.role === "none" ? "no leader" : c.role})`)));
}

// blindSince is since when the leader has not reached the upstream at all.
const blindSince = () => (view.past ? undefined : view.name?.leadership.upstream.blind_since);

function drawBanner() {
  const { stats } = view;
  let text = "", bad = true;
  if (view.closed) {
    text = "The client of this process is closed.";
  } else if (stats.role === "none") {
    text = `Nobody leads now. This process waits: ${(stats.waiting || "for a leader").replace(/^clusterclient: .*?no leader: /, "")}.` + (stats.keys ? ` It holds ${plural(stats.keys, "key")}, of which ${stats.stale_keys} stale.` : "");
  } else if (view.trouble) {
    text = `The leader, pid ${stats.leader_pid}, does not tell more: ${view.trouble}.`;
  } else if (view.name && !view.past && !view.name.leadership.upstream.open) {
    text = `The leader has no upstream: ${view.name.leadership.upstream.trouble}.`;
  } else if (blindSince()) {
    text = `The leader has not reached the upstream for ${age(blindSince())}: ${view.name.leadership.upstream.trouble}. ` +
      `All processes go on with the values that were known last.`;
  } else if (view.keys.stale && !view.past) {
    bad = false;
    text = `The upstream does not vouch for ${view.keys.stale} of ${plural(view.keys.total, "key")}: ${view.name.leadership.upstream.trouble || "no value yet"}.`;
  }
  if (text && view.past) text += ` Below is what was known at ${clock(view.at)}.`;
  $("banner").hidden = !text;
  $("banner").classList.toggle("bad", bad);
  put($("banner"), text);
}

function drawNow() {
  const { stats, name } = view;
  const led = stats.role !== "none" && !view.closed;
  const host = $("picture");
  host.classList.toggle("old", view.past && led);
  const ship = name?.leadership;
  const all = ship?.followers ?? [];
  const leader = led && name && !view.past ? name.leader : { pid: stats.leader_pid ?? 0 };
  const others = all.filter((f) => !f.own && f.instance !== leader.instance && (f.pid !== leader.pid || leader.instance) && (led || f.pid !== name.leader.pid));
  const shown = others.slice(0, mostFollowers);
  const more = view.followers - 1 - shown.length;
  const summary = !led ? "Nobody leads." : !ship ? `Pid ${stats.leader_pid} leads in term ${stats.term}.` :
    `Pid ${stats.leader_pid} leads in term ${stats.term}. ` +
    `${plural(Math.max(0, view.followers - 1), "process follows", "processes follow")}, ${ship.candidates} of which could lead. ` +
    `${plural(ship.upstream.watches, "watch", "watches")} at the upstream ${ship.upstream.watches === 1 ? "serves" : "serve"} ${plural(ship.subscriptions, "subscription")}.`;
  put($("summary"), summary);
  const dark = led && blindSince();
  const blind = !led || ship && !view.past && (!ship.upstream.open || ship.upstream.stale_keys > 0 || dark);
  drawCluster(host, room(host), {
    label: summary,
    flows: !view.past && view.rates.length > 0 && view.rates.at(-1).sent > 0,
    upstream: {
      kind: blind ? "bad" : "", title: ship?.upstream.trouble || "the config centre or registry",
      lines: [["upstream", ""], !led ? ["nobody is connected", "note"] : !ship ? ["", "small"] :
        !ship.upstream.open ? ["not open", "note"] :
        dark ? [`not reached for ${age(dark)}`, "note"] :
        blind ? [`${ship.upstream.stale_keys} of ${plural(ship.upstream.watches, "watch", "watches")} silent`, "note"] : [plural(ship.upstream.watches, "watch", "watches"), "small"]],
    },
    leader: led ? {
      kind: dark ? "blind" : "", title: `${leader.program ?? ""} ${leader.build ?? ""}`,
      lines: [[`leader, term ${stats.term}${dark ? ", blind" : ""}`, "role"], [`pid ${leader.pid}`, "mono"],
        stats.pid === leader.pid ? ["this process", "here"] : [leader.program ?? "", "small"]],
    } : { kind: "nobody", title: stats.waiting ?? "", lines: [["nobody leads", "note"], [name ? `last: ${name.leader.pid}, term ${name.term}` : "", "small"]] },
    followers: shown.map(followerBox),
    note: more > 0 ? `and ${plural(more, "more process", "more processes")}` : "",
  });
}

function followerBox(f) {
  const behind = f.behind > 0 ? `${plural(f.behind, "key")} behind` : "";
  const note = f.trouble ? "does not answer" : behind;
  const stale = f.holding?.stale_keys ? `, ${f.holding.stale_keys} stale` : "";
  return {
    kind: f.trouble ? "bad" : "", title: [f.program, f.build, f.trouble].filter(Boolean).join(" · "),
    lines: [[`pid ${f.pid}`, "mono"], [`${plural(f.keys, "key")}${stale}${f.candidate ? "" : ", only follows"}`, "small"],
      note ? [note, "note"] : f.pid === view.stats.pid ? ["this process", "here"] : [f.program ?? "", "small"]],
  };
}

const measures = [["updates", "updates a second"], ["sent", "values sent a second"], ["calls", "calls a second"]];

function drawRates() {
  const host = $("rates");
  if (!host.firstChild) {
    for (const [, caption] of measures) {
      host.append(el("figure", {}, el("figcaption", {}, caption), el("b"), el("small"), el("div")));
    }
  }
  measures.forEach(([measure, caption], i) => {
    const points = view.rates.map((r) => ({ t: Date.parse(r.at), v: r[measure] }));
    const last = view.past || !points.length ? null : points.at(-1).v;
    const peak = Math.max(0, ...points.map((p) => p.v));
    const [, value, small, chart] = host.children[i].children;
    put(value, last === null ? "–" : number(last));
    put(small, points.length ? `at most ${number(peak)} in 2 min` : "");
    drawSpark(chart, points, now(), `${caption}: ${last === null ? "unknown" : number(last)} now, at most ${number(peak)} in the last two minutes`);
  });
}

const number = (n) => (n >= 100 || Number.isInteger(n) ? Math.round(n).toLocaleString("en") : n.toFixed(1));

// rows keeps the rows of a table by an id, so that focus and selection stay
// where they are.
function rows(body, items, id, make, fill) {
  const have = new Map([...body.children].map((tr) => [tr.dataset.id, tr]));
  let at = body.firstElementChild;
  for (const item of items) {
    let tr = have.get(id(item));
    have.delete(id(item));
    if (!tr) {
      tr = make(item);
      tr.dataset.id = id(item);
    }
    if (tr === at) at = at.nextElementSibling;
    else body.insertBefore(tr, at);
    fill(tr, item);
  }
  have.forEach((tr) => tr.remove());
}

const cells = (...labels) => el("tr", { role: "row" }, ...labels.map((l) => el("td", { role: "cell", "data-label": l })));

function drawKeys() {
  const { keys } = view;
  let note = `${plural(keys.total, "key")}`;
  if (params.get("filter") || params.get("stale")) note = `${keys.matched.toLocaleString("en")} of ${note} match`;
  if (keys.rows.length < keys.matched) note += `; the first ${keys.rows.length} are shown, the filter finds the others`;
  if (!view.name) note = "Not known: no leader has told of them yet.";
  put($("keys-note"), note + (view.past && view.name ? `, as of ${clock(view.at)}` : ""));
  const items = [];
  for (const k of keys.rows) {
    items.push({ k });
    if (open.has(k.key)) items.push({ k, more: true });
  }
  rows($("keys").tBodies[0], items, (i) => (i.more ? "more " : "key ") + i.k.key, newKeyRow, (tr, i) => (i.more ? fillExplanation : fillKey)(tr, i.k));
}

function newKeyRow({ k, more }) {
  if (more) return el("tr", { role: "row", class: "explained" }, el("td", { role: "cell", colspan: 6 }));
  const tr = cells(undefined, undefined, "changed", "revision", undefined, "for");
  const button = el("button", { type: "button", class: "key", "aria-expanded": "false" }, k.key);
  button.addEventListener("click", () => toggle(k.key));
  tr.cells[0].append(button);
  tr.cells[1].append(el("span", { class: "state" }), el("span", { class: "reason" }));
  return tr;
}

function fillKey(tr, k) {
  const { value, watch } = k;
  const state = view.past ? "past" : value.state;
  tr.className = state;
  tr.querySelector("button").setAttribute("aria-expanded", String(open.has(k.key)));
  const since = value.state === "unknown" ? "no value yet" : `${value.state} for ${age(value.since)}`;
  put(tr.querySelector(".state"), view.past ? `was ${value.state}` : since);
  put(tr.querySelector(".reason"), [value.reason, watch.state === "lingering" ? "nobody subscribes any more" : ""].filter(Boolean).join("; "));
  put(tr.cells[2], value.changed ? `${age(value.changed)} ago` : value.state === "unknown" ? "–" : "before this term");
  put(tr.cells[3], revision(value.revision));
  put(tr.cells[4], value.deleted ? "deleted" : value.state === "unknown" ? "–" : size(value.bytes));
  const rest = k.processes - k.subscribers.length;
  const groups = k.groups?.length ? `; ${plural(k.groups.length, "group")}: ${k.groups.join(", ")}` : "";
  put(tr.cells[5], (k.subscribers.join(", ") || "nobody") + (rest > 0 ? ` and ${rest} more` : "") + groups);
}

const revision = (r) => (r?.term ? `${r.term}.${r.seq}` : "–");

function toggle(key) {
  if (!open.delete(key)) {
    open.set(key, null);
    explain(key);
  }
  drawKeys();
}

async function explain(key) {
  let answer;
  try {
    const resp = await fetch(`explain?client=${view.client}&key=${encodeURIComponent(key)}`);
    answer = resp.ok ? await resp.json() : { failed: await resp.text() };
  } catch {
    answer = { failed: "The process does not answer." };
  }
  if (!open.has(key)) return;
  open.set(key, answer);
  drawKeys();
}

// fillExplanation shows the way of the value from the upstream to each loop.
function fillExplanation(tr, k) {
  const e = open.get(k.key), cell = tr.cells[0];
  const text = e && !e.failed ? chain(e) : [];
  const state = JSON.stringify([text, e?.held, e?.failed]);
  if (cell.dataset.state === state) return;
  cell.dataset.state = state;
  if (!e || e.failed) {
    cell.replaceChildren(e ? e.failed : "asking …");
    return;
  }
  cell.replaceChildren(el("ol", {}, ...text.map((t) => el("li", {}, t))));
  if (e.held) {
    cell.append(el("pre", { "aria-label": `value of ${k.key}`, tabindex: 0 },
      e.held.binary ? `${size(e.held.bytes)} that are not text` : (e.held.text ?? "") + (e.held.cut ? `… (${size(e.held.bytes)})` : "")));
  } else if (view.values) {
    cell.append(el("p", { class: "dim" }, "This process does not subscribe to the key, so it has no value to show."));
  }
}

function chain(e) {
  if (e.trouble) return [`leader: ${e.trouble}`, ...(e.here ? [`pid ${view.stats.pid}: ${valueText(e.here.key)}`] : [])];
  const lines = [
    `upstream: ${e.watch.blind_since ? `not reached by the leader for ${age(e.watch.blind_since)}, ` : ""}${e.watch.state}${e.watch.failures ? `, ${plural(e.watch.failures, "failure")}` : ""}${e.watch.trouble ? `: ${e.watch.trouble}` : ""}`,
    `leader, pid ${e.leader.pid}: ${valueText(e.value)}`,
  ];
  for (const g of e.groups ?? []) lines.push(`group ${g.group}: ${plural(g.members, "member")}, ${g.queued} queued, ${g.held} under way, ${g.dropped} dropped`);
  for (const s of e.subscribers) {
    const subs = (s.holding?.of_key ?? []).map((o) => o.behind ? `has not taken the newest, its last is ${revision(o.yielded)}` : o.group ? `in group ${o.group}` : `has taken ${revision(o.yielded)}`);
    lines.push(`pid ${s.pid}${s.program ? ` (${s.program})` : ""}: ` + (s.trouble || !s.holding?.key ? s.trouble || "does not tell" : valueText(s.holding.key)) +
      (s.behind ? `, ${plural(s.behind, "value")} not sent yet` : "") + (subs.length ? `; ${plural(subs.length, "subscription")}: ${[...new Set(subs)].join("; ")}` : ""));
  }
  if (e.more) lines.push(`and ${plural(e.more, "more process", "more processes")}`);
  return lines;
}

function valueText(v) {
  if (v.state === "unknown") return `no value yet${v.reason ? `: ${v.reason}` : ""}`;
  return `${v.state} since ${clock(v.since)}, revision ${revision(v.revision)}` + (v.version ? `, version ${v.version}` : "") +
    `, ${v.deleted ? "deleted" : size(v.bytes)}${v.reason ? `: ${v.reason}` : ""}`;
}

function drawTakeovers() {
  const terms = view.stats.terms;
  $("timeline").hidden = !terms.length;
  if (!terms.length) {
    $("terms").replaceChildren(el("li", { class: "empty" }, "This process has neither led nor followed yet."));
    return;
  }
  const nothing = view.stats.role === "none" || view.closed;
  const drawn = terms.map((t) => ({
    pid: t.leader_pid, term: t.term, mine: t.role === "leader", began: Date.parse(t.began),
    ended: t.ended ? Date.parse(t.ended) : now(), over: Boolean(t.ended), reason: t.reason,
  }));
  const host = $("timeline");
  drawTerms(host, room(host), drawn, now(),
    `Who led when: ${plural(terms.length, "leadership")}, ${nothing ? "nobody leads now" : `pid ${terms.at(-1).leader_pid} leads now`}`,
    (t) => `pid ${t.pid} led for ${span(t.ended - t.began)} in term ${t.term}${t.reason ? `; it ended: ${t.reason}` : ""}`);
  const items = drawn.map((t, i) => ({ at: t.began, text: takeover(t, drawn[i - 1]) }));
  if (nothing) items.push({ at: drawn.at(-1).ended, text: `nobody leads; ${drawn.at(-1).reason || view.stats.waiting || ""}` });
  const lines = items.slice(-mostTakeovers).reverse();
  const state = JSON.stringify(lines);
  if ($("terms").dataset.state === state) return;
  $("terms").dataset.state = state;
  $("terms").replaceChildren(...lines.map((l) => el("li", {}, el("time", { datetime: new Date(l.at).toISOString() }, clock(l.at)), el("span", {}, l.text))));
}

function takeover(t, before) {
  const who = `pid ${t.pid} leads in term ${t.term}` + (t.mine ? ", this process" : "");
  if (!before) return `${who}; this process ${t.mine ? "was the first" : "joined"}`;
  return `${who}, after ${span(t.began - before.ended)} without a leader` + (before.reason ? `: ${before.reason}` : "");
}

function drawProcesses() {
  const ship = view.name?.leadership;
  const all = ship?.followers ?? [];
  $("processes").classList.toggle("old", view.past);
  $("processes-note").hidden = all.length === view.followers;
  put($("processes-note"), `${all.length} of ${view.followers} are shown.`);
  rows($("processes").tBodies[0], all, (f) => f.instance, () => cells("pid", undefined, "joined", "keys", "behind", "calls", undefined), fillProcess);
}

function fillProcess(tr, f) {
  tr.className = (f.trouble ? "stale" : "") + (f.own ? " own" : "");
  put(tr.cells[0], `${f.pid}${f.own ? (view.past ? " led" : " leader") : ""}${f.pid === view.stats.pid ? " (this process)" : ""}`);
  put(tr.cells[1], `${f.program || "–"}${f.build ? ` ${f.build}` : ""}`);
  put(tr.cells[2], `${age(f.since)} ago`);
  put(tr.cells[3], `${f.keys}${f.holding?.stale_keys ? `, ${f.holding.stale_keys} stale` : ""}`);
  put(tr.cells[4], plural(f.behind, "key"));
  put(tr.cells[5], `${f.calls} under way`);
  put(tr.cells[6], f.trouble || (f.candidate ? "could lead" : "only follows"));
}

function live(text, kind) {
  put($("live"), text);
  $("live").className = kind;
}

let again = 0;
function connect() {
  source?.close();
  clearTimeout(again);
  source = new EventSource(`events?${params}`);
  source.onopen = () => live("live", "on");
  source.onmessage = (e) => {
    view = JSON.parse(e.data);
    ahead = Date.now() - Date.parse(view.now);
    live("live", "on");
    draw();
  };
  source.onerror = () => {
    live("no answer, trying again", "off");
    if (source.readyState === EventSource.CLOSED) again = setTimeout(connect, 3000); // the browser has given up
  };
}

// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return connect();
  source.close();
  clearTimeout(again);
  live("paused", "");
});

let typing = 0;
function search() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    for (const [name, value] of [["filter", $("filter").value], ["stale", $("stale").checked ? "1" : ""]]) {
      if (value) params.set(name, value);
      else params.delete(name);
    }
    history.replaceState(null, "", params.size ? `?${params}` : location.pathname);
    connect();
  }, 250);
}
$("filter").value = params.get("filter") ?? "";
$("stale").checked = Boolean(params.get("stale"));
$("search").addEventListener("input", search);
$("search").addEventListener("submit", (e) => e.preventDefault());
addEventListener("resize", () => { if (view) draw(); });
setInterval(() => {
  if (!view || document.hidden || source.readyState !== EventSource.OPEN) return;
  for (const key of open.keys()) explain(key);
}, 2000);
connect();
