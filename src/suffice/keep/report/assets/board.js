// All plots over the run's seconds. They share one view: a zoom or a cursor in one is a zoom or a cursor in all.

const HELP = "Drag across a plot to zoom in, double-click to see the whole run. With the keyboard: arrows, + and -, 0.";

class Board {
  constructor(runs) {
    const series = runs.flatMap(({ profile }) => profile.series);
    const durations = runs.map(({ profile }) => profile.figures.duration_s?.value ?? 0);
    this.runs = runs;
    this.end = Math.max(1e-3, ...durations, ...series.map((each) => each.at_s.at(-1) ?? 0));
    this.view = [0, this.end];
    this.plots = [];
    this.ranks = Board.sorted(series.map(({ rank }) => rank));
    this.gpus = Board.sorted(series.map(({ name }) => name.match(/^gpu(\d+)_/)?.[1]));
    [this.rank] = this.ranks;
    [this.gpu] = this.gpus;
    const name = "Plots over the run's seconds";
    this.holder = h("div.plots", {
      tabindex: "0",
      role: "group",
      "aria-label": name,
      keydown: (event) => this.key(event),
    });
    this.zero = h("p.aside");
    this.reset = h("button", { type: "button", hidden: "", click: () => this.show(0, this.end) }, "Whole run");
  }

  static sorted(found) {
    return [...new Set(found)]
      .filter((each) => each !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
  }

  section() {
    const tools = h("div.tools", this.reset, this.pick("rank"), this.pick("gpu"));
    const head = h("div.with-tools", h("h2", { id: "time" }, "Over time"), tools);
    return h("section", { "aria-labelledby": "time" }, head, this.holder, h("p.aside.screen", HELP), this.zero);
  }

  /** A choice among ranks or GPUs, where there are several. */
  pick(what) {
    const values = this[`${what}s`];
    const change = ({ target }) => {
      this[what] = Number(target.value);
      this.draw();
    };
    const options = values.map((value) => h("option", { value }, String(value)));
    return values.length > 1 && h("label", what === "gpu" ? "GPU " : "rank ", h("select", { change }, options));
  }

  /** Build every plot anew: at first, and when another rank or GPU is picked. */
  draw() {
    this.plots.forEach(({ plot }) => plot.destroy());
    this.holder.replaceChildren();
    html.dataset.drawn = "0";
    const found = curves(this);
    this.plots = found.drawn.map((curve) => drawn(this, curve));
    html.dataset.plots = String(this.plots.length);
    const flat = found.zero.map(({ title }) => title.toLowerCase()).join(", ");
    this.zero.textContent = flat && `Zero throughout, and so not drawn: ${flat}.`;
    this.show(...this.view);
  }

  /** Show these seconds in every plot. */
  show(from, to) {
    if (this.moving) return;
    this.moving = true;
    this.view = [Math.max(0, from), Math.min(this.end, Math.max(to, from + this.end / 1e5))];
    this.plots.forEach(({ plot }) => plot.setScale("x", { min: this.view[0], max: this.view[1] }));
    this.reset.hidden = this.view[0] <= 0 && this.view[1] >= this.end;
    // uPlot tells of new scales at the end of this turn, and what it tells then is our own doing.
    queueMicrotask(() => {
      this.moving = false;
    });
  }

  key(event) {
    const [from, to] = this.view;
    const width = to - from;
    const left = Math.max(-from, -width / 5);
    const right = Math.min(this.end - to, width / 5);
    const views = {
      ArrowLeft: [from + left, to + left],
      ArrowRight: [from + right, to + right],
      "+": [from + width / 4, to - width / 4],
      "-": [from - width / 2, to + width / 2],
      0: [0, this.end],
    };
    if (!(event.key in views)) return;
    this.show(...views[event.key]);
    event.preventDefault();
  }

  resize(fixed) {
    for (const { plot, curve, frame } of this.plots) {
      const width = fixed ?? frame.clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: curve.height });
    }
  }
}
