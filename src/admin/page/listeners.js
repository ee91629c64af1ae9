// The list of listeners, each with its senders.

import { html, list, put, say, show } from "./elements.js";
import { expiry } from "./sinks.js";
import { bytes, clock, count, counted, duration, rate, reasons, since } from "./words.js";

/** The number of senders of a listener that are shown. */
const SENDERS = 8;

/** Shows listeners, each as `{ listener, rate, now }`. */
export function showListeners(parent, listeners) {
  list(parent, listeners, ({ listener }) => `${listener.removed} ${listener.name}`, row);
}

function row() {
  const name = html("h3");
  const now = html("span", { class: "number" });
  const senders = html("span", { class: "senders" });
  const total = html("p", { class: "quiet" });
  const hint = html("p", { class: "hint" });
  const from = html("ul", { class: "from", "aria-label": "Senders" });
  const others = html("p", { class: "quiet" });
  const refused = html("p", { class: "refused" });
  const element = html("li", { class: "listener" }, name, html("p", { class: "pace" }, now, senders), total, hint, from, others, refused);
  return {
    element,
    update: ({ listener, rate: pace, now: time }) => {
      put(element, "data-idle", listener.connections ? null : "");
      put(element, "data-listener", listener.name);
      say(name, listener.removed ? `${listener.name} (removed)` : listener.name);
      say(now, rate(pace));
      say(senders, listener.connections ? `from ${counted(listener.connections, listener.dialled ? "server" : "sender")}` : absence(listener, time));
      const lost = listener.not_listening;
      const parts = [`${counted(listener.frames, "frame")}, ${bytes(listener.bytes)}`, `${counted(listener.accepted, "connection")} ${listener.dialled ? "made" : "accepted"}`];
      if (listener.address && !listener.name.endsWith(listener.address)) parts.unshift(`at ${listener.address}`);
      else if (!listener.configured.endsWith(listener.name.replace(/^\w+:[/][/]/, ""))) parts.unshift(`at ${listener.configured}`);
      for (const { expires } of listener.certificates) parts.push(`certificate ${expiry(expires, time)}`);
      say(total, parts.join(" · "));
      show(hint, listener.hint !== null);
      say(hint, listener.hint === null ? "" : `${listener.hint[0].toUpperCase()}${listener.hint.slice(1)}.`);
      const busiest = [...listener.senders].sort((a, b) => busyness(b) - busyness(a));
      list(from, busiest.slice(0, SENDERS).map((sender) => ({ sender, now: time })), ({ sender }) => sender.connection, senderRow);
      show(from, busiest.length > 0);
      const more = Math.max(0, busiest.length - SENDERS) + listener.other_senders;
      show(others, more > 0);
      say(others, more ? `and ${counted(more, "more sender")}` : "");
      const errors = reasons(listener.errors);
      const wrong = [];
      if (listener.dialled) wrong.push(...missing(listener.dialled, time));
      if (lost) wrong.push(`No sender can connect: ${lost.error}.`);
      if (errors.length > 0) wrong.push(`refused: ${errors.map(([reason, times]) => `${reason} ${count(times)}`).join(", ")}`);
      show(refused, wrong.length > 0);
      say(refused, wrong.join(" "));
    },
  };
}

/** Returns why servers of a `connect` line are not connected, for the first few of them. */
function missing({ endpoints, last_error: last }, now) {
  if (endpoints.length === 0) return last ? [`${last.error}.`] : [];
  const down = endpoints.filter(({ state }) => state !== "up");
  const whys = down.slice(0, SENDERS).map(({ endpoint, since: begun, last_error: error }) => {
    return `${endpoint} not connected for ${duration(since(begun, now))}${error ? `: ${error.error}` : ""}.`;
  });
  return down.length > SENDERS ? [...whys, `And ${counted(down.length - SENDERS, "more server")}.`] : whys;
}

function absence({ no_sender_since: begun, dialled }, now) {
  if (dialled) return begun ? `no server connected for ${duration(since(begun, now))}` : "no server connected";
  return begun ? `no sender for ${duration(since(begun, now))}, since ${clock(begun, now)}` : "no sender connected";
}

/** Returns a value by which senders are sorted: the rate, and among equal rates the number of frames. */
function busyness({ frames_per_second: pace, frames }) {
  return (pace ?? 0) + frames * 1e-9;
}

function senderRow() {
  const name = html("strong");
  const what = html("span", { class: "quiet" });
  return {
    element: html("li", {}, name, " ", what),
    update: ({ sender, now }) => {
      say(name, sender.program ? `${sender.program} (${sender.peer})` : sender.peer);
      const parts = [`for ${duration(since(sender.since, now))}`, `${counted(sender.frames, "frame")}, ${bytes(sender.bytes)}`];
      if (sender.frames_per_second !== null) parts.unshift(rate(sender.frames_per_second));
      if (sender.refused) parts.push(`${count(sender.refused)} refused`);
      say(what, parts.join(" · "));
    },
  };
}
