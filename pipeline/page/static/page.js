// Listens to the server and keeps the page in step with it.

import { METRICS, Model, OVERALL } from "./model.js";
import { View } from "./view.js";
import { headline } from "./words.js";

const SILENCE = 15_000; // the server says something every five seconds; longer silence means the line is dead
const RETRY = 1_500;

const STATES = {
  live: "live",
  catching_up: "catching up",
  away: "waiting for the worker",
};

const model = new Model();
const view = new View();
let chosen = decodeURIComponent(location.hash.slice(1));
let drawing = false;
let watchdog;

function choose(window) {
  chosen = window;
  history.replaceState(null, "", `#${encodeURIComponent(window)}`);
  draw();
}

// Many messages, one drawing: at the next frame.
function soon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  const windows = model.windows;
  if (!windows.includes(chosen)) chosen = windows.includes("1h") ? "1h" : (windows[0] ?? "");
  view.windows(windows, chosen, choose);
  const overall = METRICS.filter((it) => !it.only)
    .flatMap((it) => model.instruments(it).map((instrument) => model.score(chosen, it.metric, instrument, OVERALL)))
    .filter(Boolean);
  view.show(model, chosen, headline(model.touchpoints(chosen), overall, chosen, model.trends.span));
}

function connect() {
  const source = new EventSource("/events");
  const on = (kind, act) =>
    source.addEventListener(kind, (message) => {
      alive(source);
      act(JSON.parse(message.data));
    });
  on("about", (about) => {
    model.about = about;
    soon();
  });
  on("scores", (change) => {
    model.take(change);
    view.updated(change.at);
    soon();
  });
  on("trends", (trends) => {
    model.trends = trends;
    soon();
  });
  on("state", ({ worker }) => view.state(worker, STATES[worker] ?? worker));
  on("tick", () => {});
  source.addEventListener("error", () => {
    view.state("reconnecting", "reconnecting");
    if (source.readyState === EventSource.CLOSED) again(source);
  });
  alive(source);
}

function alive(source) {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => {
    view.state("reconnecting", "reconnecting");
    again(source);
  }, SILENCE);
}

function again(source) {
  clearTimeout(watchdog);
  source.close();
  setTimeout(connect, RETRY);
}

connect();
