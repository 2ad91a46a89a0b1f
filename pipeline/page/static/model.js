// What the server told us, and what one window of it looks like. No DOM here.

export const ENOUGH = 30; // fewer answers than this are never called trouble
export const OVERALL = "";

// What the page shows of each metric, in the order of the columns.
export const METRICS = [
  { metric: "csat", title: "CSAT", hint: "satisfied", empty: "no responses" },
  { metric: "nps", title: "NPS", hint: "promoters less detractors", empty: "no responses" },
  { metric: "ces", title: "CES", hint: "ease, mean", empty: "no responses" },
  { metric: "resolution", title: "Resolution", hint: "median to first resolve", empty: "no cases", only: "first_resolution" },
];

const keyOf = (row) => [row.window, row.metric, row.instrument, row.touchpoint].join("|");

export class Model {
  about = { windows: [], touchpoints: {}, instruments: {} };
  scores = new Map();
  trends = { start: 0, step: 3600, lines: [] };

  // `change.full` replaces everything; otherwise only what changed comes, and a row without answers has n = 0.
  take(change) {
    if (change.full) this.scores.clear();
    for (const row of change.rows) this.scores.set(keyOf(row), row);
  }

  get windows() {
    const seen = [...this.scores.values()].map((row) => row.window);
    return [...new Set([...this.about.windows, ...seen])];
  }

  // Instruments of a metric that occur anywhere, so that scales are never mixed in one number.
  instruments({ metric, only }) {
    const seen = [...this.scores.values()].filter((row) => row.metric === metric).map((row) => row.instrument);
    const known = [...new Set(seen)].sort();
    return only ? known.filter((name) => name === only) : known;
  }

  score(window, metric, instrument, touchpoint) {
    const row = this.scores.get(keyOf({ window, metric, instrument, touchpoint }));
    return row && row.n > 0 && row.value !== null ? row : null;
  }

  has(window, metric, touchpoint) {
    return this.instruments(metric).some((it) => this.score(window, metric.metric, it, touchpoint));
  }

  // Lines of one instrument; of every touchpoint where `touchpoint` is null.
  lines(metric, instrument, touchpoint = null) {
    const here = (line) => touchpoint === null || line.touchpoint === touchpoint;
    return this.trends.lines.filter((line) => line.metric === metric && line.instrument === instrument && here(line));
  }

  line(metric, instrument, touchpoint) {
    return this.lines(metric, instrument, touchpoint)[0];
  }

  target(touchpoint) {
    return this.about.touchpoints[touchpoint]?.target ?? null;
  }

  // Touchpoints of one window, the most troubled first.
  touchpoints(window) {
    const seen = [...this.scores.values()].map((row) => row.touchpoint).filter((name) => name !== OVERALL);
    const names = [...new Set([...Object.keys(this.about.touchpoints), ...seen])];
    return names.map((name) => this.#touchpoint(window, name)).sort(byTrouble);
  }

  // How many answers and cases there are in all.
  heard(window, touchpoint) {
    const here = [...this.scores.values()].filter((row) => row.window === window && row.touchpoint === touchpoint);
    return here.reduce((sum, row) => sum + row.n, 0);
  }

  #touchpoint(window, name) {
    const target = this.target(name);
    const csat = this.instruments(METRICS[0]).map((it) => this.score(window, "csat", it, name)).filter(Boolean);
    const gaps = csat.map((row) => gap(row, target));
    const worst = csat.length ? Math.min(...csat.map((row) => row.value)) : Infinity;
    return { name, stage: this.#stage(name), target, csat, gap: Math.max(0, ...gaps), worst };
  }

  // A name that nobody configured is often a typing error.
  #stage(name) {
    const known = this.about.touchpoints;
    if (Object.hasOwn(known, name)) return known[name].stage;
    return Object.keys(known).length ? "not in the configuration" : "";
  }
}

// How far the upper end of the interval lies below the target; 0 where it does not, or too few answered.
export function gap(row, target) {
  return target !== null && row.n >= ENOUGH && row.upper !== null ? Math.max(0, target - row.upper) : 0;
}

// Whole percents, so that rows do not change places with every single answer.
const percent = (share) => (Number.isFinite(share) ? Math.round(share * 100) : 101);

function byTrouble(a, b) {
  const certain = Number(b.gap > 0) - Number(a.gap > 0);
  const lower = percent(a.worst) - percent(b.worst);
  return certain || percent(b.gap) - percent(a.gap) || lower || a.name.localeCompare(b.name);
}
