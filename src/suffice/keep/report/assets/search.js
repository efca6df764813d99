// A search: what was tried on the job, what was kept, what that saves, and what remains.

const VERDICTS = {
  kept: "The change proved itself and is in the plan.",
  dropped: "Kept at first, and dropped when all that was kept was tried together.",
  refused: "No gain worth having, or the training is not the same any more.",
  undecided: "The budget did not decide it, so it is not kept.",
  control: "Nothing was changed: here there must be no difference, or no verdict of the search would hold.",
};
const RISKS = {
  exact: "The same numbers come out.",
  numeric: "Rounding differs.",
  stochastic: "Other random draws of the same distribution.",
  semantic: "Another training, which you allowed.",
};
const OWN_SPLIT =
  "A is the plain job and B the job with the plan, each looked at once: the intervals hold the noise within the two. " +
  "What was proven is above, by steps in pairs.";
const SAVES = "The proven ratio of steps is taken for the time in which the plain job trains, at even power and price.";

// A speed: 2.60x as it is written on a terminal.
function speeds(text) {
  return text.replace(/(\d)x(?=[\s,;:.)]|$)/g, "$1×");
}

function speed(ratio, value = ratio.value) {
  return `${ratio.value < 2 ? value.toFixed(3) : digits(value, 3)}×`;
}

function searchHead(search, runs) {
  const { profile } = runs[0];
  const facts = [moment(search.started), ...machine(profile), place(profile)].map((fact) => h("span", fact));
  const letters = runs.length > 1 && [" A is the job as it was, B with what was kept."];
  return h(
    "header",
    h("p.brand", "suffice · a search"),
    h(
      "div.run-head",
      h("h1.command", { tabindex: "0" }, command({ target: { command: search.command } })),
      h("p.facts-line", facts),
      h("p.headline", capital(sentence(speeds(search.headline)))),
      h("p.support", capital(sentence(search.support)), letters),
    ),
  );
}

function searchWarnings(search, runs) {
  const own = search.notes.filter(({ level }) => level === "warning");
  const found = [...own, ...notesOf(runs, ({ level }) => level === "warning")];
  if (!found.length) return null;
  // What holds for both runs is said once.
  const texts = [...new Set(found.map(({ text }) => text))];
  const items = texts.map((text) => {
    const letters = found.filter((each) => each.text === text).map(({ letter }) => mark(letter));
    return h("li", letters, capital(sentence(text)));
  });
  const title = items.length > 1 ? `${items.length} warnings` : "Warning";
  return h("section.warnings", { "aria-label": "Warnings" }, h("h2", title), h("ul", items));
}

/** The bars of a step of both runs on one scale; the numbers are folded away. */
function splitSection(runs) {
  const found = runs.map(({ letter, profile }) => ({ letter, rank: profile.ranks[0], several: false }));
  const lanes = found.filter(({ rank }) => rank && total(rank.split) > 0);
  if (!lanes.length) return null;
  const most = Math.max(...lanes.flatMap(({ rank }) => [total(rank.split), total(rank.device_split)]));
  const parts = STEP_PARTS.filter((part) => lanes.some(({ rank }) => rank.split[part] ?? rank.device_split[part]));
  const key = parts.map((part) => h("span", swatch(part), label(part)));
  const title = lanes.length > 1 ? "A training step, before and after" : "A training step";
  const numbers = h("details.numbers", h("summary", "In numbers"), stepTable(lanes, parts), lanes.map(loopFacts));
  const bars = lanes.map((lane) => stepLane(lane, most));
  return section("step", title, h("p.key", { "aria-hidden": "true" }, key), bars, unseen(lanes), numbers);
}

function savingSection({ savings, no_savings: why, payback, projection }) {
  const title = savings ? `Saved in ${savings.per}, ${projection}` : "Saved";
  if (!savings) return section("saved", title, h("p", capital(sentence(why))));
  const tiles = savings.rows.map((row) => savingTile(row, savings.year));
  const missing = savings.missing.map(([name, reason]) =>
    h("div.tile.absent", h("h3", name), h("p.value", "not known"), h("p.beside", capital(sentence(reason)))),
  );
  const words = [savings.basis, payback].filter(Boolean).map((text) => capital(sentence(text)));
  return section("saved", title, h("div.tiles.saved", tiles, missing), h("p.aside", words.join(" "), " ", SAVES));
}

