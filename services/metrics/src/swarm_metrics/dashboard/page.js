"use strict";
// Texts become text nodes and nothing else: what stands in the log cannot become markup.
const main = document.getElementById("main"), live = document.getElementById("live");
const traces = document.querySelector("meta[name=traces]").content;
const path = /^\/runs\/([^/]+)$/.exec(location.pathname);
const url = path ? `/api/runs/${path[1]}` : "/api/runs?limit=200";
const EVERY_MS = 1000, MOST_TASKS = 500, SVG = "http://www.w3.org/2000/svg";
let tag = null, shown = null, more = { samples: [], history: [] }, session = "", status = "";

document.getElementById("json").href = document.getElementById("json").textContent = url;

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {}))
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value); else if (value !== null) node.setAttribute(key, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}
function svg(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// -- numbers and times, as a person reads them ------------------------------------------------------------
function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : size >= 0.001 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}
function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 0.001) return `${number(s * 1e6)} µs`;
  if (s < 1) return `${number(s * 1e3)} ms`;
  return s < 120 ? `${number(s)} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}
function withUnit(value, unit) { return unit === "s" ? seconds(value) : unit === "us" ? seconds(value / 1e6) : unit === "ratio" || unit === "count" || !unit ? number(value) : `${number(value)} ${unit}`; }
function moment(text) {
  const at = new Date(text), today = at.toDateString() === new Date().toDateString();
  const shownAt = Number.isNaN(at.getTime()) ? text : today ? at.toLocaleTimeString() : at.toLocaleString();
  return el("time", { datetime: text, title: text, class: "nowrap" }, shownAt);
}
function pill(state) { return el("span", { class: `pill ${/^[a-z]+$/.test(state) ? state : ""}` }, state); }
function traceOf(run) {
  const short = el("span", { class: path ? "mono" : "mono nowrap", title: run.trace }, path ? run.trace : run.trace.slice(0, 8));
  return traces ? el("a", { href: `${traces}/trace/${encodeURIComponent(run.trace)}`, rel: "noreferrer" }, short) : short;
}
function table(heads, rows) {
  const head = heads.map(([text, kind]) => el("th", { scope: "col", class: kind || null }, text));
  return el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

// -- the list of runs -------------------------------------------------------------------------------------
function list(runs) {
  const count = (state) => runs.filter((run) => run.status === state).length;
  const sessions = [...new Set(runs.map((run) => run.session))].filter(Boolean).sort();
  const states = ["running", "completed", "failed", "cancelled", "rejected"].filter(count);
  if (status && !states.includes(status)) status = "";
  if (session && !sessions.includes(session)) session = "";
  const button = (text, state) => el("button", { type: "button", "aria-pressed": String(status === state), onclick: () => { status = state; show(); } }, text);
  const choose = el("select", { "aria-label": "session", onchange: (event) => { session = event.target.value; show(); } },
    el("option", { value: "" }, "every session"), sessions.map((name) => el("option", { value: name }, name)));
  choose.value = session;
  const rows = runs.filter((run) => (!status || run.status === status) && (!session || run.session === session)).map(row);
  document.title = `${count("running") ? `(${count("running")}) ` : ""}Swarmbench`;
  const found = rows.length
    ? table([["status"], ["run"], ["session"], ["result"], ["duration", "n"], ["started"], ["trace"]], rows)
    : el("p", { class: "empty" }, runs.length ? "No run is like this." : el("span", {}, "The log holds no runs yet. Start one: ", el("span", { class: "mono" }, "swarm run quick")));
  return [el("h1", {}, "Runs"),
    el("div", { class: "bar" }, button(`all ${runs.length}`, ""), states.map((state) => button(`${state} ${count(state)}`, state)), sessions.length > 1 ? choose : null), found,
    runs.length === 200 ? el("p", { class: "quiet small" }, "The latest 200 runs; older ones are in the log.") : null];
}
function row(run) {
  const met = run.progress ? `${run.progress.done} of ${run.progress.scheduled} scheduled tasks done` : null;
  const result = run.main
    ? [el("b", {}, withUnit(run.main.value, run.main.unit)), ` ${run.main.name}`, run.main.low === null ? null : el("div", { class: "quiet small" }, `${number(run.main.low)} to ${number(run.main.high)}`)]
    : el("span", { class: run.reason ? "" : "quiet" }, run.reason || met || "–");
  return el("tr", {}, el("td", {}, pill(run.status)),
    el("td", { class: "name" }, el("a", { href: `/runs/${encodeURIComponent(run.run)}` }, run.suite || "request"), run.scenario ? ` ${run.scenario}` : "", el("div", { class: "mono quiet" }, run.run)),
    el("td", {}, run.session), el("td", {}, result), el("td", { class: "n" }, seconds(run.duration_s)), el("td", {}, moment(run.started)), el("td", { class: "nowrap" }, traceOf(run)));
}

// -- one run ----------------------------------------------------------------------------------------------
function detail(run) {
  document.title = `${run.status} · ${run.suite} ${run.scenario} · Swarmbench`;
  const done = run.work.filter((task) => task.status === "done").length;
  const card = (value, label) => (value === null ? null : el("div", { class: "card" }, el("b", {}, value), el("span", {}, label)));
  const targets = run.targets || [];
  return [
    el("h1", {}, `${run.suite || "request"} ${run.scenario}`, pill(run.status)),
    el("p", { class: "quiet" }, "run ", el("span", { class: "mono" }, run.run), ` · session ${run.session || "–"} · `, moment(run.started)),
    run.reason ? el("p", { class: run.status === "cancelled" ? "cancelled" : "failed" }, run.reason) : null,
    el("section", { class: "cards", "aria-label": "At a glance" }, card(run.duration_s === null ? null : seconds(run.duration_s), "from start to end"),
      card(`${number(done)} of ${number(run.work.length)}`, "scheduled tasks done"), card(run.attempts === null ? null : number(run.attempts), "attempts"),
      card(run.events === null ? null : number(run.events), "events"), targets.length ? card(`${targets.filter((target) => target.met).length} of ${targets.length}`, "targets met") : null,
      card(run.seed === null ? null : String(run.seed), "seed")),
    el("p", {}, el("span", { class: "quiet" }, "trace "), traceOf(run)),
    run.digest ? el("p", {}, el("span", { class: "quiet" }, "digest "), el("span", { class: "mono" }, run.digest), run.deterministic ? null : el("span", { class: "quiet" }, " (the outcome depends on timing)")) : null,
    targets.length ? section("Targets", el("div", { class: "narrow" }, table([["metric"], ["target"], ["value", "n"], [""]], targets.map(goal)))) : null,
    run.metrics.length ? section("Metrics", table([["metric"], ["value", "n"], ["interval", "n"], [""], ["n", "n"], ["how"]], run.metrics.map((one) => metric(one, targets)))) : null,
    more.history.length > 1 ? section(`${more.metric} over runs`, history(more.history, run.run)) : null,
    more.samples.length ? section("Measurements", table([["what"], ["of"], ["n", "n"], ["mean", "n"], ["median", "n"], ["99 %", "n"], ["greatest", "n"]], more.samples.map(measured))) : null,
    run.work.length ? section("Tasks", tasks(run.work)) : null,
    fold("Parameters", run.params), fold("Result", run.result),
  ];
}
function section(title, ...content) { return el("section", {}, el("h2", {}, title), content); }
function fold(title, value) {
  if (!value || !Object.keys(value).length) return null;
  return el("details", { id: title }, el("summary", {}, title), el("pre", {}, JSON.stringify(value, null, 2)));
}
function goal(target) {
  return el("tr", {}, el("th", { scope: "row" }, target.metric), el("td", { class: "nowrap" }, `${{ ">=": "≥", "<=": "≤" }[target.op] || target.op} ${number(target.target)}`),
    el("td", { class: "n" }, number(target.value)), el("td", {}, el("span", { class: `pill ${target.met ? "met" : "missed"}` }, target.met ? "met" : "missed")));
}
function metric(one, targets) {
  const goals = targets.filter((target) => target.metric === one.name).map((target) => target.target);
  const interval = one.low === null || one.high === null ? "" : `${number(one.low)} to ${number(one.high)}`;
  return el("tr", {}, el("th", { scope: "row" }, one.name), el("td", { class: "n" }, one.value === null ? "–" : withUnit(one.value, one.unit)), el("td", { class: "n" }, interval),
    el("td", {}, range(one, goals)), el("td", { class: "n" }, one.n === null ? "" : number(one.n)),
    el("td", { class: "quiet small" }, one.value === null ? `not measured: ${one.reason || "no reason given"}` : one.estimator));
}
function range(one, goals) {
  if (one.value === null || one.low === null || one.high === null) return null;
  const all = [one.value, one.low, one.high, ...goals], ratio = one.unit === "ratio" && Math.min(...all) >= 0 && Math.max(...all) <= 1;
  const from = ratio ? 0 : Math.min(0, ...all), to = ratio ? 1 : Math.max(...all, from + 1e-12) * 1.05;
  const x = (value) => ((value - from) / (to - from || 1)) * 176;
  const label = `${number(one.value)}, interval ${number(one.low)} to ${number(one.high)}, on a scale from ${number(from)} to ${number(to)}`;
  return svg("svg", { class: "range", viewBox: "0 0 176 18", role: "img", "aria-label": label }, svg("title", {}, label),
    svg("line", { class: "axis", x1: 0, x2: 176, y1: 9, y2: 9 }), ...goals.map((at) => svg("line", { class: "goal", x1: x(at), x2: x(at), y1: 1, y2: 17 })),
    svg("path", { class: "whisker", fill: "none", d: `M${x(one.low)} 5v8M${x(one.low)} 9H${x(one.high)}M${x(one.high)} 5v8` }), svg("circle", { class: "dot", cx: x(one.value), cy: 9, r: 4 }));
}
function measured(one) {
  const cell = (value) => el("td", { class: "n" }, withUnit(value, one.unit));
  return el("tr", {}, el("th", { scope: "row" }, one.name), el("td", {}, one.of), el("td", { class: "n" }, number(one.n)),
    cell(one.mean), cell(one.quantiles["0.5"]), cell(one.quantiles["0.99"]), cell(one.high));
}
function history(points, name) {
  const values = points.map((point) => point.value), low = Math.min(...values), high = Math.max(...values), unit = points[0].unit;
  const x = (index) => 4 + (index / (points.length - 1)) * 592, y = (value) => 76 - ((value - low) / (high - low || 1)) * 72;
  const here = points.findIndex((point) => point.run === name);
  const label = `the latest ${points.length} runs of this scenario, the newest last: from ${withUnit(low, unit)} to ${withUnit(high, unit)}`;
  const line = svg("polyline", { class: "line", points: values.map((value, index) => `${x(index)},${y(value)}`).join(" ") });
  const dot = here < 0 ? [] : [svg("circle", { class: "dot", cx: x(here), cy: y(values[here]), r: 4 })];
  return [svg("svg", { class: "history", viewBox: "0 0 600 80", role: "img", "aria-label": label }, svg("title", {}, label), line, ...dot), el("p", { class: "quiet small" }, `${label[0].toUpperCase()}${label.slice(1)}.`)];
}
function tasks(work) {
  const order = { failed: 0, abandoned: 0, scheduled: 1, done: 2 };
  const sorted = [...work].sort((a, b) => order[a.status] - order[b.status] || (a.scheduled < b.scheduled ? -1 : a.scheduled > b.scheduled ? 1 : 0));
  const longest = Math.max(1, ...work.map((task) => task.duration_us || 0));
  const rows = sorted.slice(0, MOST_TASKS).map((task) => {
    const length = svg("svg", { class: "length", viewBox: "0 0 144 10", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: Math.max(1, (144 * (task.duration_us || 0)) / longest), height: 10, rx: 2 }));
    return el("tr", {}, el("td", {}, pill(task.status)), el("th", { scope: "row" }, task.task, task.error && task.status !== "done" ? el("div", { class: "failed small" }, task.error) : null), el("td", {}, task.kind),
      el("td", {}, task.service), el("td", { class: "n" }, number(task.attempts)), el("td", { class: "n" }, task.duration_us === null ? "–" : seconds(task.duration_us / 1e6)), el("td", {}, task.duration_us === null ? null : length));
  });
  return [table([["status"], ["task"], ["kind"], ["service"], ["attempts", "n"], ["duration", "n"], [""]], rows),
    work.length > MOST_TASKS ? el("p", { class: "quiet small" }, `${MOST_TASKS} of ${number(work.length)} tasks, those that failed or wait first; all are in the JSON below.`) : null];
}

// -- live -------------------------------------------------------------------------------------------------
function show() {
  const open = new Set([...main.querySelectorAll("details[open]")].map((node) => node.id));
  main.replaceChildren(...(path ? detail(shown) : list(shown)).filter((node) => node !== null));
  for (const node of main.querySelectorAll("details")) node.open = open.has(node.id);
}
function say(text, state) { if (live.textContent !== text) live.textContent = text; live.className = state; }
async function rows(query, given) {
  const answer = await fetch(`/api/${query}?${new URLSearchParams(given)}`, { cache: "no-cache" });
  return answer.ok ? answer.json() : [];
}
async function besides(run) {
  const main = run.metrics.find((one) => one.value !== null && !one.timing && one.better !== "neither");
  const of = Object.fromEntries(["suite", "scenario"].filter((name) => run[name]).map((name) => [name, run[name]]));
  const [samples, points] = await Promise.all([rows("summary", { run: run.run }), main ? rows("metrics", { name: main.name, ...of, limit: 200 }) : []]);
  return { samples, history: points.filter((point) => point.value !== null).reverse(), metric: main ? main.name : "" };
}
async function poll() {
  try {
    const answer = await fetch(url, { cache: "no-cache" });
    if (answer.ok) {
      if (answer.headers.get("etag") !== tag) { shown = await answer.json(); if (path) more = await besides(shown); show(); tag = answer.headers.get("etag"); }
      say("live", "on");
    } else {
      const why = (await answer.json()).error;
      say(answer.status === 404 ? "not found" : "not available", "off");
      if (shown === null) main.replaceChildren(el("p", { class: "empty" }, why));
    }
  } catch {
    say("no answer from the metrics service", "off");
  }
}
async function follow() {
  const began = performance.now();
  if (!document.hidden) await poll();
  setTimeout(follow, Math.max(EVERY_MS, 10 * (performance.now() - began))); // a run of very many tasks is read less often
}
follow();
