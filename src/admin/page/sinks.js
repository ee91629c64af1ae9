// The list of sinks: a row for each, or a card on a narrow screen.

import { facts, glyph, html, list, put, say, show } from "./elements.js";
import { sparkline } from "./sparkline.js";
import { brief, bytes, clock, count, counted, duration, fullness, judge, judgeEndpoint, rate, reasons, since } from "./words.js";

/** Shows sinks, each as `{ sink, points, rates, lost, now }`. */
export function showSinks(parent, sinks) {
  list(parent, sinks, ({ sink }) => `${sink.removed} ${sink.name}`, row);
}

function row() {
  const name = html("h3");
  const mark = glyph();
  const word = html("strong");
  const more = html("span", { class: "more" });
  const badge = html("p", { class: "badge" }, mark.element, word, more);
  const when = html("p", { class: "quiet when" });
  const where = html("p", { class: "where" });
  const [rateIn, rateOut] = [html("dd"), html("dd")];
  const chart = sparkline();
  const queue = queueBar();
  const spool = html("p", { class: "quiet spool" });
  const lost = losses();
  const problems = html("div", { class: "problems" });
  const endpoints = html("ul", { class: "endpoints" });
  const numbers = html("dl", { class: "facts" });
  const element = html(
    "li",
    { class: "sink" },
    html("div", { class: "who" }, html("div", { class: "title" }, badge, name), when, where),
    html(
      "div",
      { class: "flowing" },
      html(
        "dl",
        { class: "rates" },
        html("div", {}, html("dt", { class: "key-in" }, "in"), rateIn),
        html("div", {}, html("dt", { class: "key-out" }, "out"), rateOut),
      ),
      chart.element,
      html("p", { class: "axis", "aria-hidden": "true" }, html("span", {}, "5 min ago"), html("span", {}, "now")),
    ),
    html("div", { class: "waiting" }, queue.element, spool),
    lost.element,
    problems,
    endpoints,
    html("details", {}, html("summary", {}, "Connections, latency and totals", html("span", { class: "unseen" })), numbers),
  );
  const about = element.querySelector("summary .unseen");
  return {
    element,
    update: (item) => {
      const { sink, points, rates, now } = item;
      const judged = judge(sink);
      put(element, "data-kind", judged.kind);
      put(element, "data-sink", sink.name);
      mark.update(judged.kind);
      say(name, sink.name);
      say(about, ` of ${sink.name}`);
      say(word, judged.word);
      say(more, judged.more);
      show(more, judged.more !== "");
      say(when, `for ${duration(since(sink.since, now))}, since ${clock(sink.since, now)}`);
      const form = sink.mode === "full" ? "full" : "without DNS messages";
      const from = sink.from.length > 0 ? ` · from ${sink.from.join(", ")}` : "";
      say(where, `${places(sink)} · ${form}${from}${sink.filter ? " · filtered" : ""}`);
      say(rateIn, rate(rates.offered));
      say(rateOut, rate(rates.delivered));
      chart.update(points);
      queue.update(sink);
      show(spool, sink.spool !== null);
      say(spool, sink.spool === null ? "" : spooled(sink.spool, rates));
      lost.update(item);
      showProblems(problems, sink, judged, now);
      const several = sink.endpoints.length > 1;
      show(endpoints, several);
      list(endpoints, several ? sink.endpoints.map((endpoint) => ({ endpoint, now })) : [], ({ endpoint }) => endpoint.endpoint, endpointRow);
      facts(numbers, details(sink, now));
    },
  };
}

function places({ name, configured, endpoint, endpoints }) {
  const used = endpoints.length > 1 ? `${endpoints.length} endpoints` : endpoint;
  if (!used || used === configured) return configured;
  return name === configured ? `→ ${used}` : `${configured} → ${used}`;
}

