// Takes the router's pictures as they come, and has them shown. All times are the router's own.

import { drawFlow } from "./flow.js";
import { html, say, show } from "./elements.js";
import { showListeners } from "./listeners.js";
import { showSinks } from "./sinks.js";
import { news, showNotes, showRouter, showVerdict, verdict } from "./verdict.js";
import { clock, duration } from "./words.js";

/** Points kept of a sink: as many as the router keeps. */
const POINTS = 300;

/** A picture comes every second; without one for so long the router is lost. */
const PATIENCE_MS = 4000;

/** From one attempt to find the router again to the next. */
const RETRY_MS = 2000;

const byId = (id) => document.getElementById(id);

/** The last picture, and what is known besides. */
const known = {
  status: null,
  second: 0,
  traces: new Map(),
  items: { listeners: [], sinks: [] },
  // By the browser's clock that only ever goes forward, for how long there was no picture.
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

/** Shows a picture. The first of a connection brings the points of five minutes, the others that of a second. */
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
  const told = news(before, known.items.sinks);
  if (known.lost) told.unshift("The router answers again");
  known.lost = false;
  if (told.length) announce(told);
  draw();
  look();
}

function follow(before, latest, missed) {
  // A second that was looked at before the connection was made comes with the opening and once more.
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
  const nothing = { offered: [], delivered: [], dropped: [], up: [], down_since: null };
  const sinks = status.sinks.map((sink) => {
    const trace = known.traces.get(`${sink.removed} ${sink.name}`) ?? nothing;
    return {
      sink,
      points: trace,
      downSince: trace.down_since,
      rates: { offered: pace(trace.offered), delivered: pace(trace.delivered) },
      lost: trace.dropped.reduce((sum, frames) => sum + (frames ?? 0), 0),
      now: status.now,
    };
  });
  return { listeners, sinks };
}

/** The mean of the last three seconds: a figure that can be read, and that is right soon. */
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

/** Says whether the router is there. */
function look() {
  const time = performance.now();
  const silent = time - known.heard;
  // An error is known at once, a network that swallows everything after a while.
  const lost = retry !== null || silent > PATIENCE_MS;
  document.body.classList.toggle("stale", lost && known.status !== null);
  const banner = byId("lost");
  show(banner, lost);
  if (!lost) return undefined;
  if (retry === null && time - Math.max(known.heard, known.tried) > PATIENCE_MS) return again();
  if (!known.lost) {
    known.lost = true;
    document.title = "router lost · tapfan";
    // Made once, so that it is read out once: what changes each second is hidden from those who hear the page.
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
  return known.full ? `As many pages as may watch the router do (${known.full}). This one waits for a place` : "The router does not answer";
}

function since() {
  const { status } = known;
  return status ? ` since ${clock(status.now, status.now)}. Below is how it stood then. Trying again…` : ". Trying again…";
}

function announce(lines) {
  byId("news").replaceChildren(...lines.map((line) => html("p", {}, line)));
}

byId("host").textContent = location.host;
new ResizeObserver(() => known.status && drawFlow(byId("flow"), known.items.listeners, known.items.sinks)).observe(byId("flow"));
setInterval(look, 1000);
connect();
