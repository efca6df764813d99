// What is to be drawn over time: which series go into which plot, and what they are called there.

// `#` stands for the GPU that is looked at.
const CURVES = [
  { title: "Time of a step", series: { step_s: "" }, height: 220, clipped: true },
  { title: "Loss", series: { loss: "" }, height: 160, floating: true },
  { title: "Processors in use", series: { processors_used: "" }, most: ({ machine }) => machine.processors_allowed },
  {
    title: "GPU #",
    series: {
      "gpu#_utilization_gpu": "a kernel ran",
      "gpu#_sm_active": "SMs active",
      "gpu#_tensor_active": "tensor units active",
    },
    most: () => 100,
  },
  { title: "Memory of the job", series: { memory_gib: "" } },
  { title: "Power", series: { power_w: "whole job", "gpu#_power_draw": "GPU #, by its gauge" } },
  { title: "Disk", series: { disk_read_bytes_per_s: "read", disk_written_bytes_per_s: "written" } },
  { title: "Network", series: { network_received_bytes_per_s: "received", network_sent_bytes_per_s: "sent" } },
  {
    title: "Share of the time in which something waited",
    series: { pressure_cpu: "for a processor", pressure_memory: "for memory", pressure_io: "for input or output" },
    aside: "anything on this machine",
    most: () => 0.01,
  },
];
const DASHES = [[], [6, 3], [2, 3]];

/** The plots that the runs have series for, and those whose series are zero throughout. */
function curves({ runs, rank, gpu }) {
  const known = new Set([...STEP_PARTS, "evaluation_wait_s", "evaluation_forward_s", "evaluation_other_s"]);
  CURVES.forEach(({ series }) => Object.keys(series).forEach((name) => known.add(name)));
  const names = new Set(runs.flatMap(({ profile }) => profile.series.map(({ name }) => name)));
  const others = [...names].filter((name) => !known.has(name.replace(/^gpu\d+/, "gpu#")));
  const all = [...CURVES, ...others.map((name) => ({ title: name, series: { [name]: "" } }))]
    .map((each) => ({ height: 120, ...each, title: each.title.replace("#", gpu), lines: lines(each, runs, rank, gpu) }))
    .filter((each) => each.lines.length);
  const flat = (each) => each.lines.every(({ values }) => values.every((value) => value === 0));
  const moving = all.filter((each) => !flat(each)).map((each) => finished(each, runs));
  return { drawn: moving.flatMap((each) => stacked(each, runs, rank)), zero: all.filter(flat) };
}

function lines({ series }, runs, rank, gpu) {
  return runs.flatMap(({ letter, profile }) =>
    Object.entries(series).flatMap(([name, text], order) => {
      const found = find(profile, name.replace("#", gpu), rank);
      const words = [letter, text.replace("#", gpu)].filter(Boolean).join(" ");
      return found ? [{ ...found, text: words, stroke: letter ? `run-${letter}` : `line-${order}`, order }] : [];
    }),
  );
}

function find(profile, name, rank) {
  const fits = (each) => each.name === name && each.values.length && (each.rank === undefined || each.rank === rank);
  return profile.series.find(fits);
}

function finished(curve, runs) {
  const [{ profile }] = runs;
  const several = Object.keys(curve.series).length > 1;
  return {
    ...curve,
    lines: curve.lines.map((line) => ({ ...line, dash: runs.length > 1 && several ? DASHES[line.order] : [] })),
    most: curve.most?.(profile) ?? 0,
    rank: curve.lines[0].rank,
    origin: curve.lines.some(({ name }) => profile.figures[name]?.origin === "estimated") ? "estimated" : "measured",
  };
}

/** The step's curve with its parts in it; or beside it, where some steps have a length and no parts. */
function stacked(curve, runs, rank) {
  const [{ profile }] = runs;
  const stack = "step_s" in curve.series && runs.length === 1 ? stackOf(profile, rank) : null;
  if (!stack) return [curve];
  const [step] = curve.lines;
  const drawn = { ...curve, lines: [{ ...step, at_s: stack.ends, values: stack.own }], stack };
  return stack.sampled ? [curve, { ...drawn, title: "Parts of the steps that were marked" }] : [drawn];
}

/** The parts of each step as columns from its beginning to its end, and where evaluation lay between them. */
function stackOf(profile, rank) {
  const step = find(profile, "step_s", rank);
  const parts = STEP_PARTS.map((part) => ({ part, ...find(profile, part, rank) })).filter((each) => each.values);
  if (!parts.length) return null;
  const { at_s: ends } = parts[0];
  const { training_s: inTraining, steps } = profile.ranks.find((each) => each.rank === rank)?.figures ?? {};
  const own = ends.map((_, i) => sum(parts.map(({ values }) => values[i])));
  const sampled = ends.length !== step.at_s.length;
  // Where a point is the mean of many steps, a step's own beginning is not known: the columns then join up.
  const whole = !sampled && inTraining && Math.abs(sum(own) / inTraining.value - 1) < 0.02;
  const starts = whole ? ends.map((end, i) => Math.max(ends[i - 1] ?? 0, end - own[i])) : joined(ends, own);
  const pauses = profile.series.filter((each) => each.name.startsWith("evaluation_") && each.rank === rank);
  const pause = (start, i) => [start - sum(pauses.map((each) => each.values[i])), start];
  const between = starts.map(pause).filter(([from, to]) => to > from);
  const evaluation = whole ? [...between, ...tail(profile, pauses, ends)] : [];
  const each = steps && !sampled ? Math.round(steps.value / ends.length) : 1;
  return { parts, own, starts, ends, sampled, evaluation, each };
}

/** Beginnings that join up with the ends before them, except over what is plainly a pause. */
function joined(ends, own) {
  const gaps = ends.slice(1).map((end, i) => end - ends[i]);
  const usual = gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
  return ends.map((end, i) => (end - ends[i - 1] <= 4 * usual ? ends[i - 1] : end - Math.max(usual, own[i])));
}

/** The evaluation after the last step, if that is nearly all that came before the run's ending. */
function tail({ parts, figures }, pauses, ends) {
  if (!parts.evaluation_s || !parts.ending_s || !figures.duration_s) return [];
  const [from, to] = [ends.at(-1), figures.duration_s.value - parts.ending_s.value];
  const left = parts.evaluation_s.value - sum(pauses.flatMap(({ values }) => values));
  return left > 0.8 * (to - from) ? [[from, to]] : [];
}
