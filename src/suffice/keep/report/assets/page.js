// The page, from the data that it holds. A section that fails leaves the others standing, and says so.

const held = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
const about = held("about");
// The width in pixels that an A4 sheet has between its margins.
const PAPER = 680;

function guarded(name, make) {
  try {
    return make();
  } catch (error) {
    fault(`${name}: ${error.message}`);
    return h("p.aside", `${name}: this part of the page could not be drawn (${error.message}).`);
  }
}

function main() {
  const profiles = [held("profile"), held("other")].filter(Boolean);
  const two = profiles.length > 1;
  const runs = profiles.map((profile, i) => ({ profile, letter: two ? "AB"[i] : null }));
  const board = new Board(runs);
  const ofRuns = {
    "the head": () => headSection(runs),
    "the warnings": () => warnings(runs),
    "the totals": () => (two ? compareSection(runs, held("comparison")) : tiles(runs[0])),
    "the run": () => runSection(runs),
    "the step": () => stepSection(runs),
    "what holds it up": () => heldSection(runs),
  };
  const search = held("search");
  const sections = {
    ...(search ? searchSections(search, runs) : ofRuns),
    "the plots": () => runs.some(({ profile }) => profile.series.length) && board.section(),
    "the loaders": () => loaderSection(runs),
    "the notes": () => noteSection(runs),
    "the figures": () => figureSection(runs),
    "the foot": () => footSection(runs),
  };
  const root = document.getElementById("page");
  root.append(...Object.entries(sections).flatMap(([name, make]) => guarded(name, make) || []));
  guarded("the plots", () => board.draw());
  fitNames(root);
  const fit = () => {
    fitNames(root);
    board.resize();
  };
  new ResizeObserver(fit).observe(root);
  window.addEventListener("beforeprint", () => board.resize(PAPER));
  window.addEventListener("afterprint", () => board.resize());
  // Canvas keeps the colours that it was painted with.
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", () => board.plots.forEach(({ plot }) => plot.redraw()));
  }
}

main();