function savingTile({ name, each, a_year: year }, when) {
  const beside = year && `${ofFigure(year)} (${range(year)}) in ${when}`;
  return h(
    "div.tile",
    h("h3", name, badge(each)),
    h("p.value", large(each)),
    rangeBar(each),
    beside && h("p.beside", beside),
  );
}

function trialSection(search) {
  const { tried, turned_down: refused } = search;
  if (!tried.length && !refused.length) return null;
  const ends = tried.flatMap(({ ratio }) => (ratio ? [ratio.value, ratio.low, ratio.high] : []));
  const known = ends.filter((each) => each > 0).map((each) => Math.max(each, 1 / each));
  const reach = Math.log(Math.min(MOST_REACH, Math.max(LEAST_REACH, ...known)));
  const forestTitle = [forestHead(reach), "forest"];
  const heads = ["Change", "Verdict", ["Speed", "n"], forestTitle, ["Interval", "n"], ["Pairs", "n"], ["Took", "n"]];
  const rows = tried.map((each) => trialRow(each, reach));
  const words = "Speed is the time of a step without the change over that with it, by steps in pairs in random order.";
  const down = refused.map(([name, why]) => h("tr", h("th", { scope: "row" }, name), h("td.wide", capital(sentence(why)))));
  return section(
    "tried",
    "What was tried",
    tried.length > 0 && [table(heads, rows, "trials"), h("p.aside", words)],
    down.length > 0 && [h("h3.below", "Turned down before a trial"), table(["Change", ["Why", "wide"]], down, "turned-down")],
  );
}

function trialRow({ name, risk, verdict, reason, pairs, spent_s: spent, ratio }, reach) {
  const interval = ratio && hasRange(ratio) ? [ratio.low, ratio.high] : null;
  const words = interval ? interval.map((end) => speed(ratio, end)).join(" to ") : h("span.none", "none");
  return h(
    "tr",
    { class: `verdict-${verdict}` },
    h(
      "th",
      { scope: "row" },
      h("strong", name),
      h("span.reason", risk && h("span.risk", { title: RISKS[risk] }, risk), capital(sentence(speeds(reason)))),
    ),
    h("td", h("span.verdict", { title: VERDICTS[verdict] }, verdict)),
    h("td.n", ratio ? h("strong", speed(ratio)) : "–"),
    h("td.forest", ratio && forest(ratio.value, interval, reach)),
    h("td.n", words),
    h("td.n", { "data-head": "pairs" }, digits(pairs, 1)),
    h("td.n", { "data-head": "took" }, quantity(spent, "s")),
  );
}

function remainsSection({ remains }) {
  if (!remains) return null;
  const rows = remains.rows.length > 0 && findings(remains.rows);
  return section("remains", "What remains", h("p.diagnosis", capital(sentence(remains.sentence))), rows);
}

function planSection({ plan }) {
  if (!plan) return null;
  return section("plan", "plan.toml", h("details", h("summary", "The text of the plan"), h("pre.plan", plan)));
}

function searchNotes({ notes }) {
  const items = notes.filter(({ level }) => level !== "warning").map(({ text }) => h("li", noteText(text)));
  return items.length ? section("search-notes", "Notes of the search", h("ul.notes", items)) : null;
}

/** The sections that a search puts in the place of those of a run. */
function searchSections(search, runs) {
  const two = runs.length > 1;
  return {
    "the head": () => searchHead(search, runs),
    "the warnings": () => searchWarnings(search, runs),
    "the step": () => splitSection(runs),
    "the savings": () => savingSection(search),
    "the trials": () => trialSection(search),
    "what remains": () => remainsSection(search),
    "the totals": () => two && compareSection(runs, { ...held("comparison"), caveat: OWN_SPLIT }),
    "the plan": () => planSection(search),
    "the notes of the search": () => searchNotes(search),
  };
}
