// Draws one touchpoint closely: every score with its answers, then its channels, its segments and all windows.

import { Answers, columns, shares } from "./answers.js";
import { element, reach, say, scale } from "./draw.js";
import { Gauge } from "./gauge.js";
import { METRICS, Model } from "./model.js";
import { board, link } from "./place.js";
import { Table } from "./table.js";
import { capital, count, name } from "./words.js";

const find = (id) => document.getElementById(id);
const PARTS = ["by-channel", "by-segment", "by-window"];
const MANY = 20; // rows of a table; whoever is in trouble is always among them

// The channels, the segments or the windows of a selection as a board of their own: `of` names a row's place on it.
export function facet(rows, about, target, of) {
  const model = new Model();
  model.take({ full: true, rows: rows.map((row) => ({ ...row, touchpoint: of(row) })) });
  const names = [...new Set(rows.map(of))];
  model.about = { ...about, touchpoints: Object.fromEntries(names.map((it) => [it, { stage: "", target }])) };
  return model;
}

// What the worker said of a selection, taken apart.
export function takeApart(place, { scores, answers }, about) {
  const target = about.touchpoints[place.touchpoint]?.target ?? null;
  const itself = (row) => row.channel === place.channel && row.segment === place.segment;
  const here = scores.filter((row) => row.window === place.window);
  const channels = here.filter((row) => row.channel && row.segment === place.segment);
  const segments = here.filter((row) => row.segment && row.channel === place.channel);
  const over = scores.filter(itself).map((row) => ({ ...row, window: place.window, over: row.window }));
  return {
    own: facet(here.filter(itself), about, target, (row) => row.touchpoint),
    channels: facet(channels, about, target, (row) => row.channel),
    segments: facet(segments, about, target, (row) => row.segment),
    windows: facet(over, about, target, (row) => row.over),
    answers,
  };
}

// One (metric, instrument): its score and how often each answer was given.
class Card {
  constructor(metric, instrument) {
    this.node = element("article", `tile ${metric.metric}`);
    const title = this.node.appendChild(element("h2", "", metric.title));
    title.append(element("span", "hint", metric.hint));
    this.gauge = new Gauge(metric, instrument, [200, 44]);
    this.answers = new Answers();
    this.shares = element("p", "shares quiet");
    this.node.append(this.gauge.node, this.answers.node, this.shares);
    [this.metric, this.instrument] = [metric, instrument];
  }

  show(model, place, lines, counts) {
    const { metric, instrument } = this;
    const scaled = model.about.instruments[instrument];
    const drawn = Object.assign(Object.create(model), { line: () => lines[0] });
    this.gauge.show(drawn, place.window, place.touchpoint, {
      named: Boolean(instrument) && metric.metric !== "resolution", // its title says the clock
      span: reach(metric.metric, lines),
      bounds: scale(metric.metric, scaled),
    });
    const here = model.touchpoints(place.window).find((it) => it.name === place.touchpoint);
    this.node.classList.toggle("troubled", (here?.gap ?? 0) > 0);
    this.answers.show(`${metric.title} ${instrument}`.trim(), columns(metric.metric, scaled, counts));
    say(this.shares, shares(scaled, counts));
  }
}

const ORDER = METRICS.map((it) => it.metric);
const rank = ({ metric }) => (ORDER.includes(metric) ? ORDER.indexOf(metric) : ORDER.length);

function described(metric, instrument) {
  const known = METRICS.find((it) => it.metric === metric);
  if (metric === "resolution") return { ...known, hint: `median, ${name(instrument)}` };
  return known ?? { metric, title: capital(name(metric)), hint: "", empty: "no responses" };
}

export class Detail {
  cards = new Map();

  constructor() {
    this.tables = Object.fromEntries(
      PARTS.map((part) => [part, new Table(find(part).querySelector("table"), find(part).dataset.first, { lean: true })]),
    );
  }

  show(parts, place, model) {
    this.#crumbs(place);
    this.#cards(parts, place, model);
    const chosen = (what) => (it) => link({ ...place, [what]: place[what] === it ? "" : it });
    this.#table("by-channel", parts.channels, place, chosen("channel"), place.channel);
    this.#table("by-segment", parts.segments, place, chosen("segment"), place.segment);
    const order = model.windows;
    const byLength = parts.windows.touchpoints(place.window).sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
    this.tables["by-window"].show(parts.windows, place.window, byLength, (it) => link({ ...place, window: it }), place.window);
    find("by-window").hidden = byLength.length === 0;
  }

  focus() {
    find("here").focus();
  }

  #crumbs(place) {
    find("back").href = link(board(place.window));
    say(find("here"), place.touchpoint ? capital(name(place.touchpoint)) : "All touchpoints together");
    for (const what of ["channel", "segment"]) {
      const chip = find(`chip-${what}`);
      chip.hidden = !place[what];
      chip.href = link({ ...place, [what]: "" });
      say(chip.querySelector(".chosen"), name(place[what]));
    }
  }

  #cards(parts, place, model) {
    const whole = !place.channel && !place.segment; // the store's lines are of whole touchpoints
    const wanted = [...parts.answers].sort((a, b) => rank(a) - rank(b) || a.instrument.localeCompare(b.instrument));
    const nodes = wanted.map(({ metric, instrument, counts }) => {
      const key = `${metric}|${instrument}`;
      if (!this.cards.has(key)) this.cards.set(key, new Card(described(metric, instrument), instrument));
      const card = this.cards.get(key);
      card.show(parts.own, place, whole ? model.lines(metric, instrument, place.touchpoint) : [], counts);
      return card.node;
    });
    const box = find("cards");
    if (nodes.length !== box.children.length || nodes.some((node, at) => box.children[at] !== node)) box.replaceChildren(...nodes);
    find("silent").hidden = nodes.length > 0;
  }

  #table(part, model, place, to, current) {
    const all = model.touchpoints(place.window);
    const heard = (it) => model.heard(place.window, it.name);
    const most = new Set([...all].sort((a, b) => heard(b) - heard(a)).slice(0, MANY));
    const shown = all.filter((it) => it.gap > 0 || it.name === current || most.has(it));
    this.tables[part].show(model, place.window, shown, to, current);
    find(part).hidden = shown.length === 0;
    const rest = all.length - shown.length;
    say(find(part).querySelector(".more"), rest ? `${count(rest)} more with fewer answers: feedback report --by touchpoint,channel,segment` : "");
  }
}
