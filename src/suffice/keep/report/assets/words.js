// Numbers, units and elements. All text goes in as text: nothing on this page is ever parsed as markup.

const html = document.documentElement;

function fault(what) {
  html.dataset.errors += `${what}\n`;
}
window.addEventListener("error", (event) => fault(event.message));
window.addEventListener("unhandledrejection", (event) => fault(String(event.reason)));
window.addEventListener("securitypolicyviolation", (event) => fault(`blocked: ${event.blockedURI}`));

/** An element: `h("p.aside", { title: "…" }, "text", child, …)`; the attributes may be left out. */
function h(name, ...rest) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  const given = rest[0]?.constructor === Object;
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(given ? rest.shift() : {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "css") Object.entries(value).forEach(([each, style]) => element.style.setProperty(each, style));
    else if (key === "class") element.classList.add(...(value || "").split(" ").filter(Boolean));
    else element.setAttribute(key, value);
  }
  element.append(...rest.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const NARROW = "\u202f";
const PREFIXES = { n: 1e-9, µ: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };
const ladder = (unit, ...prefixes) => prefixes.map((prefix) => [PREFIXES[prefix], `${prefix}${unit}`]);
const LADDERS = {
  s: ladder("s", "n", "µ", "m", ""),
  J: ladder("J", "m", "", "k", "M", "G"),
  W: ladder("W", "m", "", "k", "M"),
  Wh: ladder("Wh", "µ", "m", "", "k", "M"),
  FLOP: ladder("FLOP", "", "k", "M", "G", "T", "P"),
  B: ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].map((name, i) => [2 ** (10 * i), name]),
  gCO2e: [...ladder("g CO₂e", "µ", "m", "", "k"), [1e6, "t CO₂e"]],
};
const MULTIPLES = { MiB: ["B", 2 ** 20], GiB: ["B", 2 ** 30] };

/** A number to `count` significant digits, never fewer than its whole part has unless `rough`, `most` decimals. */
function digits(value, count = 3, rough = false, most = 12) {
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -6) return value.toPrecision(count);
  const rounded = rough ? Number(value.toPrecision(count)) : value;
  const [whole, part] = rounded.toFixed(Math.min(most, Math.max(0, count - 1 - size))).split(".");
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, NARROW) : whole;
  return part === undefined ? grouped : `${grouped}.${part}`;
}

/** The factor and the name of the unit in which a value of that size reads best. */
function scaleOf(size, unit) {
  const [base, per] = unit.split(/\/(.*)/s);
  const [root, times] = MULTIPLES[base] ?? [base, 1];
  const rungs = LADDERS[root];
  if (!rungs) return [1, unit === "1" ? "" : unit];
  const found = rungs.findLast(([factor]) => Math.abs(size) * times >= 0.9995 * factor) ?? rungs[0];
  const [factor, name] = size === 0 ? rungs.find(([each]) => each === 1) : found;
  return [factor / times, per ? `${name}/${per}` : name];
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %".replaceAll(" ", NARROW);
  return `${(100 * share).toFixed(1)}${NARROW}%`;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours} h ${two(minutes)} min` : `${minutes} min ${two(rest)} s`;
}

/** A value with its unit; `size` is the value whose scale it shares, `count` its significant digits. */
function quantity(value, unit, { size = value, count = 3, rough = false } = {}) {
  if (value === null || value === undefined) return "–";
  if (unit === "share") return percent(value);
  if (unit === "s" && size >= 120 && (value >= 120 || value === size)) return clock(value);
  if (unit === "s" && size >= 120) return `${digits(value, count)}\u00a0s`;
  if (["steps", "samples", "batches", "tokens"].includes(unit)) return `${digits(value, 1)}\u00a0${unit}`;
  if (unit === "loss") return digits(value, count, rough);
  const [factor, name] = scaleOf(size, unit);
  // Beside a larger value, digits that are far below its own say nothing.
  const most = size === value ? undefined : Math.max(0, count + 1 - Math.floor(Math.log10(Math.abs(size / factor))));
  return `${digits(value / factor, count, rough, most)}${name === "%" ? NARROW : "\u00a0"}${name}`.trimEnd();
}

// The digits of an estimate would claim more than it knows.
function precision({ origin }) {
  return origin === "estimated" ? { count: 2, rough: true } : { count: 3, rough: false };
}

function ofFigure(figure, value = figure.value, size = figure.value) {
  return quantity(value, figure.unit, { size, ...precision(figure) });
}

function hasRange(figure) {
  return figure.low !== undefined && figure.high !== undefined;
}

function range(figure) {
  return hasRange(figure) ? `${ofFigure(figure, figure.low)} to ${ofFigure(figure, figure.high)}` : "";
}

function sentence(text) {
  const spaced = text.replace(/(\d) ?%/g, `$1${NARROW}%`);
  return /[.!?]$/.test(spaced) ? spaced : `${spaced}.`;
}

function capital(text) {
  return text.replace(/^./, (letter) => letter.toUpperCase());
}

function mark(letter) {
  return letter && h("span", { class: `letter ${letter}` }, letter);
}

function day(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.valueOf()) || !/^\d{4}-\d\d-\d\d/.test(iso)) return iso;
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
}

function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.valueOf()) ? iso : `${day(iso)}, ${date.toISOString().slice(11, 16)} UTC`;
}

function badge(figure) {
  const kind = figure.origin.replace(" ", "-");
  return h("span", { class: `badge ${kind}`, title: figure.method }, figure.origin);
}

/** How a figure was come by, folded away behind a word. */
function how(figure) {
  const dated = [figure.source, figure.date && day(figure.date)].filter(Boolean).join(", ");
  if (!figure.method && !dated) return null;
  return h("details.how", h("summary", "how"), h("p", [figure.method, dated].filter(Boolean).join(". ")));
}

function sum(values) {
  return values.reduce((a, b) => a + b, 0);
}

function total(figures) {
  return sum(Object.values(figures).map(({ value }) => value));
}

function command(profile) {
  const plain = /^[\w@%+=:,./-]+$/;
  return profile.target.command
    .map((word) => (plain.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`))
    .join(" ");
}

function section(id, title, ...children) {
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
}

/** A table; a head is a text or [text, class], rows are elements. */
function table(heads, rows, kind) {
  const head = (each) => (Array.isArray(each) ? h("th", { class: each[1] }, each[0]) : h("th", each));
  const bodies = rows[0]?.tagName === "TBODY" ? rows : h("tbody", rows);
  return h("div.scroll", h("table", { class: kind }, h("thead", h("tr", heads.map(head))), bodies));
}
