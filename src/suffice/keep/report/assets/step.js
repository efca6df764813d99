// What a step of training is made of, rank by rank.

const FEW = 4;

function stepSection(runs) {
  const of = ({ letter, profile }) =>
    profile.ranks.map((rank) => ({ letter, rank, several: profile.ranks.length > 1 }));
  const lanes = runs.flatMap(of).filter(({ rank }) => total(rank.split) > 0);
  if (!lanes.length) return null;
  const most = Math.max(...lanes.flatMap(({ rank }) => [total(rank.split), total(rank.device_split)]));
  const parts = STEP_PARTS.filter((part) => lanes.some(({ rank }) => rank.split[part] ?? rank.device_split[part]));
  const key = h(
    "p.key",
    { "aria-hidden": "true" },
    parts.map((part) => h("span", swatch(part), label(part))),
  );
  const numbers = stepTable(lanes, parts);
  return section(
    "step",
    "A training step",
    key,
    lanes.map((lane) => stepLane(lane, most)),
    unseen(lanes),
    lanes.length > FEW ? h("details", h("summary", "In numbers"), numbers) : numbers,
    lanes.length <= 2 && lanes.map(loopFacts),
  );
}

function laneName({ letter, rank, several }, device = rank.device) {
  return [mark(letter), several || !letter ? `rank ${rank.rank} ` : "", h("small", device)];
}

/** The bar of a rank; where the device told its own times, theirs below. */
function stepLane(lane, most) {
  const one = (split, name) => {
    const parts = STEP_PARTS.filter((part) => split[part]).map((part) => [part, split[part]]);
    return h("div.step.lane", h("span.name", name), bar(parts, most), h("span.n", quantity(total(split), "s")));
  };
  const { device_split: onDevice, device, split } = lane.rank;
  if (!total(onDevice)) return one(split, laneName(lane));
  return h("div.pair", one(split, laneName(lane, "host")), one(onDevice, h("small", `on ${device}`)));
}

/** What the hooks could not tell apart in a step, in words: it must not look like zero. */
function unseen(lanes) {
  const missing = STEP_PARTS.filter((part) => !lanes.every(({ rank }) => part in rank.split));
  const inside = missing.filter((part) => part !== "copy_s").map(label);
  const said = [
    lanes.some(({ rank }) => total(rank.device_split)) && "The lower bar of a pair is the device’s own stream.",
    inside.length && `Not separable, and so within other: ${inside.join(", ")}.`,
    missing.includes("copy_s") && "No copy to a device was seen.",
  ].filter(Boolean);
  return said.length > 0 && h("p.aside", said.join(" "));
}

function stepTable(lanes, parts) {
  const most = Math.max(...lanes.map(({ rank }) => total(rank.split)));
  const cell = (split, part) => {
    if (!split[part]) return h("td.n.none", "–");
    const { value, method } = split[part];
    return h(
      "td.n",
      { title: method },
      quantity(value, "s", { size: most }),
      h("small", percent(value / total(split))),
    );
  };
  const row = (name, split, spread) =>
    h(
      "tr",
      h("th", { scope: "row" }, name),
      parts.map((part) => cell(split, part)),
      h("td.n", quantity(total(split), "s")),
      h("td.n", spread ? range(spread) : ""),
    );
  const rows = lanes.flatMap((lane) => {
    const { split, device_split: onDevice, device, figures } = lane.rank;
    if (!total(onDevice)) return [row(laneName(lane), split, figures.step_s)];
    return [row(laneName(lane, "host"), split, figures.step_s), row(h("small", device), onDevice)];
  });
  const first = Object.values(lanes[0].rank.split)[0];
  const heads = [...parts.map(label), "sum", "80 % of steps take"].map((text) => [text, "n"]);
  return table([[["Mean step ", badge(first)], ""], ...heads], rows);
}

function loopFacts(lane, i, lanes) {
  const { facts, figures } = lane.rank;
  const names = ["steps", "samples_per_s", "tokens_per_s", "flop_per_s", "share_of_peak", "processors_busy", "agent_s"];
  const told = [...names, "first_loss", "last_loss", "gpu_memory_peak_bytes"].filter((name) => figures[name]);
  // One badge for the group where all its figures have one origin.
  const same = new Set(told.map((name) => figures[name].origin)).size === 1;
  const say = (name) => figures[name] && [ofFigure(figures[name]), !same && [" ", badge(figures[name])]];
  const list = (...words) => words.flat().filter(Boolean).join(", ");
  const size = facts.parameters && `${digits(facts.parameters, 1)} parameters`;
  const pairs = {
    model: list(facts.models ?? [], size, facts.parameter_dtype, facts.compiled && "compiled"),
    optimiser: list(facts.optimisers ?? []),
    steps: say("steps"),
    rate: say("samples_per_s") ?? say("tokens_per_s"),
    arithmetic: say("flop_per_s"),
    "of the machine’s peak": say("share_of_peak"),
    loss: figures.first_loss && figures.last_loss && [say("first_loss"), " to ", say("last_loss")],
    "processors busy": say("processors_busy"),
    "suffice’s own cost, a marked step": say("agent_s"),
    "GPU memory, peak": say("gpu_memory_peak_bytes"),
    with: list(facts.torch && `torch ${facts.torch}`, facts.python && `Python ${facts.python}`),
  };
  const shown = Object.entries(pairs).filter(([, value]) => value?.length);
  const title = lanes.length > 1 ? laneName(lane) : "The loop ";
  const items = shown.map(([name, value]) => h("div", h("dt", name), h("dd", value)));
  return h("div.facts", h("h3", title, same && [" ", badge(figures[told[0]])]), h("dl", items));
}
