// What a run is made of: one colour a part, the same in bars, tables and plots.

const STEP_PARTS = ["wait_for_data_s", "copy_s", "forward_s", "backward_s", "optimiser_s", "other_s"];
const EVEN = "The energy is the run’s by share of time, as if the power were even. ";
const LONGEST = "The parts are those of the rank that trained longest.";

function label(part) {
  return about.parts[part] ?? part.replace(/_s$/, "").replaceAll("_", " ");
}

function colour(part) {
  return `var(--${part.replace(/_s$/, "")}, var(--other))`;
}

function swatch(part) {
  return h("span.swatch", { css: { background: colour(part) } });
}

/** A bar of [part, figure]; `most` is the value that fills the width. The tables beside it say the same in words. */
function bar(parts, most) {
  const all = sum(parts.map(([, { value }]) => value));
  const segment = ([part, { value }]) => {
    const tip = `${label(part)}: ${quantity(value, "s")}, ${percent(value / all)}`;
    const ink = `var(--on-${part.replace(/_s$/, "")}, var(--ink))`;
    const css = { background: colour(part), color: ink, width: `${(100 * value) / most}%` };
    return h("span.segment", { title: tip, css }, h("span", label(part)));
  };
  return h("div.bar", { "aria-hidden": "true" }, parts.filter(([, { value }]) => value > 0).map(segment));
}

// A name that does not fit its segment is left to the table: half a word tells nothing.
function fitNames(root) {
  for (const name of root.querySelectorAll(".segment > span")) {
    name.classList.toggle("hidden", name.offsetWidth + 10 > name.parentElement.clientWidth);
  }
}

function runSection(runs) {
  const most = Math.max(...runs.map(({ profile }) => total(profile.parts)));
  if (!(most > 0)) return null;
  const lane = ({ letter, profile }) => h("div.lane", mark(letter), bar(Object.entries(profile.parts), most));
  const energy = runs.some(({ profile }) => profile.figures.energy_j) && EVEN;
  const ranks = runs.some(({ profile }) => profile.ranks.length > 1) && LONGEST;
  const words = (energy || ranks) && h("p.aside", energy, ranks);
  return section("run", "The run, from start to end", runs.map(lane), h("div.side", runs.map(runTable)), words);
}

function runTable({ letter, profile }) {
  const all = total(profile.parts);
  const energy = profile.figures.energy_j;
  const parts = Object.entries(profile.parts).filter(([, { value }]) => value > 0);
  if (!parts.length) return null;
  const most = Math.max(...parts.map(([, { value }]) => value));
  const joules = (value) => (energy.value * value) / all;
  const share = { unit: energy?.unit, origin: "estimated", method: "the run's energy x the part's share of its time" };
  const row = ([part, { value }]) => {
    const cells = [quantity(value, "s", { size: most }), percent(value / all)];
    if (energy) cells.push(ofFigure(share, joules(value), joules(most)));
    return h(
      "tr",
      h("th", { scope: "row" }, swatch(part), label(part)),
      cells.map((cell) => h("td.n", cell)),
    );
  };
  const heads = [letter ? ["Part of ", mark(letter)] : "Part", ["Time ", badge(parts[0][1])], "Share"];
  if (energy) heads.push(["Energy ", badge(share)]);
  return table(
    heads.map((head, i) => [head, i > 0 && "n"]),
    parts.map(row),
    "parts",
  );
}
