// A score as it is drawn everywhere: the number, its line, its interval, n.

import { element, Interval, reach, say, scale, Sparkline } from "./draw.js";
import { count, range, value } from "./words.js";

function pulse(node) {
  node.classList.remove("pulse");
  void node.offsetWidth; // restarts the animation
  node.classList.add("pulse");
}

export class Gauge {
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
export class Stack {
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
