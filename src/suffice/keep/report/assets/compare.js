// Two runs in one table: each figure of both, their ratio, and its interval where there is one.

const COMPARED = ["duration_s", "processor_s", "memory_peak_bytes", "energy_j", "carbon_gco2e", "cost_usd"];
const ALONE =
  "One run each, so the ratios have no interval: runs of the same program differ among themselves, " +
  "and only an interleaved trial proves a gain.";
const LEAST_REACH = 1.25;
const MOST_REACH = 4;
const NAMES = { processor_s: "Processor time", flop_per_s: "FLOP/s" };

function compareSection(runs, given) {
  const { rows, caveat } = given ?? { rows: ownRows(runs), caveat: ALONE };
  if (!rows.length) return section("compare", "Side by side", h("p", "The runs have no figure in common."));
  const ratios = rows.flatMap(({ ratio, low, high }) => [ratio, low, high]).filter((each) => each > 0);
  const widest = Math.max(LEAST_REACH, ...ratios.map((each) => Math.max(each, 1 / each)));
  const reach = Math.log(Math.min(MOST_REACH, widest));
  const sides = runs.map(({ letter }) => [mark(letter), "n"]);
  const heads = ["Figure", ...sides, ["B / A", "n"], ["95 % interval", "n"], [forestHead(reach), "forest"], "Origin"];
  const body = rows.map((row) => compareRow(row, runs[0], reach));
  return section("compare", "Side by side", table(heads, body, "compare"), h("p.aside", capital(sentence(caveat))));
}

function ownRows(runs) {
  const [first, second] = runs.map(({ profile }) => ({ ...profile.ranks[0]?.figures, ...profile.figures }));
  const both = ["step_s", "samples_per_s", ...COMPARED].filter((name) => first[name] && second[name]);
  return both.map((name) => {
    const [a, b] = [first[name].value, second[name].value];
    return { name, unit: first[name].unit, a, b, ratio: a ? b / a : null };
  });
}

function originOf(name, { profile }) {
  const rank = profile.ranks[0];
  const known = profile.figures[name] ?? rank?.figures[name] ?? rank?.split[name];
  return known ?? { origin: "not stated" };
}

function compareRow({ name, unit, a, b, ratio, low, high }, run, reach) {
  const interval = Number.isFinite(low) && Number.isFinite(high) ? [low, high] : null;
  const origin = originOf(name, run);
  const text = (value) => quantity(value, unit, precision(origin));
  return h(
    "tr",
    h("th", { scope: "row", title: name }, compared(name)),
    h("td.n", text(a)),
    h("td.n", text(b)),
    h("td.n", ratio > 0 ? h("strong", ratio.toFixed(ratio < 10 ? 3 : 1)) : "–"),
    h("td.n", interval ? interval.map((end) => end.toFixed(3)).join(" to ") : h("span.none", "none")),
    h("td.forest", ratio > 0 && forest(ratio, interval, reach)),
    h("td", badge(origin)),
  );
}

function compared(name) {
  if (STEP_PARTS.includes(name)) return [swatch(name), `${label(name)}, a step`];
  if (NAMES[name]) return NAMES[name];
  const bare = name.replace(/(?<!_per)_(s|j|bytes|usd|gco2e)$/, "");
  return capital(bare.replaceAll("_", " "));
}

function across(ratio, reach) {
  return 50 + 48 * Math.max(-1, Math.min(1, Math.log(ratio) / reach));
}

function forestHead(reach) {
  const edge = digits(Math.exp(reach), 2, true);
  const tick = (at, text) => h("span", { css: { left: `${at}%` } }, text);
  return h("div.axis", { "aria-hidden": "true" }, tick(2, `÷${edge}`), tick(50, "same"), tick(98, `×${edge}`));
}

/** A point on a logarithmic axis about 1, with its interval as a line; hollow without one, an arrow beyond the axis. */
function forest(ratio, interval, reach) {
  const [from, to] = (interval ?? [ratio, ratio]).map((end) => across(end, reach));
  const line = interval && h("span.line", { css: { left: `${from}%`, width: `${to - from}%` } });
  const beyond = Math.abs(Math.log(ratio)) > 1.001 * reach && (ratio > 1 ? "far" : "far low");
  const kind = beyond || (!interval && "hollow");
  const dot = h("span.dot", { class: kind, css: { left: `${across(ratio, reach)}%` } });
  return h("div.whisker", { "aria-hidden": "true" }, h("span.one"), line, dot);
}
