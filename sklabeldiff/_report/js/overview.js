// Tiles, confusions, calibration and classes: sums that were taken when the report was
// written. Decisions do not change them.

function drawTiles() {
  const s = data.summary;
  const labelled = s.rows - s.unlabelled;
  const tiles = [
    ["Rows", whole(s.rows), `${whole(s.classes)} classes`],
    ["Candidates per row", digits(s.candidates, 2), "mean over labelled rows"],
    ["Unlabelled rows", whole(s.unlabelled), percent(s.unlabelled / s.rows)],
    ["Suspect rows", whole(s.suspects), "believed label not given", "alarm"],
    ["Labels estimated wrong", percent(s.wrong), `of ${whole(labelled)} labelled rows, if beliefs are calibrated`, "alarm"],
  ];
  if (truthOf) {
    tiles.push(["Given labels right", percent(s.givenRight), "true label among those given"]);
    tiles.push(["Believed labels right", percent(s.believedRight), "equal to the true label", "good"]);
  }
  find("tiles").append(...tiles.map(([name, value, note, kind = ""]) =>
    make("div", { class: `tile ${kind}` }, make("dt", { text: name }),
      make("dd", {}, make("strong", { text: value }), make("span", { text: note })))));
  find("subtitle").textContent = `${plural(s.rows, "row")}, ${plural(s.classes, "class", "classes")}. Beliefs are ${aboutValue("Beliefs")}.`;
}

const aboutValue = (name) => data.about.find(([key]) => key === name)[1];

function drawConfusions() {
  const { classes: chosen, pairs } = data.confusions;
  const part = chosen.length < classes.length
    ? ` The table shows the ${chosen.length} most confused of ${whole(classes.length)} classes.` : "";
  find("confusions-note").textContent = "Expected number of rows: a row counts as one, shared evenly among its given labels, and among classes by how much they are believed. Unlabelled rows do not count. Choose a pair or a cell to see its rows." + part;
  if (pairs.length) find("pairs").append(pairList(pairs));
  const longest = Math.max(...chosen.map((j) => classes[j].length));
  find("matrix").classList.toggle("brief", longest <= 4);
  find("matrix").append(matrixHead(chosen), make("tbody", {}, ...chosen.map((_, i) => matrixRow(i))));
}

function pairList(pairs) {
  const lines = pairs.map(([given, believed, count]) => make("li", {},
    make("button", { type: "button", class: "link", on: { click: () => showPair(given, believed) } },
      bdi(classes[given]), " → ", bdi(classes[believed])),
    " ", make("span", { class: "faint", text: digits(count, 1) })));
  return make("ol", { class: "pairs", "aria-label": "Most frequent confusions, given → believed" }, ...lines);
}

function matrixHead(chosen) {
  const corner = make("td", { class: "corner" }, make("span", { text: "given ↓" }), " ", make("span", { text: "believed →" }));
  const heads = chosen.map((k) => make("th", { scope: "col", title: classes[k] }, bdi(classes[k])));
  return make("thead", {}, make("tr", {}, corner, ...heads));
}

function matrixRow(i) {
  const { classes: chosen, counts, totals } = data.confusions;
  const cells = chosen.map((k, column) => matrixCell(counts[i][column], totals[i], chosen[i], k));
  return make("tr", {}, make("th", { scope: "row", title: classes[chosen[i]] }, bdi(classes[chosen[i]])), ...cells);
}

const STRONG = 0.68; // from this shade on, text of the other colour is easier to read

function matrixCell(count, total, given, believed) {
  // The root: a twentieth of a class matters, and would not be seen beside the diagonal.
  const shade = total ? Math.sqrt(count / total) : 0;
  const text = count < 0.05 ? "" : count < 10 ? digits(count, 1) : whole(Math.round(count));
  const kind = [shade >= STRONG && "strong", given === believed && "diagonal"].filter(Boolean).join(" ");
  const title = `given ${classes[given]}, believed ${classes[believed]}: ${digits(count, 2)}`;
  const cell = make("td", { class: kind, text, title, on: { click: () => showPair(given, believed) } });
  cell.style.setProperty("--shade", Math.min(shade, 1));
  return cell;
}