function queueBar() {
  const fill = html("div", { class: "fill" });
  const bar = html("div", { class: "bar", "aria-hidden": "true" }, fill);
  const frames = html("span", { class: "number" });
  const capacity = html("span", { class: "quiet" });
  const oldest = html("p", { class: "quiet" });
  const unconfirmed = html("p", { class: "quiet" });
  return {
    element: html("div", { class: "queue" }, html("h4", {}, "Queue"), html("p", {}, frames, " ", capacity), bar, oldest, unconfirmed),
    update: ({ queue, confirm, ledger }) => {
      const full = fullness(queue);
      fill.style.width = `${(full * 100).toFixed(1)}%`;
      put(bar, "data-full", full >= 0.99 ? "full" : full >= 0.5 ? "half" : "fine");
      say(frames, count(queue.frames));
      say(capacity, `of ${count(queue.capacity_frames)}`);
      const parts = [queue.oldest_seconds === null ? "empty" : `oldest ${brief(queue.oldest_seconds)}`];
      // Shows the bytes instead of the frames if the queue is nearer to its limit in bytes.
      if (full * queue.capacity_frames > queue.frames + 1) parts.push(`${bytes(queue.bytes)} of ${bytes(queue.capacity_bytes)}`);
      say(oldest, parts.join(", "));
      // With `confirm finish`, frames that were sent can wait for many seconds. With `kernel`, they wait for milliseconds.
      const waits = confirm.oldest_seconds !== null && confirm.oldest_seconds >= 1;
      say(unconfirmed, waits ? `${count(ledger.unconfirmed)} sent, not confirmed, oldest ${brief(confirm.oldest_seconds)}` : "");
      show(unconfirmed, waits);
    },
  };
}

/** Describes a spool, with the time until it is full at the present rates. */
function spooled(spool, rates) {
  const parts = [`spool ${bytes(spool.bytes)} of ${bytes(spool.size_bytes)}`, `${counted(spool.frames, "frame")}`];
  if (spool.oldest_seconds !== null) parts.push(`oldest ${brief(spool.oldest_seconds)}`);
  const growth = (rates.offered - rates.delivered) * (spool.frames ? spool.bytes / spool.frames : 0);
  if (growth >= 1) parts.push(`full in ${duration((spool.size_bytes - spool.bytes) / growth)}`);
  if (spool.failure) parts.push(`disk fails: ${spool.failure.error}`);
  return parts.join(", ");
}

function losses() {
  const total = html("span", { class: "number" });
  const why = html("ul", { class: "reasons" });
  const late = html("p", { class: "quiet" });
  const element = html("div", { class: "losses" }, html("h4", {}, "Dropped"), html("p", {}, total), why, late);
  return {
    element,
    update: ({ sink, lost }) => {
      const all = reasons(sink.ledger.dropped);
      const sum = all.reduce((sum, [, frames]) => sum + frames, 0);
      put(element, "data-lost", lost ? "now" : sum ? "before" : "never");
      say(total, sum ? count(sum) : "none");
      list(why, all, ([reason]) => reason, () => {
        const text = html("li");
        return { element: text, update: ([reason, frames]) => say(text, all.length > 1 ? `${reason} ${count(frames)}` : reason) };
      });
      say(late, sum ? `${lost >= sum ? "all" : lost ? count(lost) : "none"} in the last 5 min` : "");
    },
  };
}

/** Shows a sink's problems, with emphasis while they last and without it afterwards. */
function showProblems(parent, sink, { kind }, now) {
  const lines = [];
  const error = sink.last_error;
  const current = kind === "down" || kind === "wait";
  if (error) {
    const age = `${duration(since(error.at, now))} ago`;
    lines.push({ key: "error", quiet: !current, text: current ? error.error : `last error ${age}: ${error.error}` });
  }
  if (current && sink.failures) {
    const next = sink.next_attempt ? since(now, sink.next_attempt) : null;
    const soon = next === null ? `retrying now (${sink.state})` : next >= 1 ? `next attempt in ${Math.round(next)} s` : "next attempt now";
    lines.push({ key: "next", quiet: true, text: `${soon}, after ${counted(sink.failures, "failed attempt")}` });
  }
  if (sink.not_listening) {
    const closed = duration(since(sink.not_listening.at, now));
    lines.push({ key: "socket", quiet: false, text: `no collector can connect for ${closed}: ${sink.not_listening.error}` });
  }
  if (sink.resolve_error) {
    const failing = duration(since(sink.resolve_error.at, now));
    lines.push({ key: "name", quiet: false, text: `lookups have failed for ${failing}: ${sink.resolve_error.error}` });
  }
  show(parent, lines.length > 0);
  list(parent, lines, ({ key }) => key, () => {
    const text = html("p");
    return {
      element: text,
      update: (line) => {
        say(text, line.text);
        put(text, "class", line.quiet ? "quiet" : "error");
      },
    };
  });
}

