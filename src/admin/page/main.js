// Receives the router's `picture` events, which contain its state, and shows them. All times are by the router's clock.

import { drawFlow } from "./flow.js";
import { html, say, show } from "./elements.js";
import { showListeners } from "./listeners.js";
import { showSinks } from "./sinks.js";
import { news, showNotes, showRouter, showVerdict, verdict } from "./verdict.js";
import { clock, duration } from "./words.js";

/** The number of points kept for each sink, the same as in the router. */
const POINTS = 300;

/** The time without a `picture` event after which the router counts as lost. Such events arrive every second. */
const PATIENCE_MS = 4000;

/** The pause before the next attempt to connect. It needs no backoff, because the server limits the number of pages. */
const RETRY_MS = 2000;

const byId = (id) => document.getElementById(id);

/** The last picture and the state of the connection. */
const known = {
  status: null,
  second: 0,
  traces: new Map(),
  items: { listeners: [], sinks: [] },
  // The times of the last picture and of the last attempt, by the browser's monotonic clock.
  heard: performance.now(),
  tried: performance.now(),
  lost: false,
  full: null,
};

let events = null;
let retry = null;

function connect() {
  events?.close();
  clearTimeout(retry);
  retry = null;
  known.tried = performance.now();
  let opening = true;
  events = new EventSource("events");
  events.addEventListener("picture", ({ data }) => {
    take(JSON.parse(data), opening);
    opening = false;
  });
  events.addEventListener("full", ({ data }) => {
    known.full = data;
    again();
  });
  events.addEventListener("error", () => {
    known.full = null;
    again();
  });
}

function again() {
  events?.close();
  events = null;
  retry ??= setTimeout(connect, RETRY_MS);
  look();
}

/** Shows a picture. The first picture of a connection has the points of five minutes, later ones only the latest point. */
function take({ status, points }, opening) {
  const missed = points.second - known.second - 1;
  const traces = new Map();
  for (const sink of points.sinks) {
    const key = `${sink.removed} ${sink.name}`;
    const before = opening ? undefined : known.traces.get(key);
    traces.set(key, before ? follow(before, sink, missed) : sink);
  }
  Object.assign(known, { status, second: points.second, traces, heard: performance.now(), full: null });
  const before = known.items.sinks;
  known.items = items(status, points);
  const changes = news(before, known.items.sinks);
  if (known.lost) changes.unshift("The router answers again");
  known.lost = false;
  if (changes.length) announce(changes);
  draw();
  look();
}

function follow(before, latest, missed) {
  // A sample that the router takes while the connection is set up arrives twice: in the first picture and in the
  // second.
  if (missed < 0) return before;
  const join = (name) => [...before[name], ...Array(Math.min(missed, POINTS)).fill(null), ...latest[name]].slice(-POINTS);
  return {
    ...latest,
    offered: join("offered"),
    delivered: join("delivered"),
    dropped: join("dropped"),
    up: join("up"),
  };
}

function items(status, points) {
  const paces = new Map(points.listeners.map((one) => [`${one.removed} ${one.name}`, one.rate]));
  const listeners = status.listeners.map((listener) => ({
    listener,
    rate: paces.get(`${listener.removed} ${listener.name}`) ?? 0,
    now: status.now,
  }));
  const nothing = { offered: [], delivered: [], dropped: [], up: [] };
  const sinks = status.sinks.map((sink) => {
    const trace = known.traces.get(`${sink.removed} ${sink.name}`) ?? nothing;
    return {
      sink,
      points: trace,
      rates: { offered: pace(trace.offered), delivered: pace(trace.delivered) },
      lost: trace.dropped.reduce((sum, frames) => sum + (frames ?? 0), 0),
      now: status.now,
    };
  });
  return { listeners, sinks };
}

/** Returns the mean of the last three seconds, which is steady enough to read and follows changes quickly. */
function pace(values) {
  const last = values.slice(-3).filter((value) => value !== null);
  return last.length ? last.reduce((sum, value) => sum + value, 0) / last.length : 0;
}

function draw() {
  const { status, items } = known;
  show(byId("main"), true);
  showRouter(byId("router"), status);
  showVerdict(byId("verdict"), verdict(status, items.listeners, items.sinks));
  showNotes(byId("notes"), status);
  drawFlow(byId("flow"), items.listeners, items.sinks);
  showListeners(byId("listeners"), items.listeners);
  showSinks(byId("sinks"), items.sinks);
}

/** Shows or hides the banner about a lost router. */
function look() {
  const time = performance.now();
  const silent = time - known.heard;
  // A connection error is noticed immediately. If the network drops all packets, only the missing pictures show it.
  const lost = retry !== null || silent > PATIENCE_MS;
  document.body.classList.toggle("stale", lost && known.status !== null);
  const banner = byId("lost");
  show(banner, lost);
  show(byId("asking"), !lost && known.status === null);
  if (!lost) return undefined;
  if (retry === null && time - Math.max(known.heard, known.tried) > PATIENCE_MS) return again();
  if (!known.lost) {
    known.lost = true;
    document.title = "router lost · tapfan";
    // The banner is created once, so that screen readers announce it once. The duration, which changes each second, is
    // hidden from them.
    banner.replaceChildren(
      html("strong", {}, headline()),
      html("span", {}, since()),
      html("span", { class: "for", "aria-hidden": "true" }),
    );
  }
  say(banner.querySelector("strong"), headline());
  say(banner.querySelector(".for"), ` (${duration(silent / 1000)})`);
  return undefined;
}

function headline() {
  return known.full ? `${known.full} pages are watching this router, as many as it allows. This page waits for a free place` : "The router does not answer";
}

function since() {
  const { status } = known;
  return status ? ` since ${clock(status.now, status.now)}. The page shows its last state. Retrying…` : ". Retrying…";
}

function announce(lines) {
  byId("news").replaceChildren(...lines.map((line) => html("p", {}, line)));
}

byId("host").textContent = location.host;
new ResizeObserver(() => known.status && drawFlow(byId("flow"), known.items.listeners, known.items.sinks)).observe(byId("flow"));
setInterval(look, 1000);
connect();
look();
