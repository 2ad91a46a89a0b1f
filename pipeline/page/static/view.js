// Draws one window of the model into the document, and changes only what changed.

import { element, Interval, reach, scale, Sparkline } from "./draw.js";
import { METRICS, OVERALL } from "./model.js";
import { count, name, range, value } from "./words.js";

const find = (id) => document.getElementById(id);

function say(node, text) {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

function pulse(node) {
  node.classList.remove("pulse");
  void node.offsetWidth; // restarts the animation
  node.classList.add("pulse");
}

// One score: the number, its line, its interval, n. Used in the tiles and in the cells of the table.
class Gauge {
  constructor(metric, instrument, [width, height]) {
    [this.metric, this.instrument] = [metric, instrument];
    this.node = element("div", "gauge");
    this.number = this.node.appendChild(element("span", "number"));
    this.spark = new Sparkline(width, height);
    this.node.append(this.spark.node);
    this.interval = new Interval();
    this.node.append(this.interval.node);
    this.range = this.node.appendChild(element("span", "range"));
    this.n = this.node.appendChild(element("span", "n"));
    this.label = this.node.appendChild(element("span", "instrument"));
  }

  show(model, window, touchpoint, { named, span, bounds }) {
    const { metric, instrument } = this;
    const row = model.score(window, metric.metric, instrument, touchpoint);
    const target = metric.metric === "csat" ? model.target(touchpoint) : null;
    this.node.classList.toggle("none", !row);
    this.label.hidden = !named;
    say(this.label, instrument);
    const had = this.shown === window && this.number.textContent;
    if (say(this.number, row ? value(metric.metric, row.value) : metric.empty) && had) pulse(this.number);
    this.shown = window;
    say(this.range, row ? range(metric.metric, row) : "");
    say(this.n, row ? `n ${count(row.n)}` : "");
    if (row) this.interval.show(metric.metric, row, bounds, target);
    this.spark.show(model.line(metric.metric, instrument, touchpoint), span, target, (it) => value(metric.metric, it));
  }
}

// All instruments of one metric at one touchpoint, one under the other; "no responses" where there are none.
class Stack {
  // `alone`: its lines have a scale of their own, and it always names its instrument.
  constructor(metric, node, { size, alone = false }) {
    [this.metric, this.node, this.size, this.alone] = [metric, node, size, alone];
    this.gauges = new Map();
  }

  show(model, window, touchpoint) {
    const known = model.instruments(this.metric);
    const answered = known.filter((it) => model.score(window, this.metric.metric, it, touchpoint));
    const shown = answered.length ? answered : known.slice(0, 1).concat(known.length ? [] : [""]);
    for (const [instrument, gauge] of this.gauges) {
      if (shown.includes(instrument)) continue;
      gauge.node.remove();
      this.gauges.delete(instrument);
    }
    for (const instrument of shown) this.#gauge(instrument).show(model, window, touchpoint, {
      named: answered.length > 0 && (this.alone || known.length > 1),
      span: reach(this.metric.metric, model.lines(this.metric.metric, instrument, this.alone ? touchpoint : null)),
      bounds: scale(this.metric.metric, model.about.instruments[instrument]),
    });
  }

  #gauge(instrument) {
    if (!this.gauges.has(instrument)) {
      const gauge = new Gauge(this.metric, instrument, this.size);
      this.gauges.set(instrument, gauge);
      this.node.append(gauge.node);
    }
    return this.gauges.get(instrument);
  }
}

class Row {
  constructor(touchpoint) {
    this.node = element("tr");
    this.node.setAttribute("role", "row");
    this.node.dataset.touchpoint = touchpoint;
    const head = this.node.appendChild(element("th", "touchpoint"));
    head.scope = "row";
    head.setAttribute("role", "rowheader");
    head.append(element("span", "name", name(touchpoint)));
    this.stage = head.appendChild(element("span", "stage"));
    this.flag = head.appendChild(element("span", "flag", "below target"));
    this.stacks = METRICS.map((metric) => {
      const cell = this.node.appendChild(element("td", metric.metric));
      cell.setAttribute("role", "cell");
      const label = cell.appendChild(element("span", "label", metric.title));
      label.setAttribute("aria-hidden", "true");
      return new Stack(metric, cell, { size: [100, 30] });
    });
  }

  show(model, window, touchpoint) {
    say(this.stage, touchpoint.stage);
    this.flag.hidden = touchpoint.gap === 0;
    this.node.classList.toggle("troubled", touchpoint.gap > 0);
    for (const stack of this.stacks) stack.show(model, window, touchpoint.name);
  }
}

export class View {
  rows = new Map();

  constructor() {
    const head = find("columns");
    for (const [title, hint] of [["Touchpoint", ""], ...METRICS.map((it) => [it.title, it.hint])]) {
      const column = head.appendChild(element("th", "", title));
      column.scope = "col";
      column.setAttribute("role", "columnheader");
      column.append(element("span", "hint", hint));
    }
    this.tiles = METRICS.map((metric) => {
      const tile = find("tiles").appendChild(element("article", `tile ${metric.metric}`));
      const title = tile.appendChild(element("h2", "", metric.title));
      title.append(element("span", "hint", metric.hint));
      return new Stack(metric, tile, { size: [200, 44], alone: true });
    });
  }

  show(model, window, [lead, rest]) {
    if (say(find("lead"), lead)) document.title = `${lead.replace(/\.$/, "")} \u00b7 feedback`;
    say(find("rest"), rest);
    for (const tile of this.tiles) tile.show(model, window, OVERALL);
    const touchpoints = model.touchpoints(window);
    find("nobody").hidden = touchpoints.length > 0;
    find("table").hidden = touchpoints.length === 0;
    for (const it of touchpoints) this.#row(it.name).show(model, window, it);
    this.#arrange(touchpoints.map((it) => this.rows.get(it.name).node));
  }

  windows(names, chosen, choose) {
    const box = find("windows");
    if (box.dataset.names === names.join()) return;
    box.dataset.names = names.join();
    for (const old of box.querySelectorAll("label")) old.remove();
    for (const each of names) {
      const label = box.appendChild(element("label"));
      const input = label.appendChild(element("input"));
      [input.type, input.name, input.value, input.checked] = ["radio", "window", each, each === chosen];
      input.addEventListener("change", () => choose(each));
      label.append(element("span", "", each));
    }
  }

  state(kind, text) {
    find("state").dataset.state = kind;
    say(find("state-text"), text);
    document.body.classList.toggle("stale", kind !== "live");
  }

  updated(at) {
    say(find("updated"), at ? `Last change ${new Date(at).toLocaleTimeString()}.` : "");
  }

  #row(touchpoint) {
    if (!this.rows.has(touchpoint)) this.rows.set(touchpoint, new Row(touchpoint));
    return this.rows.get(touchpoint);
  }

  // Puts the rows in order; those that moved glide to their new place.
  #arrange(nodes) {
    const body = find("rows");
    if (nodes.length === body.children.length && nodes.every((node, at) => body.children[at] === node)) return;
    const before = new Map(nodes.map((node) => [node, node.isConnected ? node.getBoundingClientRect().top : null]));
    body.replaceChildren(...nodes);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [node, top] of before) {
      const moved = top === null ? 0 : top - node.getBoundingClientRect().top;
      if (moved) node.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 400, easing: "ease-out" });
    }
  }
}

