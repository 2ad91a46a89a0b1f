// Numbers and states as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const thin = "\u202f"; // narrow no-break space
const minus = "\u2212";

export const count = (n) => whole.format(n);
const responses = (n) => `${count(n)} ${n === 1 ? "response" : "responses"}`;
export const name = (touchpoint) => touchpoint.replaceAll("_", " ");

const signed = (value) => {
  const rounded = Math.round(value);
  return rounded > 0 ? `+${rounded}` : rounded < 0 ? `${minus}${-rounded}` : "0";
};

export const isShare = (metric) => ["csat", "reopen", "fcr", "sla_breach", "response_rate"].includes(metric);
export const isNet = (metric) => metric === "nps" || metric.startsWith("net_");

// "42s", "18m", "2h 05m", "3d 4h"
export function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 60) return `${Math.round(seconds)}s`;
  if (minutes < 60) return `${minutes}m`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h${thin}${String(minutes % 60).padStart(2, "0")}m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)}d${thin}${hours % 24}h`;
}

export const share = (value) => `${Math.round(value * 100)}${thin}%`;

export function value(metric, number) {
  if (isShare(metric)) return share(number);
  if (isNet(metric)) return signed(number);
  if (metric === "resolution") return duration(number);
  return number.toFixed(1);
}

export function range(metric, row) {
  if (row.lower === null || row.upper === null) return "no interval yet";
  if (isShare(metric)) return `${Math.round(row.lower * 100)}–${share(row.upper)}`;
  return `${value(metric, row.lower)} to ${value(metric, row.upper)}`;
}

// The one sentence on top (without figures: it is read aloud when it changes), and the figures under it.
// `span` is from when to when there is data (seconds), known where the last day is empty.
export function headline(touchpoints, overall, window, span) {
  const answered = touchpoints.filter((it) => it.csat.length);
  const troubled = touchpoints.filter((it) => it.gap > 0);
  if (!window) return ["Waiting for the first scores.", ""];
  if (!overall.length) return [`No responses in the last ${spoken(window)}.`, span ? older(span) : ""];
  const n = overall.reduce((sum, row) => sum + row.n, 0);
  const answers = `${responses(n)} in the last ${spoken(window)}`;
  if (!troubled.length) {
    const aimed = touchpoints.filter((it) => it.target !== null);
    const unheard = aimed.length ? "No touchpoint with a target was answered." : "No targets are set.";
    return [aimed.some((it) => it.csat.length) ? "No touchpoint is below its target." : unheard, `${answers}.`];
  }
  const verb = troubled.length > 1 ? "are below their targets." : "is below its target.";
  const first = troubled[0];
  const row = first.csat[0];
  return [
    `${list(troubled.map((it) => name(it.name)))} ${verb}`,
    `${capital(name(first.name))}: ${share(row.value)} satisfied (${range("csat", row)}), target ${share(first.target)}. ` +
      `${answers}, ${answered.length} of ${touchpoints.length} touchpoints heard.`,
  ];
}

// The same two of one touchpoint, channel and segment.
export function closely(place, { own, channels, segments }) {
  const here = own.touchpoints(place.window).find((it) => it.name === place.touchpoint);
  const subject = [capital(name(place.touchpoint || "all touchpoints")), ...[place.channel, place.segment].filter(Boolean).map(name)].join(", ");
  const span = `in the last ${spoken(place.window)}`;
  if (!here) return [`${subject}: no responses ${span}.`, ""];
  const row = here.csat[0];
  const lead = here.target === null || !row ? `${subject}.` : `${subject}: ${here.gap > 0 ? "below" : "not below"} target.`;
  const aim = row && here.target !== null ? `, target ${share(here.target)}` : "";
  const figures = row ? `${share(row.value)} satisfied (${range("csat", row)})${aim}, ${responses(row.n)} ${span}.` : "";
  const low = [...troubled("channel", channels, place), ...troubled("segment", segments, place)];
  return [lead, figures + (low.length ? ` Below target: ${low.join(", ")}.` : "")];
}

// Where else it lies, beside what is chosen already.
function troubled(kind, parts, place) {
  const found = parts.touchpoints(place.window).filter((it) => it.gap > 0 && it.name !== place[kind]);
  return found.map((it) => `${kind} ${name(it.name)}`);
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function list(names) {
  const shown = names.slice(0, 3).map((it, at) => (at ? it : capital(it)));
  const more = names.length - shown.length;
  if (more) return `${shown.join(", ")} and ${more} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}` : shown[0];
}

const UNITS = { s: "second", m: "minute", h: "hour", d: "day" };

// "1h" is "hour", "24h" is "24 hours"
export function spoken(window) {
  const [, many, unit] = /^(\d+)([smhd])$/.exec(window) ?? [];
  if (!unit) return window;
  return many === "1" ? UNITS[unit] : `${many} ${UNITS[unit]}s`;
}

// Windows look back from now; history is asked for by its time.
function older({ oldest, newest }) {
  const end = new Date((newest + 60) * 1000).toISOString().replace(/:00\.000Z$/, "Z");
  const days = Math.ceil((newest + 60 - oldest) / 86_400);
  return `The newest data is from ${end.slice(0, 10)}. Scores over all of it: feedback report --at ${end} --window ${days}d`;
}
