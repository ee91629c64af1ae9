// The verdict: says whether every collector gets its taps. If a sink is down, it also shows since when, why, and how
// many frames were lost.

import { facts, glyph, html, list, put, say } from "./elements.js";
import { KINDS, clock, count, counted, duration, judge, rate, since } from "./words.js";

/** Returns the router's verdict with details: `{ kind, title, lines, short }`. `short` is for the browser's tab. */
export function verdict(status, listeners, sinks) {
  const { word, sentence } = status.verdict;
  const all = sinks.filter(({ sink }) => !sink.removed);
  const worst = all.filter(({ sink }) => sink.verdict.word === word);
  const short = word === "down" ? `${worst.length} down` : word === "ok" ? "" : word.replaceAll("_", " ");
  return { kind: KINDS[word] ?? "part", title: sentence, short, lines: lines(word, all, worst, listeners) };
}

function lines(word, all, worst, listeners) {
  const up = connected(all);
  switch (word) {
    case "ok": {
      const pace = listeners.reduce((sum, { rate }) => sum + rate, 0);
      return [`${up}, ${rate(pace)} in, nothing lost in the last five minutes.`];
    }
    case "no_senders":
      return [`${up}, but nothing to send.`];
    case "draining":
      return ["The router delivers the queued frames and accepts no new ones."];
    case "starting":
      return [];
    case "not_listening":
      return listeners.filter(({ listener }) => listener.not_listening).map(({ listener }) => `${listener.not_listening.error}.`);
    case "down":
      return whys(worst);
    case "degraded":
      return [...unreachable(listeners), ...worst.slice(0, 6).map(({ sink }) => `${sink.name}: ${sink.verdict.sentence}.`)];
    default:
      return worst.slice(0, 6).map(({ sink }) => `${sink.name}: ${sink.verdict.sentence}.`);
  }
}

/** Returns how many collectors are up, and how many sinks wait for collectors while none is connected. */
function connected(all) {
  const collectors = ({ sink }) => (sink.waits ? sink.endpoints.filter(({ state }) => state === "up").length : 1);
  const up = all.reduce((sum, item) => sum + collectors(item), 0);
  const waiting = all.filter((item) => collectors(item) === 0).length;
  const parts = waiting ? [`${counted(waiting, "sink")} waiting for collectors`] : [];
  return [...(up || !waiting ? [`${counted(up, "collector")} up`] : []), ...parts].join(", ");
}

/** Returns why servers of `connect` lines are not connected, for the first few of them. */
function unreachable(listeners) {
  const servers = listeners.flatMap(({ listener }) => listener.dialled?.endpoints ?? []);
  const missing = servers.filter(({ state, failures, last_error: last }) => state !== "up" && failures > 0 && last);
  return missing.slice(0, 6).map((server) => `${server.last_error.error}.`);
}

/** Returns why each sink is down, for the first few sinks that are. */
function whys(down) {
  if (down.length <= 3) return down.flatMap((item) => why(item, down.length > 1));
  const lines = down.slice(0, 5).map((item) => why(item, true)[0]);
  const others = down.slice(5).map(({ sink }) => sink.name);
  return others.length ? [...lines, `And ${others.length} more: ${others.join(", ")}.`] : lines;
}

/** Returns the start, the cost and the cause of an outage. */
function why({ sink, lost, now }, named) {
  const cost = `${lost ? counted(lost, "frame") : "no frames"} lost in the last five minutes`;
  const held = sink.queue.frames ? `${count(sink.queue.frames)} waiting in its queue` : "nothing in its queue";
  const whose = named ? `${sink.name}: down` : "Down";
  const outage = `${whose} for ${duration(since(sink.since, now))}, since ${clock(sink.since, now)}; ${cost}, ${held}.`;
  const cause = sink.not_listening ?? sink.last_error;
  return cause ? [outage, cause.error] : [outage];
}

/** Shows the verdict. */
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

/** Shows the facts about the router at the top of the page. */
export function showRouter(dl, status) {
  const { now, config, reloads } = status;
  const last = reloads.last;
  const loaded = last ? `${last.error ? "refused" : "applied"} ${duration(since(last.at, now))} ago` : "none yet";
  facts(dl, [
    ["version", status.version],
    ["phase", status.phase],
    ["running for", duration(since(status.started, now)), `since ${clock(status.started, now)}`],
    ["configuration", config.digest.slice(0, 8), `${config.path ?? "no file"}, digest ${config.digest}`],
    ["last reload", loaded, last ? clock(last.at, now) : undefined],
  ]);
}

/** Shows further problems. */
export function showNotes(parent, { now, reloads }) {
  const notes = [];
  if (reloads.last?.error) {
    const { at, error } = reloads.last;
    notes.push({ title: `The last reload was refused ${duration(since(at, now))} ago; the old configuration stays in effect.`, error });
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

/** Returns the changes from one picture to the next, for screen readers: changes of states, not of figures. */
export function news(before, after) {
  const changes = [];
  const known = new Map(before.map(({ sink }) => [sink.name, judge(sink)]));
  for (const { sink } of after) {
    const [was, is] = [known.get(sink.name), judge(sink)];
    if (!was || was.word === is.word) continue;
    const reason = is.kind === "down" && sink.last_error ? `: ${sink.last_error.error}` : "";
    changes.push(is.word === "Up" ? `${sink.name} is up again` : `${sink.name} is ${is.word.toLowerCase()}${reason}`);
  }
  return changes;
}

