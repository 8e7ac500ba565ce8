"use strict";
// Takes events from the program and draws them. Text from the cluster goes
// into text nodes alone.

const points = 90; // of a sparkline, one a second
const cards = new Map(); // by name of the cluster

const make = (tag, text, cls) => {
	const e = document.createElement(tag);
	if (text !== undefined) e.textContent = text;
	if (cls) e.className = cls;
	return e;
};

const draw = (tag, attrs, text) => {
	const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
	if (text !== undefined) e.textContent = text;
	return e;
};

const zero = t => !t || t.startsWith("0001-");

function age(t, now) {
	if (zero(t)) return "–";
	const s = Math.max(0, (now - new Date(t)) / 1000);
	if (s < 10) return s.toFixed(1) + " s";
	if (s < 100) return Math.round(s) + " s";
	if (s < 3600) return Math.floor(s / 60) + " min";
	if (s < 172800) return Math.floor(s / 3600) + " h";
	return Math.floor(s / 86400) + " d";
}

const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
const many = (n, one, more) => n + " " + (n === 1 ? one : more || one + "s");
const rate = r => (r < 10 ? r.toFixed(1) : Math.round(r).toLocaleString("en"));
const sum = calls => Object.values(calls || {}).reduce((a, b) => a + b, 0);
const revision = r => (r && r.term ? r.term + "." + r.seq : "–");

// A card shows one cluster.
class Card {
	constructor(name) {
		this.root = document.getElementById("cluster").content.firstElementChild.cloneNode(true);
		this.name = name;
		this.$ = s => this.root.querySelector(s);
		this.history = {};
		this.$(".filter").addEventListener("input", () => this.keys());
		document.getElementById("clusters").append(this.root);
	}

	show(view, event) {
		this.view = view;
		this.event = event;
		this.now = new Date(event.at);
		this.title();
		this.picture();
		this.tiles();
		this.terms();
		this.keys();
		this.processes();
	}

	ship() { return (this.view.cluster && this.view.cluster.leadership) || null; }

	title() {
		const { client, cluster } = this.view;
		this.$("h1").textContent = client.name;
		const who = cluster
			? `led by pid ${cluster.leader.pid} (${cluster.leader.program}) in term ${cluster.term}`
			: "nobody leads";
		const since = this.ship() ? `, for ${age(this.ship().since, this.now)}` : "";
		this.$(".lead").textContent = `${client.address} · ${who}${since} · this page is of pid ${client.pid}, role ${client.role}`;
		const up = this.ship() && this.ship().upstream;
		const trouble = this.view.trouble || client.waiting || (up && up.trouble) || "";
		this.$(".trouble").hidden = !trouble;
		this.$(".trouble").textContent = trouble;
	}

	// picture draws the upstream, the leader and the followers.
	picture() {
		const svg = this.$(".picture svg"), width = Math.max(280, this.$(".picture").clientWidth);
		const box = { w: 116, h: 44, gap: 14 };
		const ship = this.ship(), followers = ship ? ship.followers.filter(f => !f.own) : [];
		const perRow = Math.max(1, Math.floor((width + box.gap) / (box.w + box.gap)));
		const shown = followers.slice(0, perRow * 4), rows = Math.ceil(shown.length / perRow);
		const top = 2, leadY = top + 84, firstY = leadY + 92;
		const height = rows ? firstY + rows * (box.h + box.gap) + 10 : leadY + box.h + 4;
		svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
		svg.setAttribute("height", height);
		svg.setAttribute("aria-label", `upstream, leader and ${followers.length} followers`);
		const edges = [], nodes = [], mid = width / 2;
		const node = (x, y, cls, line, below) => {
			const g = draw("g", { class: "node " + cls });
			g.append(draw("rect", { x: x - box.w / 2, y, width: box.w, height: box.h, rx: 8 }),
				draw("text", { x, y: y + 18, "text-anchor": "middle" }, clip(line, 17)),
				draw("text", { x, y: y + 34, "text-anchor": "middle", class: "soft" }, clip(below, 19)));
			nodes.push(g);
		};
		const edge = (x1, y1, x2, y2, good) => edges.push(draw("path", {
			class: "edge " + (good ? "good" : "bad"),
			d: `M${x1} ${y1} C${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}`,
		}));
		const here = pid => (pid === this.view.client.pid ? " here" : "");
		if (ship) {
			const up = ship.upstream, fine = up.open && up.stale_keys === 0;
			const lead = this.view.cluster.leader;
			edge(mid, top + box.h, mid, leadY, fine);
			node(mid, top, fine ? "good" : "bad", "upstream", fine ? many(up.watches, "watch", "watches") : up.open ? `${up.stale_keys} of ${up.watches} stale` : "not open");
			node(mid, leadY, "leader" + here(lead.pid), "pid " + lead.pid, "leader, term " + this.view.cluster.term);
		} else {
			node(mid, leadY, "bad", "no leader", this.view.client.role === "none" ? "waiting" : "");
		}
		shown.forEach((f, i) => {
			const row = Math.floor(i / perRow), inRow = Math.min(perRow, shown.length - row * perRow);
			const x = mid + ((i % perRow) - (inRow - 1) / 2) * (box.w + box.gap);
			const y = firstY + row * (box.h + box.gap);
			edge(mid, leadY + box.h, x, y, !!f.holding);
			node(x, y, (f.holding ? "good" : "bad") + here(f.pid), "pid " + f.pid,
				!f.holding ? "does not answer" : f.behind ? `${many(f.behind, "key")} behind` : many(f.keys, "key"));
		});
		svg.replaceChildren(...edges, ...nodes);
	}

