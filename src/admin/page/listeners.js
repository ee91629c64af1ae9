// The list of listeners.

import { html, list, put, say, show } from "./elements.js";
import { expiry } from "./sinks.js";
import { bytes, count, counted, rate, reasons } from "./words.js";

/** Shows listeners, each as `{ listener, rate, now }`. */
export function showListeners(parent, listeners) {
  list(parent, listeners, ({ listener }) => `${listener.removed} ${listener.name}`, row);
}

function row() {
  const name = html("h3");
  const now = html("span", { class: "number" });
  const senders = html("span", { class: "senders" });
  const total = html("p", { class: "quiet" });
  const refused = html("p", { class: "refused" });
  const element = html("li", { class: "listener" }, name, html("p", { class: "pace" }, now, senders), total, refused);
  return {
    element,
    update: ({ listener, rate: pace, now: time }) => {
      put(element, "data-idle", listener.connections ? null : "");
      say(name, listener.removed ? `${listener.name} (removed)` : listener.name);
      say(now, rate(pace));
      say(senders, listener.connections ? `from ${counted(listener.connections, "sender")}` : "no sender connected");
      const lost = listener.not_listening;
      const parts = [`${counted(listener.frames, "frame")}, ${bytes(listener.bytes)}`, `${counted(listener.accepted, "connection")} accepted`];
      if (listener.address && !listener.name.endsWith(listener.address)) parts.unshift(`at ${listener.address}`);
      for (const { expires } of listener.certificates) parts.push(`certificate ${expiry(expires, time)}`);
      say(total, parts.join(" · "));
      const errors = reasons(listener.errors);
      const wrong = [];
      if (lost) wrong.push(`No sender can connect: ${lost.error}.`);
      if (errors.length > 0) wrong.push(`refused: ${errors.map(([reason, times]) => `${reason} ${count(times)}`).join(", ")}`);
      show(refused, wrong.length > 0);
      say(refused, wrong.join(" "));
    },
  };
}
