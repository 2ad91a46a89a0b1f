// How often each answer was given: a column an answer, from the low end of the scale to the high.

import { element } from "./draw.js";
import { count, share } from "./words.js";

const TONES = { promoter: "good", passive: "fair", detractor: "poor", satisfied: "good", dissatisfied: "poor", easy: "good", not_easy: "poor" };

// Durations are counted in fine bins (bin k ends at 2^(k/8) seconds) and read as the middle of theirs.
const SPANS = [["5m", 300], ["15m", 900], ["1h", 3600], ["4h", 14_400], ["1d", 86_400], ["3d", 259_200], ["7d", 604_800]];
const seconds = (bin) => (bin === -1000 ? 0 : 2 ** ((bin - 0.5) / 8));

// The columns of a histogram ([bin, n] pairs): label, n, tone, and the words for the one who does not see them.
export function columns(metric, instrument, counts) {
  if (metric === "resolution") return spans(counts);
  const given = new Map(counts);
  if (!instrument) return [0, 1].map((bin) => ({ label: bin ? "yes" : "no", n: given.get(bin) ?? 0, tone: "fair" }));
  const scale = Array.from({ length: instrument.high - instrument.low + 1 }, (_, at) => instrument.low + at);
  return scale.map((bin) => ({ label: String(bin), n: given.get(bin) ?? 0, tone: TONES[groupOf(instrument, bin)] ?? "fair" }));
}

function spans(counts) {
  const ends = [...SPANS, ["", Infinity]];
  const made = ends.map(([label]) => ({ label: label ? `\u2264${label}` : ">7d", n: 0, tone: "good" }));
  for (const [bin, n] of counts) made[ends.findIndex(([, end]) => seconds(bin) <= end)].n += n;
  return made;
}

const groupOf = ({ groups = [] }, bin) => groups.find((it) => it.first <= bin && bin <= it.last)?.name;

// "promoters 45 %, passives 30 %, detractors 25 %": every group of the instrument, the good one first.
export function shares(instrument, counts) {
  const n = counts.reduce((sum, [, many]) => sum + many, 0);
  const of = ({ first, last }) => counts.reduce((sum, [bin, many]) => sum + (first <= bin && bin <= last ? many : 0), 0);
  const groups = [...(instrument?.groups ?? [])].reverse();
  return n ? groups.map((it) => `${it.name.replaceAll("_", " ")} ${share(of(it) / n)}`).join(", ") : "";
}

export class Answers {
  constructor() {
    this.node = element("ul", "answers");
    this.node.setAttribute("role", "list");
  }

  // `what` they are answers of, for the one who does not see where they stand.
  show(what, all) {
    const total = all.reduce((sum, it) => sum + it.n, 0);
    const most = Math.max(1, ...all.map((it) => it.n));
    const drawn = JSON.stringify([what, all]);
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    this.node.setAttribute("aria-label", `Answers, ${what}`);
    this.node.replaceChildren(...all.map((it) => column(it, total, most)));
  }
}

function column({ label, n, tone }, total, most) {
  const item = element("li", tone);
  const said = `${label}: ${count(n)}${total ? `, ${share(n / total)}` : ""}`;
  item.title = said;
  item.append(element("span", "unseen", said));
  const [room, bar, text] = [element("span", "room"), element("span", "bar"), element("span", "answer", label)];
  for (const node of [room, text]) node.setAttribute("aria-hidden", "true");
  bar.style.height = `${(n / most) * 100}%`;
  room.append(bar);
  item.append(room, text);
  return item;
}
