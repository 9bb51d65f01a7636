// Tiles, classes, and how the report was made: sums that were taken when it was written.
// Decisions do not change them.

const aboutValue = (name) => data.about.find(([key]) => key === name)[1];

function drawTiles() {
  const s = data.summary;
  const labelled = whole(s.rows - s.unlabelled);
  const tiles = [
    ["Rows", whole(s.rows), plural(s.classes, "class", "classes")],
    ["Candidates per row", digits(s.candidates, 2), "mean over labelled rows"],
    ["Unlabelled rows", whole(s.unlabelled), percent(s.unlabelled / s.rows)],
    ["Suspect rows", whole(s.suspects), "believed label not given", "alarm"],
    ["Labels estimated wrong", percent(s.wrong), `of ${labelled} labelled rows, if beliefs are calibrated`, "alarm"],
  ];
  if (truthOf) {
    tiles.push(["Given labels right", percent(s.givenRight), "true label among those given"]);
    tiles.push(["Believed labels right", percent(s.believedRight), "equal to the true label", "good"]);
  }
  find("tiles").append(...tiles.map(tileElement));
  const size = `${plural(s.rows, "row")}, ${plural(s.classes, "class", "classes")}`;
  find("subtitle").textContent = `${size}. Beliefs are ${aboutValue("Beliefs")}.`;
}

function tileElement([name, value, note, kind = ""]) {
  const content = make("dd", {}, make("strong", { text: value }), make("span", { text: note }));
  return make("div", { class: `tile ${kind}` }, make("dt", { text: name }), content);
}

function drawAbout() {
  const lines = data.about.flatMap(([name, value]) => [
    make("dt", { text: name }),
    make("dd", { dir: "auto", text: value }),
  ]);
  find("about-list").append(...lines);
}

const CLASS_COLUMNS = [
  { name: "class", title: "Class" },
  { name: "given", title: "Rows given", numeric: true, show: whole },
  { name: "believed", title: "Rows believed", numeric: true, show: whole },
  { name: "suspects", title: "Suspects", numeric: true, show: whole },
  { name: "confidence", title: "Mean confidence", numeric: true, show: digits },
  { name: "kept", title: "Given that are believed", numeric: true, show: percent },
];

const classTable = (() => {
  let sort = { name: "class", descending: false };

  function draw() {
    sortableHead(find("per-class-head"), CLASS_COLUMNS, sort, sortBy);
    find("per-class-body").replaceChildren(...sorted().map(line));
  }

  /** Classes in order; those without a value come last, whichever way that is. */
  function sorted() {
    const keys = sort.name === "class" ? placeOfClass : data.perClass[sort.name];
    const sign = sort.descending ? -1 : 1;
    return classes.map((_, j) => j).sort((j, k) =>
      (keys[j] == null) - (keys[k] == null) ||
      sign * (keys[j] - keys[k]) ||
      placeOfClass[j] - placeOfClass[k]);
  }

  function line(j) {
    const values = CLASS_COLUMNS.slice(1).map(({ name, show }) =>
      make("td", { class: "number", text: show(data.perClass[name][j]) }));
    return make("tr", {}, make("th", { scope: "row" }, bdi(classes[j])), ...values);
  }

  function sortBy(name) {
    sort = { name, descending: name === sort.name && !sort.descending };
    draw();
  }

  return { draw };
})();
