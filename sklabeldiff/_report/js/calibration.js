// Can the confidence be trusted? A drawing, and the same numbers as a table.

const PLOT = { side: 260, left: 46, top: 12, bottom: 44, right: 14 };
const TICKS = [0, 0.25, 0.5, 0.75, 1];
const AGAINST_TRUTH =
  "Share of rows whose believed label is the true one, by confidence. On the dashed line " +
  "the confidence is what it says; below it the beliefs are too sure of themselves.";
const AGAINST_GIVEN =
  "Share of labelled rows whose believed label is among the given ones, by confidence. " +
  "Given labels may be wrong, so a share below the dashed line can mean wrong labels as " +
  "well as too much confidence.";

function drawCalibration() {
  const { againstTruth } = data.calibration;
  const what = againstTruth ? "Believed label is true" : "Believed label is given";
  find("calibration-note").textContent = againstTruth ? AGAINST_TRUTH : AGAINST_GIVEN;
  find("reliability").append(reliabilityPlot(what), reliabilityTable(what));
}

function reliabilityPlot(what) {
  const { side, left, top, bottom, right } = PLOT;
  const svg = makeSvg("svg", {
    viewBox: `0 0 ${left + side + right} ${top + side + bottom}`,
    role: "img",
    "aria-label": `${what}, by confidence; the numbers are in the table beside`,
    class: "plot",
  });
  const ideal = { class: "ideal", x1: left, y1: top + side, x2: left + side, y2: top };
  svg.append(...axisElements(what), makeSvg("line", ideal), ...binElements());
  return svg;
}

function axisElements(what) {
  const { side, left, top } = PLOT;
  const turned = `translate(12 ${top + side / 2}) rotate(-90)`;
  const middle = { "text-anchor": "middle" };
  return [
    ...TICKS.flatMap(tickElements),
    makeSvg("text", { ...middle, x: left + side / 2, y: top + side + 36 }, "Confidence"),
    makeSvg("text", { ...middle, x: 0, y: 0, transform: turned }, what),
  ];
}

function tickElements(value) {
  const { side, left, top } = PLOT;
  const x = left + value * side, y = top + (1 - value) * side;
  return [
    makeSvg("line", { class: "grid", x1: left, y1: y, x2: left + side, y2: y }),
    makeSvg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, String(value)),
    makeSvg("text", { x, y: top + side + 16, "text-anchor": "middle" }, String(value)),
  ];
}

/** A bar for each bin as wide as the bin, and a point at its mean confidence. */
function binElements() {
  const { side, left, top } = PLOT;
  const { rows, confidence, holds } = data.calibration;
  const width = side / rows.length;
  const most = Math.max(...rows, 1);
  return rows.flatMap((count, i) => {
    if (!count) return [];
    const y = top + (1 - holds[i]) * side;
    const bar = { class: "bin", x: left + i * width + 1, y, width: width - 2, height: holds[i] * side };
    // The point is the larger, the more rows it stands for.
    const r = 2.5 + 4 * Math.sqrt(count / most);
    const point = { class: "mean", cx: left + confidence[i] * side, cy: y, r };
    return [makeSvg("rect", bar), makeSvg("circle", point)];
  });
}

function reliabilityTable(what) {
  const { rows, confidence, holds } = data.calibration;
  const heads = ["Confidence", "Rows", "Mean", what].map((text, i) =>
    make("th", { scope: "col", class: i ? "number" : "", text }));
  const lines = rows.map((count, i) => {
    const bin = `${digits(i / rows.length, 1)}–${digits((i + 1) / rows.length, 1)}`;
    const values = [whole(count), digits(confidence[i]), digits(holds[i])];
    const cells = values.map((text) => make("td", { class: "number", text }));
    return make("tr", {}, make("th", { scope: "row", text: bin }), ...cells);
  });
  const head = make("thead", {}, make("tr", {}, ...heads));
  return make("table", { class: "small" }, head, make("tbody", {}, ...lines));
}
