// Formats numbers, times and states.

const DIGITS = new Intl.NumberFormat("en");

/** An exact count. */
export function count(number) {
  return DIGITS.format(number);
}

/** `1 frame`, `2 frames`. */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Frames a second. */
export function rate(number) {
  if (number >= 1e6) return `${(number / 1e6).toFixed(2)} M/s`;
  if (number >= 1e5) return `${(number / 1e3).toFixed(1)} k/s`;
  if (number > 0 && number < 10) return `${number.toFixed(1)}/s`;
  return `${count(Math.round(number))}/s`;
}

/** Bytes. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

/** A duration in its two largest units. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

/** A short duration in one unit. */
export function brief(seconds) {
  if (seconds >= 60) return duration(seconds);
  if (seconds >= 10) return `${Math.round(seconds)} s`;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  if (seconds >= 0.001) return `${Math.round(seconds * 1000)} ms`;
  return seconds > 0 ? "under 1 ms" : "0 s";
}

/** The seconds from `time` to `now`, both in the router's format. */
export function since(time, now) {
  return (Date.parse(now) - Date.parse(time)) / 1000;
}

/** A time of day in UTC, as in the router's log, with the date unless it is today's. */
export function clock(time, now) {
  const [day, hours] = [time.slice(0, 10), time.slice(11, 19)];
  return day === now.slice(0, 10) ? `${hours} UTC` : `${day} ${hours} UTC`;
}

/** Returns the reasons with a count above 0, as pairs `[reason, count]`. */
export function reasons(counts) {
  return Object.entries(counts).filter(([, times]) => times > 0);
}

/** Returns the fill of a queue from 0 to 1: its share of the limit in frames or in bytes, whichever is larger. */
export function fullness({ frames, bytes, capacity_frames, capacity_bytes }) {
  return Math.min(1, Math.max(frames / (capacity_frames || 1), bytes / (capacity_bytes || 1)));
}

const CONNECTING = ["resolving", "connecting", "handshaking"];

/** The kind for each verdict. A kind has a colour and a shape. */
export const KINDS = {
  ok: "up",
  no_senders: "wait",
  degraded: "part",
  starting: "wait",
  draining: "gone",
  behind: "part",
  dropping: "part",
  not_listening: "down",
  down: "down",
};

/** The verdicts that are shown next to the state of a sink that is up. */
const BESIDE = ["behind", "dropping"];

/**
 * Returns the kind of a sink's state, the word for the state, and a detail. The kind follows the router's verdict: `up`,
 * `part` (up but not healthy), `down`, `wait` (making its first connection), `gone` (draining or stopped).
 */
export function judge(sink) {
  const { state, verdict: { word } } = sink;
  const kind = KINDS[word] ?? "part";
  if (sink.removed) return { kind, word: "Removed", more: state === "up" ? "draining" : state };
  if (state === "waiting" && kind === "up") return { kind, word: "Waiting", more: "no collector" };
  if (kind === "up") return { kind, word: "Up", more: "" };
  if (kind === "gone") return { kind, word: state === "stopped" ? "Stopped" : "Draining", more: "" };
  if (kind === "wait") return { kind, word: "Starting", more: state };
  if (kind === "down") return { kind, word: "Down", more: sink.not_listening ? "no socket" : state };
  const up = sink.endpoints.filter((endpoint) => endpoint.state === "up").length;
  const endpoints = up < sink.endpoints.length ? `${up} of ${sink.endpoints.length} endpoints` : "";
  return { kind, word: "Up", more: [BESIDE.includes(word) && word, endpoints].filter(Boolean).join(", ") };
}

/** Returns the kind, the word and a detail for one endpoint of a sink. An endpoint has a state but no verdict. */
export function judgeEndpoint({ state, failures, connects }) {
  if (state === "up") return { kind: "up", word: "Up", more: "" };
  if (state === "draining" || state === "stopped") return { kind: "gone", word: state === "draining" ? "Draining" : "Stopped", more: "" };
  if (CONNECTING.includes(state) && failures === 0 && connects === 0) return { kind: "wait", word: "Starting", more: state };
  return { kind: "down", word: "Down", more: state };
}
