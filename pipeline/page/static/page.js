// Listens to the server and keeps the page in step with it.

import { METRICS, Model, OVERALL } from "./model.js";
import { asked, link, read, up } from "./place.js";
import { View } from "./view.js";
import { headline } from "./words.js";

const SILENCE = 15_000; // the server says something every five seconds; longer silence means the line is dead
const RETRY = 1_500;
const LOOK = 2_000; // how often a detail that is open is asked for again

const STATES = {
  live: "live",
  catching_up: "catching up",
  partly: "a worker does not answer",
  away: "waiting for the worker",
};

const model = new Model();
const view = new View();
let place = read(location.hash);
let said = { to: null, what: null }; // what the worker answered last when it was asked closely
let drawing = false;
let line = null; // the stream of events
let watchdog;
let retry;

function choose(window) {
  history.replaceState(null, "", link({ ...place, window }));
  go();
}

// The URL is the only place where it stands what is shown.
function go() {
  place = read(location.hash);
  draw();
  look();
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
  if (!windows.includes(place.window)) place.window = windows.includes("1h") ? "1h" : (windows[0] ?? "");
  view.windows(windows, place.window, choose);
  if (place.touchpoint === null) board(place.window);
  else if (said.to === asked(place)) view.closely(model, place, said.what);
}

function board(window) {
  const overall = METRICS.filter((it) => !it.only)
    .flatMap((it) => model.instruments(it).map((instrument) => model.score(window, it.metric, instrument, OVERALL)))
    .filter(Boolean);
  view.board(model, place, headline(model.touchpoints(window), overall, window, model.trends.span));
}

// Asks for what is looked at closely. What is shown stays until the answer is there, and where there is none.
async function look() {
  if (place.touchpoint === null || !place.window) return view.busy(false);
  const to = asked(place);
  view.busy(said.to !== to);
  try {
    const answer = await fetch(`/detail?${to}`);
    if (answer.ok && to === asked(place)) {
      said = { to, what: await answer.json() };
      view.busy(false);
      soon();
    }
  } catch {
    // the state on top says who is away; the next round asks again
  }
}

// A browser has six connections to a server for all of its tabs (and for pages that "back" may lead to), and a stream
// keeps one: so a page that nobody sees hangs up, or the seventh would never load.
function connect() {
  hangUp();
  if (document.hidden) return;
  line = new EventSource("/events");
  const on = (kind, act) =>
    line.addEventListener(kind, (message) => {
      alive();
      act(JSON.parse(message.data));
    });
  on("about", (about) => {
    model.about = about;
    soon();
    look();
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
  line.addEventListener("error", ({ target }) => {
    view.state("reconnecting", "reconnecting");
    if (target.readyState === EventSource.CLOSED) again();
  });
  alive();
}

function alive() {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => {
    view.state("reconnecting", "reconnecting");
    again();
  }, SILENCE);
}

function again() {
  hangUp();
  retry = setTimeout(connect, RETRY);
}

function hangUp() {
  clearTimeout(watchdog);
  clearTimeout(retry);
  line?.close();
}

connect();
document.addEventListener("visibilitychange", connect);
addEventListener("hashchange", go);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && place.touchpoint !== null) location.hash = link(up(place));
});
setInterval(() => document.hidden || look(), LOOK);
