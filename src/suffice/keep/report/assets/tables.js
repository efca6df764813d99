// What is read rather than looked at: loaders, notes, every figure, and how to read them.

const ORIGINS = {
  measured: "Read off a clock, a counter or a gauge. Where it has a range, the method says what spread that is.",
  estimated: "A model’s answer. The range is where the truth is expected, and says more than the value.",
  "looked up": "Taken from a table, or from you, on the date that stands beside it.",
};
const LONG = 90;
const LOADER_HEADS = ["Loader", "Role", "Data set", "Workers", "Batch", "Wait a batch", "Limited by"];

function loaderSection(runs) {
  const rows = runs.flatMap(({ letter, profile }) =>
    profile.ranks.flatMap((rank) => rank.loaders.map((loader) => loaderRow(loader, letter, profile, rank))),
  );
  const heads = LOADER_HEADS.map((head, i) => [head, { 3: "n", 4: "n", 5: "n", 6: "wide" }[i]]);
  return rows.length ? section("loaders", "Loaders", table(heads, rows, "loaders")) : null;
}

function loaderRow(loader, letter, profile, rank) {
  const { wait_s: wait } = loader.figures;
  const name = [mark(letter), loader.name, profile.ranks.length > 1 && h("small", ` rank ${rank.rank}`)];
  const waits = wait ? [ofFigure(wait).replace("/batch", ""), " ", badge(wait)] : "–";
  const limit = [h("strong", loader.limited_by ?? "unknown"), loader.reason && `: ${sentence(loader.reason)}`];
  const { role, dataset, workers, batch_size: batch } = loader;
  const cells = [role, dataset, String(workers), String(batch ?? "–"), waits, limit];
  // Where the table is too narrow for its columns, each cell says itself what it is.
  const cell = (each, i) => {
    const kind = { 2: "td.n", 3: "td.n", 4: "td.n", 5: "td.wide" }[i] ?? "td";
    return h(kind, { "data-head": LOADER_HEADS[i + 1].toLowerCase() }, each);
  };
  return h("tr", h("th", { scope: "row" }, name), cells.map(cell));
}

function noteSection(runs) {
  const notes = notesOf(runs, ({ level }) => level !== "warning");
  const items = [...notes, ...unmeasured(runs)].map(({ letter, text }) => h("li", mark(letter), noteText(text)));
  return items.length ? section("notes", "Notes", h("ul.notes", items)) : null;
}

/** The meters that could not be read on this machine, each with the reason. */
function unmeasured(runs) {
  const of = ({ letter, profile }) =>
    Object.entries(profile.machine.not_measured ?? {}).map(([name, why]) => ({ letter, text: `no ${name}: ${why}` }));
  return runs.flatMap(of);
}

// Many notes begin with what they are about.
function noteText(text) {
  const [, topic, rest] = text.match(/^([\w ]{1,20}): (.*)$/s) ?? [];
  return topic ? [h("strong", topic), " ", sentence(rest)] : capital(sentence(text));
}

/** Every figure of a profile, by what it belongs to. */
function scopes(profile) {
  const found = { "the run": profile.figures, "parts of the run": profile.parts };
  for (const rank of profile.ranks) {
    const who = profile.ranks.length > 1 ? `rank ${rank.rank}` : "training";
    found[who] = rank.figures;
    found[`${who}, a step`] = rank.split;
    found[`${who}, a step on ${rank.device}’s own stream`] = rank.device_split;
    for (const loader of rank.loaders) found[`${who}, ${loader.name}, ${loader.role}`] = loader.figures;
  }
  return Object.entries(found).filter(([, figures]) => Object.keys(figures).length);
}

function figureSection(runs) {
  const all = runs.flatMap(({ letter, profile }) =>
    scopes(profile).map(([scope, figures]) => [letter ? `${letter}: ${scope}` : scope, figures]),
  );
  if (!all.length) return null;
  const bodies = all.map(([scope, figures]) => {
    const rows = Object.entries(figures).map(([name, figure]) => figureRow(scope, name, figure));
    return h("tbody", h("tr.scope", h("th", { colspan: "5", scope: "rowgroup" }, scope)), rows);
  });
  const count = h("span.count", { "aria-live": "polite" });
  const input = (event) => filter(bodies, event.target.value, count);
  const placeholder = "energy, estimated, rank 1 …";
  const find = h("input", { type: "search", id: "find", placeholder, autocomplete: "off", input });
  filter(bodies, "", count);
  const heads = ["Figure", ["Value", "n"], "Range", "Origin", ["Method, source, date", "wide"]];
  return section(
    "all",
    "All figures",
    h("p.find", h("label", { for: "find" }, "Find"), find, count),
    table(heads, bodies, "figures"),
  );
}

function figureRow(scope, name, figure) {
  const text = [figure.method, figure.source, figure.date && day(figure.date)].filter(Boolean).join(" · ");
  const row = h(
    "tr",
    h("th", { scope: "row" }, name),
    h("td.n", { title: `${figure.value} ${figure.unit}` }, ofFigure(figure)),
    h("td.range-text", range(figure)),
    h("td", badge(figure)),
    h("td.wide", text.length > LONG ? h("details", h("summary", text)) : text),
  );
  row.dataset.find = [scope, name, figure.unit, figure.origin, text].join(" ").toLowerCase();
  return row;
}

function filter(bodies, text, count) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = bodies.flatMap((body) => [...body.rows].slice(1));
  for (const row of rows) row.hidden = !words.every((word) => row.dataset.find.includes(word));
  for (const body of bodies) body.hidden = [...body.rows].slice(1).every((row) => row.hidden);
  const shown = rows.filter((row) => !row.hidden).length;
  count.textContent = words.length ? `${shown} of ${rows.length} figures` : `${rows.length} figures`;
}

function footSection(runs) {
  const [{ profile }] = runs;
  const meanings = Object.entries(ORIGINS).map(([origin, text]) => h("div", h("dt", badge({ origin })), h("dd", text)));
  const names = runs.map((run) => run.profile.run).join(" and ");
  const words = [
    `Run ${names}, started in ${profile.target.cwd}, shown by suffice ${about.version}.`,
    "The page holds its own data and asks no network; its curves may have fewer points than the ledger’s. ",
  ];
  const foot = h(
    "p",
    words.join(" "),
    runs.map((run) => saveLink(run)),
  );
  return h("footer", h("h2", "How to read this page"), h("dl", meanings), foot);
}

function saveLink({ letter, profile }) {
  const download = `${profile.run}.json`.replace(/[^\w.-]/g, "_");
  const link = h("a", { href: "#", download }, `Save ${letter ?? "the profile"} as JSON`);
  link.addEventListener("click", () => {
    link.href = URL.createObjectURL(new Blob([JSON.stringify(profile, null, 1)], { type: "application/json" }));
  });
  return [link, " "];
}
