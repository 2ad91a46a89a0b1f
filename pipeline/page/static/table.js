// A table of scores: one row a touchpoint (or a channel, a segment, a window), one column a metric.

import { element, say } from "./draw.js";
import { Stack } from "./gauge.js";
import { METRICS } from "./model.js";
import { name } from "./words.js";

function role(node, named) {
  node.setAttribute("role", named); // the style of narrow pages takes the browser's own roles away
  return node;
}

class Row {
  constructor(key) {
    this.node = role(element("tr"), "row");
    this.node.dataset.touchpoint = key;
    const head = this.node.appendChild(role(element("th", "touchpoint"), "rowheader"));
    head.scope = "row";
    this.link = head.appendChild(element("a", "name", name(key)));
    this.stage = head.appendChild(element("span", "stage"));
    this.flag = head.appendChild(element("span", "flag", "below target"));
    this.stacks = METRICS.map((metric) => {
      const cell = this.node.appendChild(role(element("td", metric.metric), "cell"));
      const label = cell.appendChild(element("span", "label", metric.title));
      label.setAttribute("aria-hidden", "true");
      return new Stack(metric, cell, { size: [100, 30] });
    });
  }

  // `left`: which metrics are left out.
  show(model, window, it, href, current, left) {
    say(this.stage, it.stage);
    this.link.setAttribute("href", href);
    if (current) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
    this.flag.hidden = it.gap === 0;
    this.node.classList.toggle("troubled", it.gap > 0);
    this.node.classList.toggle("current", current);
    this.stacks.forEach((stack, at) => {
      stack.node.hidden = left[at];
      stack.show(model, window, it.name);
    });
  }
}

export class Table {
  rows = new Map();

  // `first`: title of the first column. `lean`: a metric that no row has is left out.
  constructor(node, first, { lean = false } = {}) {
    this.lean = lean;
    const columns = role(node.appendChild(element("thead")), "rowgroup").appendChild(role(element("tr"), "row"));
    const column = (title, hint) => {
      const made = columns.appendChild(role(element("th", "", title), "columnheader"));
      made.scope = "col";
      made.append(element("span", "hint", hint));
      return made;
    };
    column(first, "");
    this.columns = METRICS.map((it) => column(it.title, it.hint));
    this.body = node.appendChild(role(element("tbody", "rows"), "rowgroup"));
  }

  // `items` as `Model.touchpoints` gives them, in this order; `to` is where a name leads; `current` is where we are.
  show(model, window, items, to, current = null) {
    const left = METRICS.map((metric) => this.lean && !items.some((it) => model.has(window, metric, it.name)));
    this.columns.forEach((column, at) => (column.hidden = left[at]));
    for (const it of items) this.#row(it.name).show(model, window, it, to(it.name), it.name === current, left);
    this.#arrange(items.map((it) => this.rows.get(it.name).node));
  }

  focus(key) {
    this.rows.get(key)?.link.focus();
  }

  #row(key) {
    if (!this.rows.has(key)) this.rows.set(key, new Row(key));
    return this.rows.get(key);
  }

  // Puts the rows in order; those that moved glide to their new place.
  #arrange(nodes) {
    const body = this.body;
    if (nodes.length === body.children.length && nodes.every((node, at) => body.children[at] === node)) return;
    const before = new Map(nodes.map((node) => [node, node.isConnected ? node.getBoundingClientRect().top : null]));
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    body.replaceChildren(...nodes);
    if (focused?.isConnected) focused.focus({ preventScroll: true }); // moving a node takes the focus from it
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [node, top] of before) {
      const moved = top === null ? 0 : top - node.getBoundingClientRect().top;
      if (moved) node.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 400, easing: "ease-out" });
    }
  }
}
