// One plot: its scales and axes, its paint, and the words above it.

const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30];
const MINUTES = [1, 2, 5, 10, 20, 30, 60, 120, 240, 720, 1440].map((minutes) => 60 * minutes);
const BINARY = Array.from({ length: 80 }, (_, i) => 2 ** (i - 30));

// The least width of a column in pixels.
const COLUMN = 3;
const HIDDEN = { paths: () => null, points: { show: false } };

function css(name) {
  return getComputedStyle(html).getPropertyValue(`--${name}`).trim();
}

/** The top of an axis that a few slow steps would otherwise flatten the rest of. */
function ceiling(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const [usual, most] = [sorted[Math.floor(0.95 * (sorted.length - 1))] ?? 0, sorted.at(-1) ?? 0];
  return most > 2.5 * usual && usual > 0 ? 1.5 * usual : most;
}

function yRange({ floating, clipped, most }) {
  return (plot, low, high) => {
    if (low === null || high === null) return [0, 1];
    const pad = 0.08 * (high - low) || Math.abs(high) / 10 || 1;
    if (floating) return [low - pad, high + pad];
    const [first, last] = plot.series[0].idxs ?? [0, plot.data[0].length - 1];
    const top = clipped ? ceiling(plot.data.slice(1).flatMap((values) => values.slice(first, last + 1))) : high;
    return [0, Math.max(1.08 * top, most) || 1];
  };
}

function ticksOfTime(plot, seconds) {
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (plot.scales.x.max <= 180) return seconds.map((s) => `${Number(s.toFixed(3))} s`);
  const short = (s) => `${Math.floor(s / 60)}:${two(s % 60)}`;
  return seconds.map((s) => (s < 3600 ? short(s) : `${Math.floor(s / 3600)}:${two((s % 3600) / 60)}:${two(s % 60)}`));
}

function ticksOf(unit) {
  return (plot, values) => {
    if (unit === "share") return values.map((value) => `${Number((100 * value).toPrecision(3))}${NARROW}%`);
    const [factor, name] = scaleOf(Math.max(...values.map(Math.abs)), unit);
    const shown = ["loss", "processors"].includes(name) ? "" : `\u00a0${name}`;
    return values.map((value) => `${Number((value / factor).toPrecision(4))}${shown}`);
  };
}