/** Rows that were given the one label and are believed to have the other. */
function showPair(given, believed) {
  find("filters").reset();
  find("filter-given").value = String(given);
  find("filter-believed").value = String(believed);
  table.refresh();
  find("rows").scrollIntoView();
  find("rows").focus({ preventScroll: true });
}

const PLOT = { side: 260, left: 46, top: 12, bottom: 44, right: 14 };

function drawCalibration() {
  const { againstTruth } = data.calibration;
  find("calibration-note").textContent = againstTruth
    ? "Share of rows whose believed label is the true one, by confidence. On the dashed line the confidence is what it says; below it the beliefs are too sure of themselves."
    : "Share of labelled rows whose believed label is among the given ones, by confidence. Given labels may be wrong, so a share below the dashed line can mean wrong labels as well as too much confidence.";
  const what = againstTruth ? "Believed label is true" : "Believed label is given";
  find("reliability").append(reliabilityPlot(what), reliabilityTable(what));
}

function reliabilityPlot(what) {
  const { side, left, top, bottom, right } = PLOT;
  const width = left + side + right, height = top + side + bottom;
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${what}, by confidence; the numbers are in the table beside`, class: "plot" });
  svg.append(...axisElements(what), makeSvg("line", { class: "ideal", x1: left, y1: top + side, x2: left + side, y2: top }));
  svg.append(...binElements());
  return svg;
}

function axisElements(what) {
  const { side, left, top } = PLOT;
  const lines = [0, 0.25, 0.5, 0.75, 1].flatMap((v) => {
    const x = left + v * side, y = top + (1 - v) * side;
    return [
      makeSvg("line", { class: "grid", x1: left, y1: y, x2: left + side, y2: y }),
      makeSvg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, String(v)),
      makeSvg("text", { x, y: top + side + 16, "text-anchor": "middle" }, String(v)),
    ];
  });
  const middle = top + side / 2;
  return [...lines,
    makeSvg("text", { x: left + side / 2, y: top + side + 36, "text-anchor": "middle" }, "Confidence"),
    makeSvg("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(12 ${middle}) rotate(-90)` }, what)];
}

/** A bar for each bin as wide as the bin, and a point at its mean confidence. */
function binElements() {
  const { side, left, top } = PLOT;
  const { rows, confidence, holds } = data.calibration;
  const width = side / rows.length;
  const most = Math.max(...rows, 1);
  return rows.flatMap((count, i) => {
    if (!count) return [];
    const x = left + i * width, tall = holds[i] * side;
    const bar = makeSvg("rect", { class: "bin", x: x + 1, y: top + side - tall, width: width - 2, height: tall });
    bar.append(makeSvg("title", {}, `${plural(count, "row")}: confidence ${digits(confidence[i])}, holds ${digits(holds[i])}`));
    // The point is the larger, the more rows it stands for.
    const radius = 2.5 + 4 * Math.sqrt(count / most);
    return [bar, makeSvg("circle", { class: "mean", cx: left + confidence[i] * side, cy: top + side - tall, r: radius })];
  });
}

function reliabilityTable(what) {
  const { rows, confidence, holds } = data.calibration;
  const heads = ["Confidence", "Rows", "Mean", what].map((text, i) => make("th", { scope: "col", class: i ? "number" : "", text }));
  const lines = rows.map((count, i) => make("tr", {},
    make("th", { scope: "row", text: `${digits(i / rows.length, 1)}–${digits((i + 1) / rows.length, 1)}` }),
    ...[whole(count), digits(confidence[i]), digits(holds[i])].map((text) => make("td", { class: "number", text }))));
  return make("table", { class: "small" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
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
    const keys = sort.name === "class" ? placeOfClass : data.perClass[sort.name];
    const sign = sort.descending ? -1 : 1;
    // Classes without a value come last, whichever way the rest is sorted.
    const sorted = classes.map((_, j) => j).sort((j, k) =>
      (keys[j] == null) - (keys[k] == null) || sign * (keys[j] - keys[k]) || placeOfClass[j] - placeOfClass[k]);
    find("per-class-body").replaceChildren(...sorted.map(line));
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

function drawAbout() {
  find("about-list").append(...data.about.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { dir: "auto", text: value })]));
}