	// note keeps a figure for its sparkline. Rates come from what only grows.
	note(id, value, counter) {
		const h = this.history[id] || (this.history[id] = { all: [] });
		let shown = value;
		if (counter !== undefined) {
			const s = h.at ? (this.now - h.at) / 1000 : 0;
			if (s > 0 && s < 0.2) return h.all[h.all.length - 1] || 0; // two events in one
			shown = s > 0 && counter === h.era && value >= h.value ? (value - h.value) / s : 0;
			Object.assign(h, { at: this.now, value, era: counter });
		}
		h.all.push(shown);
		if (h.all.length > points) h.all.shift();
		return shown;
	}

	tiles() {
		const ship = this.ship(), { client } = this.view, term = this.view.cluster ? this.view.cluster.term : 0;
		const calls = ship ? (ship.methods || []).reduce((n, m) => n + sum(m.calls), 0) : 0;
		const saved = ship && ship.upstream.watches ? ship.subscriptions / ship.upstream.watches : 0;
		const all = [
			["updates", "updates a second", rate(this.note("updates", ship ? ship.updates : 0, term))],
			["calls", "calls a second", rate(this.note("calls", calls, term))],
			["sent", "deliveries a second", rate(this.note("sent", ship ? ship.sent : 0, term))],
			["running", "calls under way", this.note("running", ship ? ship.running : 0)],
			["saved", "subscriptions for each upstream watch", saved.toFixed(1)],
			["stale", "stale keys here", client.stale_keys],
		];
		this.$(".tiles").replaceChildren(...all.map(([id, label, text]) => {
			const t = make("div", undefined, "tile");
			t.dataset.tile = id;
			t.append(make("b", text), make("span", label));
			if (this.history[id]) t.append(this.spark(this.history[id].all, label));
			return t;
		}));
	}

	spark(all, label) {
		const svg = draw("svg", { viewBox: `0 0 ${points - 1} 26`, preserveAspectRatio: "none", role: "img", "aria-label": label });
		const most = Math.max(...all, 1e-9);
		const d = all.map((v, i) => `${i ? "L" : "M"}${points - all.length + i} ${(25 - (v / most) * 23).toFixed(1)}`).join("");
		svg.append(draw("path", { class: "spark", d }));
		return svg;
	}

	// terms draws the roles of this process on a line of time.
	terms() {
		const all = this.view.client.terms || [], svg = this.$(".terms");
		const width = Math.max(280, svg.parentElement.clientWidth - 40);
		svg.setAttribute("viewBox", `0 0 ${width} 44`);
		if (!all.length) return svg.replaceChildren();
		const from = new Date(all[0].began), span = Math.max(1, this.now - from);
		const x = t => Math.max(0, Math.min(width, ((new Date(t) - from) / span) * width));
		const parts = [draw("rect", { class: "none", x: 0, y: 8, width, height: 4 })];
		all.forEach((t, i) => {
			const a = x(t.began), b = zero(t.ended) ? (i === all.length - 1 ? width : a) : x(t.ended);
			parts.push(draw("rect", { class: t.role, x: a, y: 2, width: Math.max(2, b - a - 1), height: 16, rx: 2 }));
			if (b - a > 60) parts.push(draw("text", { x: a + 2, y: 34, class: "soft" }, `term ${t.term}: pid ${t.leader_pid}`));
		});
		svg.replaceChildren(...parts);
		this.$(".history").replaceChildren(...all.slice(-5).reverse().map(t => {
			const li = make("li"), led = t.role === "leader" ? "led" : `followed pid ${t.leader_pid}`;
			li.append(make("b", `term ${t.term} `), `${led}, from ${new Date(t.began).toLocaleTimeString()}` +
				(zero(t.ended) ? "" : ` to ${new Date(t.ended).toLocaleTimeString()}: ${t.reason || "ended"}`));
			return li;
		}));
	}

