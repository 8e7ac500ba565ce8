// Pictures, made of the elements of SVG. All text is set as text, never parsed.
"use strict";

function svgElement(name, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// drawing replaces what is in host by an svg of that size, if the picture has
// changed.
function drawing(host, width, height, label, parts) {
  const svg = svgElement("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, height }, ...parts);
  if (host.firstChild?.outerHTML !== svg.outerHTML) host.replaceChildren(svg);
}

// fit cuts text to a number of characters.
const fit = (text, n) => (text.length > n ? text.slice(0, Math.max(1, n - 1)) + "…" : text);

const boxHeight = 66;

// box draws one party. lines are [text, class], the first one at the top.
function box(x, y, w, kind, title, lines) {
  const g = svgElement("g", { class: kind }, svgElement("title", {}, title),
    svgElement("rect", { class: "box", x, y, width: w, height: boxHeight, rx: 8 }));
  lines.forEach(([text, kind], i) => {
    const chars = Math.floor((w - 20) / (kind.includes("mono") ? 8.5 : kind.includes("small") || kind.includes("note") ? 6.6 : 7.4));
    g.append(svgElement("text", { class: kind, x: x + w / 2, y: y + 20 + 18 * i, "text-anchor": "middle" }, fit(text, chars)));
  });
  return g;
}

const wire = (d, kind) => svgElement("path", { class: "wire " + kind, d });

// drawCluster draws the upstream, the leader below it, and the followers below
// that, in as many rows as the width makes necessary.
function drawCluster(host, width, c) {
  const gap = 14, drop = 34, trunk = 12;
  const cols = Math.max(1, Math.min(c.followers.length, Math.floor((width - trunk + gap) / (152 + gap))));
  const w = Math.min(210, Math.floor((width - trunk - (cols - 1) * gap) / cols));
  const wide = Math.min(width, 260), mid = width / 2;
  const leaderY = boxHeight + drop, firstY = leaderY + boxHeight + drop;
  const parts = [
    wire(`M${mid} ${boxHeight}V${leaderY}`, c.upstream.kind === "bad" ? "cut" : c.flows ? "flows" : ""),
    box(mid - wide / 2, 1, wide, "upstream " + c.upstream.kind, c.upstream.title, c.upstream.lines),
    box(mid - wide / 2, leaderY, wide, "leader " + c.leader.kind, c.leader.title, c.leader.lines),
  ];
  const left = (width - (cols * w + (cols - 1) * gap)) / 2 + (c.followers.length > cols ? trunk / 2 : 0);
  const wires = [], boxes = [], nobody = c.leader.kind === "nobody";
  c.followers.forEach((f, i) => {
    const row = Math.floor(i / cols), x = left + (i % cols) * (w + gap), y = firstY + row * (boxHeight + drop - 8);
    const bus = row === 0 ? y - drop / 2 : y - 12;
    const from = row === 0 ? `M${mid} ${leaderY + boxHeight}V${bus}H` : `M${left - trunk} ${firstY - drop / 2}V${bus}H`;
    wires.push(wire(`${from}${x + w / 2}V${y}`, nobody || f.kind ? "cut" : c.flows ? "flows" : ""));
    if (row > 0 && i % cols === 0) wires.unshift(wire(`M${mid} ${firstY - drop / 2}H${left - trunk}`, nobody ? "cut" : c.flows ? "flows" : ""));
    boxes.push(box(x, y, w, "follower " + f.kind, f.title, f.lines));
  });
  let height = c.followers.length ? firstY + Math.ceil(c.followers.length / cols) * (boxHeight + drop - 8) - drop + 10 : leaderY + boxHeight + 2;
  if (c.note) {
    height += 22;
    parts.push(svgElement("text", { class: "small", x: mid, y: height - 4, "text-anchor": "middle" }, c.note));
  }
  drawing(host, width, height, c.label, [...wires, ...parts, ...boxes]);
}

// drawSpark draws numbers over the last two minutes.
function drawSpark(host, points, now, label) {
  const span = 120, h = 36, most = Math.max(...points.map((p) => p.v), 0.001);
  const at = points.map((p) => `${(span - Math.min(span, (now - p.t) / 1000)).toFixed(1)} ${(h - 2 - (h - 6) * p.v / most).toFixed(1)}`);
  const parts = [svgElement("path", { class: "spark-base", d: `M0 ${h - 1}H${span}` })];
  if (at.length > 1) {
    const end = at.at(-1).split(" ")[0], begin = at[0].split(" ")[0];
    parts.unshift(svgElement("path", { class: "spark-area", d: `M${begin} ${h - 1}L${at.join("L")}L${end} ${h - 1}Z` }));
    parts.push(svgElement("path", { class: "spark-line", d: `M${at.join("L")}` }));
  }
  drawing(host, span, h, label, parts);
  host.firstChild.setAttribute("preserveAspectRatio", "none");
}

// drawTerms draws who led when. The axis is logarithmic: the last minute is as
// long as the hour before it.
function drawTerms(host, width, terms, now, label, words) {
  const h = 30, top = 2, oldest = Math.max(now - terms[0].began, 15000);
  const scale = (age) => Math.log1p(Math.max(0, age) / 5000);
  const x = (t) => width * (1 - scale(now - t) / scale(oldest));
  const parts = [];
  for (const [seconds, text] of [[10, "10 s"], [60, "1 min"], [600, "10 min"], [3600, "1 h"], [21600, "6 h"], [86400, "1 d"], [604800, "7 d"]]) {
    const at = x(now - seconds * 1000);
    if (seconds * 1000 >= oldest || at < 14) continue;
    parts.push(svgElement("path", { class: "tick", d: `M${at} ${top}V${top + h + 6}` }),
      svgElement("text", { class: "small", x: at, y: top + h + 19, "text-anchor": "middle" }, text));
  }
  parts.push(svgElement("text", { class: "small", x: width, y: top + h + 19, "text-anchor": "end" }, "now"));
  terms.forEach((t, i) => {
    const from = x(t.began), to = x(t.ended), w = Math.max(2, to - from);
    const g = svgElement("g", {}, svgElement("title", {}, words(t)),
      svgElement("rect", { class: "term " + (t.mine ? "mine" : ""), x: from, y: top, width: w, height: h, rx: 3 }));
    const text = fit(`${t.pid} · term ${t.term}`, Math.floor((w - 10) / 7));
    if (w > 40) g.append(svgElement("text", { class: "small", x: from + w / 2, y: top + 20, "text-anchor": "middle" }, text));
    parts.push(g);
    const next = terms[i + 1]?.began ?? (t.over ? now : t.ended);
    if (next > t.ended || terms[i + 1]) {
      parts.push(svgElement("rect", { class: "gap", x: to - 1, y: top - 2, width: Math.max(2, x(next) - to + 1), height: h + 4 }));
    }
  });
  drawing(host, width, top + h + 24, label, parts);
}
