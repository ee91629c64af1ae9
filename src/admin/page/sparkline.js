// A chart of the last five minutes of a sink. An area shows the incoming rate, a line the outgoing rate, a band the time
// during which the sink was not up, and marks at the bottom the losses.

import { put, svg } from "./elements.js";
import { count, duration, rate } from "./words.js";

const SECONDS = 300;
const HEIGHT = 48;

/** Creates the chart and its `update` function. */
export function sparkline() {
  const bands = svg("path", { class: "band" });
  const area = svg("path", { class: "in" });
  const line = svg("path", { class: "out", "vector-effect": "non-scaling-stroke" });
  const lost = svg("path", { class: "loss" });
  const element = svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${SECONDS} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    area, bands, line, lost,
  );
  return {
    element,
    update: (points) => {
      const { offered, delivered, dropped, up } = points;
      const first = SECONDS - offered.length;
      const top = ceiling(offered, delivered);
      // While a queue empties, the outgoing rate far exceeds the incoming rate. In that case the line is clipped, so
      // that lower rates stay visible.
      const y = (value) => (HEIGHT - 1 - Math.min(1, value / top) * (HEIGHT - 3)).toFixed(1);
      put(area, "d", path(offered, first, y, true));
      put(line, "d", path(delivered, first, y, false));
      put(bands, "d", runs(up.map((one) => one === 0), first, 0, HEIGHT));
      put(lost, "d", runs(dropped.map((one) => one > 0), first, HEIGHT - 4, 4));
      put(element, "aria-label", words(points));
    },
  };
}

function ceiling(offered, delivered) {
  const most = (values) => values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  const mostIn = most(offered);
  return Math.max(1, mostIn ? Math.min(mostIn * 1.5, Math.max(mostIn, most(delivered))) : most(delivered));
}

/** Returns a line through the values, with gaps where values are missing. */
function path(values, first, y, closed) {
  let d = "";
  let start = null;
  const close = (end) => {
    if (closed && start !== null) d += `L${end} ${HEIGHT}L${start} ${HEIGHT}Z`;
    start = null;
  };
  values.forEach((value, place) => {
    const x = first + place;
    if (value === null) return close(x - 1);
    d += `${start === null ? "M" : "L"}${x} ${y(value)}`;
    start ??= x;
    return undefined;
  });
  close(first + values.length - 1);
  return d;
}

/** Returns a rectangle for each run of adjacent places that are `marked`. */
function runs(marked, first, y, height) {
  let d = "";
  let start = null;
  for (let place = 0; place <= marked.length; place += 1) {
    if (marked[place]) start ??= place;
    else if (start !== null) {
      d += `M${first + start} ${y}h${place - start}v${height}h${start - place}z`;
      start = null;
    }
  }
  return d;
}

function words({ offered, delivered, dropped, up }) {
  const last = (values) => values.findLast((value) => value !== null) ?? 0;
  const sum = (values) => values.reduce((sum, value) => sum + (value ?? 0), 0);
  const away = up.filter((one) => one === 0).length;
  const most = offered.reduce((most, value) => Math.max(most, value ?? 0), 0);
  return [
    `The last ${duration(offered.length)}: in ${rate(last(offered))} now and ${rate(most)} at most, out ${rate(last(delivered))} now`,
    away ? `not up for ${duration(away)}` : "up all the time",
    sum(dropped) ? `${count(sum(dropped))} frames lost` : "nothing lost",
  ].join("; ");
}