	row(cells) {
		const tr = make("tr");
		for (const [text, cls, is] of cells) {
			const td = make("td", undefined, cls);
			td.append(text);
			if (is) td.dataset.is = is;
			tr.append(td);
		}
		return tr;
	}

	keys() {
		if (!this.view) return;
		const ship = this.ship(), all = (ship && ship.keys) || [], wanted = this.$(".filter").value;
		this.$(".count").textContent = ship ? `${all.length + this.view.more_keys}${this.view.more_keys ? `, ${all.length} shown` : ""}` : "";
		this.$(".filter").hidden = all.length < 8 && !wanted;
		const focused = document.activeElement && this.root.contains(document.activeElement) && document.activeElement.closest("tr");
		this.$(".keys tbody").replaceChildren(...all.filter(k => k.key.includes(wanted)).map(k => {
			const v = k.value, tr = this.row([
				[this.keyCell(k.key), "key"], [v.state, v.state], [age(v.since, this.now), "", "for"], [zero(v.changed) ? "–" : age(v.changed, this.now) + " ago", "", "changed"],
				[revision(v.revision), "", "revision"], [clip(v.version || "–", 24), "", "version"], [v.deleted ? "deleted" : String(v.bytes), "n", v.deleted ? "" : "bytes"],
				[k.subscribers.length ? k.subscribers.join(" ") : k.watch.state, "wide", "subscribers"],
			]);
			tr.dataset.key = k.key;
			return tr;
		}));
		if (!focused) return;
		const again = [...this.root.querySelectorAll("tr[data-key] button")].find(b => b.textContent === focused.dataset.key);
		if (again) again.focus({ preventScroll: true }); // the row is a new one
	}

	keyCell(key) {
		if (!this.event.values) return document.createTextNode(key);
		const b = make("button", key);
		b.type = "button";
		b.addEventListener("click", () => this.value(key));
		return b;
	}

	async value(key) {
		const pre = this.$(".value");
		pre.hidden = false;
		try {
			const r = await fetch(`value?name=${encodeURIComponent(this.name)}&key=${encodeURIComponent(key)}`);
			if (!r.ok) throw new Error(await r.text());
			const v = await r.json();
			pre.textContent = `${key}\n\n${v.deleted ? "(deleted)" : v.text}${v.more ? `\n… ${v.more} bytes more` : ""}`;
		} catch (err) {
			pre.textContent = `${key}\n\n${err.message}`;
		}
	}

	processes() {
		const ship = this.ship();
		this.$(".processes tbody").replaceChildren(...((ship && ship.followers) || []).map(f => {
			const tr = this.row([
				[String(f.pid), "", "pid"], [f.program || "–"], [f.own ? "leader" : f.candidate ? "candidate" : "follower"], [age(f.since, this.now), "", "since"],
				[String(f.keys), "n", "keys"], [String(f.behind), f.behind ? "n behind" : "n", "behind"], [String(f.queued), "n", "queued"],
				[String(f.calls), "n", "calls"], [String(f.conflated), "n", "missed"], [f.holding ? "yes" : f.trouble || "no", f.holding ? "yes" : "no wide", "answers"], [f.build || "–", "", "library"],
			]);
			if (f.own) tr.className = "own";
			tr.dataset.pid = f.pid;
			return tr;
		}));
	}
}

function take(event) {
	for (const view of event.views) {
		const name = view.client.name;
		if (!cards.has(name)) cards.set(name, new Card(name));
		cards.get(name).show(view, event);
	}
	document.title = event.views.map(v => v.client.name).join(", ") + " · cluster";
}

const source = new EventSource("events");
source.onmessage = m => {
	document.getElementById("lost").hidden = true;
	take(JSON.parse(m.data));
};
source.onerror = () => { document.getElementById("lost").hidden = false; };
addEventListener("resize", () => cards.forEach(c => c.view && (c.picture(), c.terms())));
