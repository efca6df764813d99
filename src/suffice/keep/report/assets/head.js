// The first screen: what ran, where its time went, what it took, and what to doubt.

const TILES = { time: "duration_s", energy: "energy_j", carbon: "carbon_gco2e", money: "cost_usd" };
const AROUND = ["start_up_s", "evaluation_s", "ending_s"];
const MATTERS = 0.05;

function headSection(runs) {
  return h(
    "header",
    h("p.brand", runs.length > 1 ? "suffice · two runs side by side" : "suffice · a run"),
    runs.map(runHead),
  );
}

function runHead({ letter, profile }, index) {
  const state = profile.state === "failed" ? `failed, exit code ${profile.exit_code}` : profile.state;
  const facts = [moment(profile.started), ...machine(profile), place(profile)].map((fact) => h("span", fact));
  return h(
    "div.run-head",
    h(index ? "h2.command" : "h1.command", { tabindex: "0" }, mark(letter), command(profile)),
    h("p.facts-line", h("span.state", { class: profile.state }, state), facts),
    h("p.headline", capital(sentence(about.headlines[index]))),
    support(profile),
  );
}

function machine({ machine: facts, figures }) {
  const { processors, processors_allowed: allowed, memory_limit_gib: memory } = facts;
  const cores =
    allowed && `${allowed === processors ? "" : `${Number(allowed.toPrecision(3))} of `}${processors} processors`;
  const names = (facts.gpus ?? []).map((gpu) => gpu.name ?? "GPU");
  const gpus = [...new Set(names)].map((name) => `${names.filter((each) => each === name).length} × ${name}`);
  const idle = gpus.length && !Object.keys(figures).some((name) => /^gpu\d/.test(name)) && "no GPU used";
  return [facts.processor, cores, memory && quantity(memory, "GiB"), ...gpus, idle].filter(Boolean);
}

function place({ machine: { instance, region } }) {
  const known = [instance, region].filter((word) => word && word !== "unknown");
  return known.includes(region) ? known.join(", ") : [...known, "region unknown: world range"].join(", ");
}

/** What backs the headline: why the loader is slow, how much of the run trains, how near to the machine's peak. */
function support({ ranks: [rank], parts }) {
  if (!rank) return null;
  const said = [];
  const loader = rank.loaders.find((each) => each.role === "training" && each.reason);
  if (loader && loader.limited_by !== "not limiting") {
    said.push(`${loader.name} (${loader.dataset}, ${loader.workers} workers): ${loader.reason}`);
  }
  const all = total(parts);
  const around = AROUND.filter((part) => parts[part]?.value / all >= MATTERS);
  const takes = around.map((part) => `${label(part)} takes ${percent(parts[part].value / all)}`);
  if (takes.length) said.push(`Of the whole run, ${takes.join(", ")}`);
  const { flop_per_s: reached, share_of_peak: share } = rank.figures;
  if (reached && share) said.push(`Training reaches ${ofFigure(reached)}, ${ofFigure(share)} of this machine’s peak`);
  return said.length ? h("p.support", said.map(sentence).join(" "), " ", badge({ origin: "measured" })) : null;
}

function notesOf(runs, fits) {
  return runs.flatMap(({ letter, profile }) => profile.notes.filter(fits).map(({ text }) => ({ letter, text })));
}

function warnings(runs) {
  const found = notesOf(runs, ({ level, text }) => level === "warning" && !about.headlines.includes(text));
  if (!found.length) return null;
  const items = found.map(({ letter, text }) => h("li", mark(letter), capital(sentence(text))));
  const title = found.length > 1 ? `${found.length} warnings` : "Warning";
  return h("section.warnings", { "aria-label": "Warnings" }, h("h2", title), h("ul", items));
}

function tiles({ profile }) {
  const each = Object.entries(TILES).map(([name, key]) => tile(name, profile.figures[key], profile));
  return h("section.tiles", { "aria-label": "What the run took" }, each);
}

function tile(name, figure, profile) {
  if (!figure) {
    const note = profile.notes.find(({ text }) => text.startsWith(`${name}:`));
    const why = capital(sentence(note?.text.slice(name.length + 1).trim() ?? "it was not measured"));
    return h("div.tile.absent", h("h2", name), h("p.value", "not known"), h("p.beside", why));
  }
  const words = h("p.beside", beside(name, profile));
  return h("div.tile", h("h2", name, badge(figure)), h("p.value", large(figure)), rangeBar(figure), words, how(figure));
}

function large(figure) {
  const [number, ...unit] = ofFigure(figure).split("\u00a0");
  return [number, unit.length > 0 && h("small", ` ${unit.join(" ")}`)];
}

/** Low to high on a scale that begins at zero, so that the width of the doubt is seen. */
function rangeBar(figure) {
  if (!hasRange(figure) || !(figure.high > 0)) return null;
  const at = (value) => (100 * Math.max(0, value)) / figure.high;
  const span = h("span.span", { css: { left: `${at(figure.low)}%`, width: `${100 - at(figure.low)}%` } });
  const value = h("span.mark", { css: { left: `${at(figure.value)}%` } });
  const ends = [figure.low, figure.high].map((end) => h("span", ofFigure(figure, end)));
  return h("div.range", h("div.track", { "aria-hidden": "true" }, span, value), h("div.ends", ends));
}

function beside(name, profile) {
  const { processor_s: processor, energy_j: energy, power_w: power, cost_usd: cost } = profile.figures;
  const said = {
    time: [processor && `${ofFigure(processor)} of processor time`],
    energy: [
      energy && ofFigure({ ...energy, unit: "Wh", value: energy.value / 3600 }),
      power && `${ofFigure(power)} on average`,
    ],
    carbon: [place(profile)],
    money: [cost?.method],
  };
  return said[name].filter(Boolean).join(" · ");
}
