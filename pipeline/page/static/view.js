// Draws the model into the document, and changes only what changed.

import { Detail, takeApart } from "./detail.js";
import { element, say } from "./draw.js";
import { Stack } from "./gauge.js";
import { METRICS, OVERALL } from "./model.js";
import { link } from "./place.js";
import { Table } from "./table.js";
import { closely } from "./words.js";

const find = (id) => document.getElementById(id);

export class View {
  constructor() {
    this.table = new Table(find("table"), "Touchpoint");
    this.detail = new Detail();
    this.tiles = METRICS.map((metric) => {
      const tile = find("tiles").appendChild(element("article", `tile ${metric.metric}`));
      const title = tile.appendChild(element("h2", "", metric.title));
      title.append(element("span", "hint", metric.hint));
      return new Stack(metric, tile, { size: [200, 44], alone: true });
    });
  }

  // All touchpoints of one window.
  board(model, place, sentences) {
    this.#headline(sentences);
    for (const tile of this.tiles) tile.show(model, place.window, OVERALL);
    const touchpoints = model.touchpoints(place.window);
    find("nobody").hidden = touchpoints.length > 0;
    find("table").hidden = touchpoints.length === 0;
    find("together").href = link({ ...place, touchpoint: OVERALL });
    this.table.show(model, place.window, touchpoints, (touchpoint) => link({ ...place, touchpoint }));
    this.#open("board", place); // last: it looks for a row
  }

  // One touchpoint (or all together): `said` is what the worker said of it.
  closely(model, place, said) {
    const parts = takeApart(place, said, model.about);
    this.#headline(closely(place, parts));
    this.detail.show(parts, place, model);
    this.#open("detail", place);
  }

  windows(names, chosen, choose) {
    const box = find("windows");
    if (box.dataset.names !== names.join()) this.#choices(box, names, choose);
    for (const input of box.querySelectorAll("input")) input.checked = input.value === chosen;
  }

  busy(yes) {
    find("main").setAttribute("aria-busy", String(yes));
  }

  state(kind, text) {
    find("state").dataset.state = kind;
    say(find("state-text"), text);
    document.body.classList.toggle("stale", kind !== "live");
  }

  updated(at) {
    say(find("updated"), at ? `Last change ${new Date(at).toLocaleTimeString()}.` : "");
  }

  #headline([lead, rest]) {
    if (say(find("lead"), lead)) document.title = `${lead.replace(/\.$/, "")} \u00b7 feedback`;
    say(find("rest"), rest);
  }

  #choices(box, names, choose) {
    box.dataset.names = names.join();
    for (const old of box.querySelectorAll("label")) old.remove();
    for (const each of names) {
      const label = box.appendChild(element("label"));
      const input = label.appendChild(element("input"));
      [input.type, input.name, input.value] = ["radio", "window", each];
      input.addEventListener("change", () => choose(each));
      label.append(element("span", "", each));
    }
  }

  // Shows one of the two, and takes the keyboard along: into the detail, and back to the row it was opened from.
  #open(which, place) {
    const from = this.opened;
    this.opened = { which, touchpoint: place.touchpoint };
    for (const part of ["board", "detail"]) find(part).hidden = part !== which;
    find("crumbs").hidden = which !== "detail";
    if (!from || (from.which === which && from.touchpoint === place.touchpoint)) return this.#keepFocus();
    if (which === "detail") {
      scrollTo(0, 0);
      this.detail.focus();
    } else if (from.touchpoint === OVERALL) find("together").focus();
    else this.table.focus(from.touchpoint);
  }

  // A chip that was clicked is gone, and must not take the keyboard with it.
  #keepFocus() {
    if (this.opened.which === "detail" && document.activeElement?.hidden) this.detail.focus();
  }
}
