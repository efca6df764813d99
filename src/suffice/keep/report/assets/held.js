// What holds a run up: the diagnosis in a sentence, and each finding with the most that curing it could gain.

function heldSection(runs) {
  const told = runs.map(({ letter }, i) => [letter, about.held_up[i]]).filter(([, held]) => held);
  if (!told.length) return null;
  const parts = told.flatMap(([letter, { sentence: text, rows }]) => [
    h("p.diagnosis", mark(letter), capital(sentence(text))),
    rows.length > 0 && findings(rows),
  ]);
  return section("held", "What holds it up", parts);
}

function findings(rows) {
  const row = ([name, bound, cure]) =>
    h("tr", h("th", { scope: "row" }, name), h("td.n", bound), h("td.wide", capital(cure)));
  return table(["Finding", ["Curing it gains", "n"], ["What to do", "wide"]], rows.map(row), "findings");
}
