// The two small pictures: an interval on its scale, and a line of the last 24 hours.

import { isNet, isShare } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// Whether the text is another than before.
export function say(node, text) {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Where a value lies on its scale, 0..1. Durations are shown on a logarithmic scale from a minute to a week.
function place(metric, value, bounds) {
  if (metric === "resolution") return clamp(Math.log(Math.max(value, 60) / 60) / Math.log(7 * 24 * 60));
  const [low, high] = bounds;
  return clamp((value - low) / (high - low));
}

const clamp = (share) => Math.min(1, Math.max(0, share));

export const scale = (metric, instrument) =>
  isShare(metric) ? [0, 1] : isNet(metric) ? [-100, 100] : [instrument?.low ?? 1, instrument?.high ?? 7];

// A track with the interval as a band, the score as a dot and a tick for the target (or for zero).
export class Interval {
  constructor() {
    this.node = element("span", "interval");
    this.node.setAttribute("aria-hidden", "true");
    [this.band, this.tick, this.dot] = ["band", "tick", "dot"].map((part) => this.node.appendChild(element("span", part)));
  }

  show(metric, row, bounds, target) {
    const at = (value) => place(metric, value, bounds);
    const low = at(row.lower ?? row.value);
    const high = at(row.upper ?? row.value);
    this.band.style.left = `${low * 100}%`;
    this.band.style.width = `${(high - low) * 100}%`;
    this.dot.style.left = `${at(row.value) * 100}%`;
    const mark = isNet(metric) ? 0 : target;
    this.tick.hidden = mark === null;
    if (mark !== null) this.tick.style.left = `${at(mark) * 100}%`;
  }
}

// A line with gaps where nobody answered. All lines of a metric share one scale, so that rows compare.
export class Sparkline {
  constructor(width, height) {
    [this.width, this.height] = [width, height];
    this.node = shape("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.target = this.node.appendChild(shape("line", { class: "aim", x1: 0, x2: width }));
    this.area = this.node.appendChild(shape("path", { class: "area" }));
    this.path = this.node.appendChild(shape("path", { class: "line" }));
    this.title = this.node.appendChild(shape("title", {}));
  }

  // `told` says a value in words.
  show(line, [low, high], target, told) {
    const values = line?.values ?? [];
    const known = values.filter((value) => value !== null);
    this.title.textContent = known.length ? `24 hours: ${told(Math.min(...known))} to ${told(Math.max(...known))}` : "";
    const x = (at) => ((at + 0.5) / Math.max(values.length, 1)) * this.width;
    const y = (value) => this.height - 2 - ((value - low) / (high - low || 1)) * (this.height - 4);
    this.path.setAttribute("d", pieces(values).map((piece) => trace(piece, x, y)).join(""));
    this.area.setAttribute("d", pieces(values).map((piece) => under(piece, x, y, this.height)).join(""));
    const aimed = values.length > 0 && target !== null && target >= low && target <= high;
    this.target.setAttribute("visibility", aimed ? "visible" : "hidden");
    if (aimed) for (const end of ["y1", "y2"]) this.target.setAttribute(end, y(target).toFixed(1));
  }
}

// Runs of neighbours that have a value, as [index, value] pairs.
function pieces(values) {
  const found = [[]];
  values.forEach((value, at) => (value === null ? found.push([]) : found.at(-1).push([at, value])));
  return found.filter((piece) => piece.length);
}

const dots = (piece, x, y) => piece.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);

function trace(piece, x, y) {
  const [first, ...rest] = dots(piece, x, y);
  return `M${first}${rest.length ? rest.map((dot) => `L${dot}`).join("") : "h0.1"}`;
}

function under(piece, x, y, floor) {
  const [start, end] = [x(piece[0][0]), x(piece.at(-1)[0])];
  return piece.length < 2 ? "" : `M${start.toFixed(1)} ${floor}L${dots(piece, x, y).join("L")}L${end.toFixed(1)} ${floor}Z`;
}

const LEAST = { csat: 0.3, nps: 60, ces: 2, resolution: 3600 };

// Lowest and highest value of some lines of a metric, never so close that noise looks like news.
export function reach(metric, lines) {
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((high - low) * 0.06, ((LEAST[metric] ?? 0) - (high - low)) / 2);
  return [low - room, high + room];
}
