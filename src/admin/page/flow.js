// The flow chart: listeners on the left, the router, sinks on the right. The width of a line shows its throughput; its
// colour and the shape beside it show the sink's state.

import { put, shape, svg } from "./elements.js";
import { duration, judge, rate, since } from "./words.js";

/** Returns the height of a row and the height of the gap between rows. Both are smaller if there are more rows. */
function sizes(rows) {
  if (rows > 20) return { row: 22, gap: 4 };
  return rows > 8 ? { row: 28, gap: 8 } : { row: 46, gap: 10 };
}

/** Draws the chart in the width of `parent`. It takes the same items as the lists of listeners and sinks. */
export function drawFlow(parent, listeners, sinks) {
  const width = Math.max(280, Math.floor(parent.clientWidth));
  const rows = Math.max(listeners.length, sinks.length, 1);
  const { row, gap } = sizes(rows);
  const height = rows * (row + gap) - gap + 4;
  const node = Math.min(270, Math.round(width * (width < 500 ? 0.4 : 0.36)));
  const hub = width < 500 ? 18 : 96;
  const middle = { x: Math.round((width - hub) / 2), y: height / 2 };
  const y = (place, of) => (height - of * (row + gap) + gap) / 2 + place * (row + gap);
  const sum = listeners.reduce((sum, { rate }) => sum + rate, 0);

  let picture = parent.firstElementChild;
  if (!picture) {
    picture = svg("svg", { role: "img" });
    parent.append(picture);
  }
  const pens = { name: pen(picture, "name"), pace: pen(picture, "pace") };

  const parts = [];
  spread(listeners.map((one) => one.rate)).forEach((offset, place) => {
    const from = [node, y(place, listeners.length) + row / 2];
    const { rate } = listeners[place];
    parts.push(link(from, [middle.x, middle.y + offset], "from", rate));
  });
  spread(sinks.map((one) => one.rates.delivered)).forEach((offset, place) => {
    const to = [width - node, y(place, sinks.length) + row / 2];
    const { sink, rates } = sinks[place];
    const { kind } = judge(sink);
    parts.push(link([middle.x + hub, middle.y + offset], to, kind, rates.delivered));
  });
  listeners.forEach(({ listener, rate: pace }, place) => {
    const kind = listener.connections ? "from" : "none";
    const below = listener.connections ? rate(pace) : listener.dialled ? "no server" : "no sender";
    parts.push(box(pens, 0, y(place, listeners.length), node, row, kind, null, listener.name, below));
  });
  const tall = Math.min(height, Math.max(row, Math.min(110, height - 8)));
  parts.push(
    svg("rect", { class: "hub", x: middle.x, y: middle.y - tall / 2, width: hub, height: tall, rx: 8 }),
  );
  if (hub > 50) {
    parts.push(
      svg("text", { class: "name middle", x: middle.x + hub / 2, y: middle.y - 3 }, "tapfan"),
      svg("text", { class: "pace middle", x: middle.x + hub / 2, y: middle.y + 15 }, rate(sum)),
    );
  }
  sinks.forEach(({ sink, rates, now }, place) => {
    const judged = judge(sink);
    const below =
      judged.kind === "down" ? `down ${duration(since(sink.since, now))}`
      : judged.kind === "up" ? rate(rates.delivered)
      : judged.kind === "part" ? `${rate(rates.delivered)}, ${judged.more}`
      : judged.word.toLowerCase();
    parts.push(box(pens, width - node, y(place, sinks.length), node, row, judged.kind, judged.kind, sink.name, below));
  });
  put(picture, "viewBox", `0 0 ${width} ${height}`);
  put(picture, "width", width);
  put(picture, "height", height);
  put(picture, "aria-label", words(listeners, sinks, sum));
  picture.replaceChildren(...parts);
}

function words(listeners, sinks, sum) {
  const from = `${listeners.length} ${listeners.length === 1 ? "listener" : "listeners"}`;
  const to = sinks.map(({ sink, rates }) => {
    const { kind, word } = judge(sink);
    return kind === "up" || kind === "part" ? `${sink.name} gets ${rate(rates.delivered)}` : `${sink.name} is ${word.toLowerCase()}`;
  });
  return `Flow: ${rate(sum)} from ${from}. ${to.join("; ")}.`;
}

/** Returns the width of a line. The scale is logarithmic, because rates differ by orders of magnitude. */
function thickness(pace) {
  return pace > 0 ? Math.min(14, 2 + 2 * Math.log10(1 + pace)) : 1.5;
}

/** Returns the offsets at which the lines meet the router: side by side, centred on its middle. */
function spread(paces) {
  const widths = paces.map((pace) => thickness(pace) + 3);
  const room = 84;
  const all = widths.reduce((sum, width) => sum + width, 0);
  const scale = Math.min(1, room / all);
  let at = (-all * scale) / 2;
  return widths.map((width) => {
    const middle = at + (width * scale) / 2;
    at += width * scale;
    return middle;
  });
}

function link([x1, y1], [x2, y2], kind, pace) {
  const bend = (x2 - x1) / 2;
  return svg("path", {
    class: `link ${kind}${pace > 0 ? "" : " still"}`,
    d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
    "stroke-width": thickness(pace).toFixed(1),
  });
}

function box(pens, x, y, width, height, kind, mark, name, below) {
  const left = mark ? 34 : 12;
  const room = width - left - 8;
  const one = height < 40;
  const group = svg(
    "g",
    { class: `node ${kind}`, transform: `translate(${x} ${y})` },
    svg("title", {}, `${name}: ${below}`),
    svg("rect", { width, height, rx: 8 }),
    svg("text", { class: "name", x: left, y: one ? height / 2 + 5 : 20 }, cut(name, room, pens.name)),
  );
  if (!one) group.append(svg("text", { class: "pace", x: left, y: 37 }, cut(below, room, pens.pace)));
  if (mark) group.append(svg("g", { class: "glyph", transform: `translate(10 ${height / 2 - 8})` }, ...shape(mark)));
  return group;
}

/**
 * Returns a function that measures the width of a text in the style of a class of `picture`. The widths of letters differ by
 * a factor of four, so a count of letters is not enough.
 */
function pen(picture, name) {
  const probe = svg("text", { class: name });
  picture.append(probe);
  const context = document.createElement("canvas").getContext("2d");
  // `font` would be empty, because the shorthand cannot express that all digits have the same width.
  const { fontWeight, fontSize, fontFamily } = getComputedStyle(probe);
  context.font = `${fontWeight} ${fontSize} ${fontFamily}`;
  probe.remove();
  return (text) => context.measureText(text).width;
}

/** Shortens a text in its middle to the width `room`, because the two ends of an address say the most. */
function cut(text, room, width) {
  if (width(text) <= room) return text;
  const letters = [...text];
  const shortened = (kept) => {
    const tail = Math.floor(kept / 2);
    return `${letters.slice(0, kept - tail).join("")}…${letters.slice(letters.length - tail).join("")}`;
  };
  // The more letters are kept, the wider is the text.
  let [fits, tooWide] = [0, letters.length];
  while (tooWide - fits > 1) {
    const kept = Math.floor((fits + tooWide) / 2);
    if (width(shortened(kept)) <= room) fits = kept;
    else tooWide = kept;
  }
  return shortened(fits);
}
