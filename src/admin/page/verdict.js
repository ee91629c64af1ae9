// The answer at one look: is every collector getting its taps, and if not, since when, why, and what did it cost?

import { facts, glyph, html, list, put, say } from "./elements.js";
import { clock, count, counted, duration, judge, rate, reasons, since } from "./words.js";

/** What is to be said of it all: `{ kind, title, lines, short }`; `short` stands in the browser's tab. */
export function verdict(status, listeners, sinks) {
  const all = sinks.filter(({ sink }) => !sink.removed).map((item) => ({ ...item, judged: judge(item.sink) }));
  const of = (kind) => all.filter(({ judged }) => judged.kind === kind);
  const [down, part, waiting] = [of("down"), of("part"), of("wait")];
  const losing = all.filter(({ lost }) => lost > 0);
  const collectors = counted(all.length, "collector");
  if (status.phase === "draining") {
    return { kind: "gone", title: "The router is ending", short: "draining", lines: ["It delivers what is queued, and takes nothing new."] };
  }
  if (down.length) {
    const [{ sink }] = down;
    const title = down.length === 1 ? `${sink.name} is not getting its taps` : `${down.length} of ${collectors} are not getting their taps`;
    return { kind: "down", title, short: `${down.length} down`, lines: whys(down) };
  }
  if (part.length) {
    const lines = part.slice(0, 6).map(({ sink, judged }) => `${sink.name}: up, ${judged.more}`);
    const partly = part.some(({ sink }) => (sink.endpoints ?? []).some(({ state }) => state !== "up"));
    const title = partly ? "Not every endpoint is connected" : "Every collector is connected, and not all is well";
    return { kind: "part", title, short: "not all well", lines };
  }
  if (waiting.length) {
    return { kind: "wait", title: `Connecting to ${counted(waiting.length, "collector")}`, short: "connecting", lines: [] };
  }
  if (losing.length) {
    const lines = losing.slice(0, 6).map(({ sink, lost }) => `${sink.name} lost ${counted(lost, "frame")} in the last five minutes (${reasons(sink.ledger.dropped).map(([reason]) => reason).join(", ")}).`);
    return { kind: "part", title: "Every collector is getting its taps; some were lost", short: "taps lost", lines };
  }
  const senders = listeners.reduce((sum, { listener }) => sum + listener.connections, 0);
  if (!senders) {
    return { kind: "wait", title: "Every collector is connected; no DNS server is", short: "no sender", lines: [`${collectors} up, and nothing to send them.`] };
  }
  const pace = listeners.reduce((sum, { rate }) => sum + rate, 0);
  return { kind: "up", title: "Every collector is getting its taps", short: "", lines: [`${collectors} up, ${rate(pace)} in, nothing lost in the last five minutes.`] };
}

/** Of each that is down, or of the first few. */
function whys(down) {
  if (down.length <= 3) return down.flatMap((item) => why(item, down.length > 1));
  const lines = down.slice(0, 5).map((item) => why(item, true)[0]);
  const others = down.slice(5).map(({ sink }) => sink.name);
  return others.length ? [...lines, `And ${others.length} more: ${others.join(", ")}.`] : lines;
}

/** Since when, what it cost, and why. */
function why({ sink, lost, now }, named) {
  const cost = lost ? `${counted(lost, "frame")} lost in the last five minutes` : "nothing lost so far";
  const held = sink.queue.frames ? `${count(sink.queue.frames)} waiting in its queue` : "nothing in its queue";
  const whose = named ? `${sink.name}: down` : "Down";
  const outage = `${whose} for ${duration(since(sink.since, now))}, since ${clock(sink.since, now)}; ${cost}, ${held}.`;
  return sink.last_error ? [outage, sink.last_error.error] : [outage];
}

/** Shows it. */
export function showVerdict(parent, { kind, title, lines, short }) {
  parent.parts ??= verdictParts(parent);
  const { mark, heading, text } = parent.parts;
  put(parent, "data-kind", kind);
  mark.update(kind);
  say(heading, title);
  list(text, lines.map((line, place) => ({ line, place })), ({ place }) => place, () => {
    const element = html("p");
    return { element, update: ({ line }) => say(element, line) };
  });
  const tab = short ? `${short} · tapfan` : "tapfan";
  if (document.title !== tab) document.title = tab;
}

function verdictParts(parent) {
  const mark = glyph();
  const [heading, text] = [html("h1"), html("div")];
  parent.append(mark.element, html("div", {}, heading, text));
  return { mark, heading, text };
}

/** Shows what the head of the page says of the router. */
export function showRouter(dl, status) {
  const { now, config, reloads } = status;
  const last = reloads.last;
  const loaded = last ? `${last.error ? "refused" : "taken"} ${duration(since(last.at, now))} ago` : "none so far";
  facts(dl, [
    ["version", status.version],
    ["phase", status.phase],
    ["up", duration(since(status.started, now)), `since ${clock(status.started, now)}`],
    ["configuration", config.digest.slice(0, 8), `${config.path ?? "of a program"}, digest ${config.digest}`],
    ["last reload", loaded, last ? clock(last.at, now) : undefined],
  ]);
}

/** Shows what else is wrong. */
export function showNotes(parent, { now, reloads }) {
  const notes = [];
  if (reloads.last?.error) {
    const { at, error } = reloads.last;
    notes.push({ title: `The last reload was refused ${duration(since(at, now))} ago; the configuration from before runs on.`, error });
  }
  list(parent, notes, () => "reload", () => {
    const [title, error] = [html("p"), html("pre")];
    const mark = glyph();
    mark.update("part");
    return {
      element: html("div", { class: "note reload" }, mark.element, html("div", {}, title, error)),
      update: (note) => {
        say(title, note.title);
        say(error, note.error);
      },
    };
  });
}

/** What has changed from one picture to the next, for those who hear the page: states only, never figures. */
export function news(before, after) {
  const told = [];
  const known = new Map(before.map(({ sink }) => [sink.name, judge(sink)]));
  for (const { sink } of after) {
    const [was, is] = [known.get(sink.name), judge(sink)];
    if (!was || was.word === is.word) continue;
    const reason = is.kind === "down" && sink.last_error ? `: ${sink.last_error.error}` : "";
    told.push(is.kind === "up" ? `${sink.name} is up again` : `${sink.name} is ${is.word.toLowerCase()}${reason}`);
  }
  return told;
}

