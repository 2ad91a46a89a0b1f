// Where the page is: window, touchpoint, channel, segment. All of it stands in the URL, so that a link shows the same.

const NAMES = ["window", "touchpoint", "channel", "segment"];
const FILTERS = ["segment", "channel", "touchpoint"]; // from the inside out

// A null touchpoint is the board of all; an empty one is all touchpoints together.
export function read(hash) {
  const said = hash.slice(1);
  const found = new URLSearchParams(said.includes("=") ? said : `window=${said}`);
  const place = Object.fromEntries(NAMES.map((name) => [name, found.get(name) ?? ""]));
  return { ...place, touchpoint: found.get("touchpoint") };
}

export const board = (window) => ({ window, touchpoint: null, channel: "", segment: "" });

export function link(place) {
  return `#${asked(place)}`;
}

// As the server is asked for it.
export function asked(place) {
  const said = NAMES.filter((name) => place[name] || (name === "touchpoint" && place[name] !== null));
  return new URLSearchParams(said.map((name) => [name, place[name]])).toString();
}

// One step back to the whole.
export function up(place) {
  const inner = FILTERS.find((name) => place[name]) ?? "touchpoint";
  return { ...place, [inner]: inner === "touchpoint" ? null : "" };
}