function axes(unit) {
  const axis = {
    stroke: () => css("muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: () => css("line"), width: 1 },
    ticks: { show: false },
  };
  const binary = /^(B|MiB|GiB)(\/|$)/.test(unit) && { incrs: BINARY };
  return [
    { ...axis, incrs: [...SECONDS, ...MINUTES], values: ticksOfTime, size: 28, space: 70 },
    { ...axis, values: ticksOf(unit), size: 66, space: 34, ...binary },
  ];
}

function stroked(line, alone) {
  return {
    stroke: () => css(line.stroke),
    width: 1.5,
    dash: line.dash,
    spanGaps: true,
    points: { show: line.values.length < 3 },
    fill: alone ? () => css(`${line.stroke}-fill`) || "transparent" : undefined,
  };
}

/** Draw a curve on the board; returns what the board needs to move it. */
function drawn(board, curve) {
  const { lines: each, stack } = curve;
  const legend = legendOf(curve);
  const frame = h("div.frame", { role: "img", "aria-label": spoken(curve) });
  const about = [curve.rank !== undefined && board.ranks.length > 1 && `rank ${curve.rank}`, curve.aside];
  const title = h("span.title", curve.title, h("small", ` ${about.filter(Boolean).join(", ")}`));
  board.holder.append(h("figure.plot", h("figcaption", title, badge(curve), legend.element), frame));
  const alone = each.length === 1 && !curve.floating;
  const plot = new uPlot(
    {
      width: Math.max(200, frame.clientWidth),
      height: curve.height,
      legend: { show: false },
      cursor: { sync: { key: "run" }, points: { show: !stack, size: 6 }, y: false, bind: { dblclick: whole(board) } },
      scales: { x: { time: false }, y: { range: yRange(curve) } },
      axes: axes(each[0].unit),
      series: [{}, ...each.map((line) => (stack ? HIDDEN : stroked(line, alone)))],
      hooks: {
        drawAxes: stack ? [(self) => paint(self, stack)] : [],
        draw: [(self) => count(frame, legend, self)],
        setCursor: [(self) => legend.pointed(self)],
        setScale: [(self, key) => key === "x" && board.show(self.scales.x.min, self.scales.x.max)],
      },
    },
    uPlot.join(each.map((line) => [line.at_s, line.values])),
    frame,
  );
  return { plot, curve, frame };
}

function whole(board) {
  return () => () => {
    board.show(0, board.end);
    return null;
  };
}

function count(frame, legend, plot) {
  legend.told(plot);
  if (frame.dataset.drawn) return;
  frame.dataset.drawn = "yes";
  html.dataset.drawn = String(Number(html.dataset.drawn) + 1);
}

function spoken({ title, lines: each }) {
  const ends = ({ values, unit }) => [Math.min(...values), Math.max(...values)].map((value) => quantity(value, unit));
  const one = (line) => `${line.text} ${line.values.length} points, ${ends(line).join(" to ")}`.trim();
  return `${title}: ${each.map(one).join("; ")}`;
}

/** What is in view as at most `room` columns, each the mean of as many steps as that takes; none spans a pause. */
function columns({ parts, starts, ends }, { min, max }, room) {
  const [first, last] = [ends.findIndex((end) => end >= min), starts.findLastIndex((start) => start <= max)];
  const size = Math.max(1, Math.ceil((last - first + 1) / room));
  const found = [];
  for (let i = first; i >= 0 && i <= last;) {
    let next = i + 1;
    while (next <= last && next < i + size && starts[next] - ends[next - 1] < (max - min) / room) next += 1;
    const means = parts.map(({ values }) => sum(values.slice(i, next)) / (next - i));
    found.push({ from: starts[i], to: ends[next - 1], means });
    i = next;
  }
  return { found, size };
}

function paint(plot, stack) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const x = (seconds) => Math.round(plot.valToPos(seconds, "x", true));
  const y = (seconds) => plot.valToPos(seconds, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.fillStyle = css("evaluation-wash");
  for (const [from, to] of stack.evaluation) ctx.fillRect(x(from), top, Math.max(1, x(to) - x(from)), height);
  const paints = stack.parts.map(({ part }) => css(part.replace(/_s$/, "")));
  const { found, size } = columns(stack, plot.scales.x, plot.width / COLUMN);
  for (const { from, to, means } of found) {
    let floor = 0;
    means.forEach((mean, i) => {
      ctx.fillStyle = paints[i];
      ctx.fillRect(x(from), y(floor + mean), Math.max(1, x(to) - x(from)), y(floor) - y(floor + mean));
      floor += mean;
    });
  }
  ctx.restore();
  stack.mean = size * stack.each;
}

/** The words above a plot: means, or first and last, while nothing is pointed at; else the values there. */
function legendOf(curve) {
  const { lines: each, stack, floating, clipped } = curve;
  const parts = stack?.parts.map(({ part, ...series }) => ({ ...series, text: label(part), paint: colour(part) }));
  const shown = parts ?? each.map((line) => ({ ...line, paint: `var(--${line.stroke})` }));
  const outputs = shown.map(() => h("output"));
  const [when, extra] = [h("span.when"), h("span")];
  const key = (line) => h("span.swatch", { class: line.dash?.length && "dashed", css: { background: line.paint } });
  const item = (line, i) => h("span", line.text && [key(line), line.text, " "], outputs[i]);
  const mean = ({ values, unit }) => quantity(sum(values) / values.length, unit);
  const ends = ({ values, unit }) => [values[0], values.at(-1)].map((value) => quantity(value, unit)).join(" to ");
  const at = (s) => (line) => quantity(line.values[line.at_s.findIndex((each) => each >= s)], line.unit);
  const say = (moment, text) => {
    when.textContent = moment;
    shown.forEach((line, i) => outputs[i].replaceChildren(text(line)));
  };
  const idle = () => (floating ? say("first to last", ends) : say("mean", mean));
  idle();
  return {
    element: h("span.legend", when, shown.map(item), extra),
    pointed({ cursor: { idx }, data }) {
      if (idx === null || idx === undefined) return idle();
      return say(`at ${quantity(data[0][idx], "s")}`, at(data[0][idx]));
    },
    told({ scales }) {
      const all = clipped ? each.flatMap(({ values }) => values) : [];
      const beyond = all.filter((value) => value > scales.y.max);
      const most = quantity(Math.max(...beyond), each[0].unit);
      const said = [
        beyond.length && `${beyond.length} beyond the axis, up to ${most}`,
        stack?.mean > 1 && `a column is the mean of about ${stack.mean} ${stack.sampled ? "points" : "steps"}`,
        stack?.evaluation.length && "shaded: evaluation",
      ];
      extra.textContent = said.filter(Boolean).join("; ");
    },
  };
}