function endpointRow() {
  const mark = glyph();
  const [word, where, what] = [html("strong"), html("span", { class: "where" }), html("span", { class: "quiet" })];
  const element = html("li", {}, mark.element, word, where, what);
  return {
    element,
    update: ({ endpoint, now }) => {
      const judged = judgeEndpoint(endpoint);
      put(element, "data-kind", judged.kind);
      mark.update(judged.kind);
      say(word, judged.more ? `${judged.word} (${judged.more})` : judged.word);
      say(where, endpoint.endpoint);
      const parts = [`for ${duration(since(endpoint.since, now))}`];
      if (judged.kind !== "up" && endpoint.last_error) parts.push(endpoint.last_error.error);
      if (endpoint.next_attempt) parts.push(`next attempt in ${Math.max(0, Math.round(since(now, endpoint.next_attempt)))} s`);
      if (endpoint.ledger) {
        const { queued, in_flight: inFlight, dropped } = endpoint.ledger;
        parts.push(`${count(queued + inFlight)} queued`);
        for (const [reason, frames] of reasons(dropped)) parts.push(`${count(frames)} dropped (${reason})`);
      }
      say(what, parts.join(", "));
    },
  };
}

function details(sink, now) {
  const { ledger, latency, confirm } = sink;
  const ended = reasons(sink.disconnects).map(([reason, times]) => `${reason} ${count(times)}`);
  return [
    ["delivered", `${counted(ledger.delivered, "frame")}, ${bytes(ledger.delivered_bytes)}`],
    ["offered", counted(ledger.offered, "frame")],
    ...(sink.filter ? [["filter", sink.filter.options.join("; ")]] : []),
    ...(sink.filter || reasons(ledger.excluded).length ? [["excluded", excluded(ledger)]] : []),
    ["in flight", counted(ledger.in_flight, "frame")],
    ["confirm", confirm.level === "written" ? "" : sink.degraded ? `${confirm.level}, works as kernel: the collector does not send FINISH` : confirm.level],
    ...(ledger.unconfirmed ? [["unconfirmed", `${counted(ledger.unconfirmed, "frame")}, ${bytes(confirm.unconfirmed_bytes)}`]] : []),
    ...(ledger.resent ? [["sent again", counted(ledger.resent, "frame")]] : []),
    ["latency p50", latency.p50_seconds === null ? "" : brief(latency.p50_seconds)],
    ["latency p99", latency.p99_seconds === null ? "" : brief(latency.p99_seconds)],
    ["connected", counted(sink.connects, "time")],
    ["failed attempts", sink.failed_connects ? count(sink.failed_connects) : ""],
    ["connections ended", ended.join(", ")],
    ["failed lookups", sink.resolve_failures ? count(sink.resolve_failures) : ""],
    ...sink.certificates.map(({ file, expires }) => [`certificate ${file}`, expiry(expires, now)]),
  ];
}

/** Describes the frames that a sink did not get although nothing was wrong. They are not lost. */
function excluded(ledger) {
  const parts = reasons(ledger.excluded).map(([reason, frames]) => `${reason} ${count(frames)}`);
  return parts.length ? parts.join(", ") : "none";
}

/** Returns the time until a certificate expires, or the time since it expired. */
export function expiry(expires, now) {
  const left = since(now, expires);
  return left > 0 ? `expires in ${duration(left)}` : `expired ${duration(-left)} ago`;
}
