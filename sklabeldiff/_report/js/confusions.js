// Which labels are taken for which: the most frequent pairs, and a table in shades.

const STRONG = 0.68; // from this shade on, text of the other colour is easier to read
const BRIEF = 4; // characters of names that need not be turned

function drawConfusions() {
  const { classes: chosen, pairs } = data.confusions;
  find("confusions-note").textContent = confusionsNote(chosen.length);
  if (pairs.length) find("pairs").append(pairList(pairs));
  const longest = Math.max(...chosen.map((j) => classes[j].length));
  find("matrix").classList.toggle("brief", longest <= BRIEF);
  const lines = chosen.map((_, i) => matrixRow(i));
  find("matrix").append(matrixHead(chosen), make("tbody", {}, ...lines));
}

function confusionsNote(nShown) {
  const sentences = [
    "Expected number of rows: a row counts as one, shared evenly among its given labels,",
    "and among classes by how much they are believed. Unlabelled rows do not count.",
    "Choose a pair or a cell to see its rows.",
  ];
  if (nShown < classes.length) {
    sentences.push(`The table shows the ${nShown} most confused of ${whole(classes.length)} classes.`);
  }
  return sentences.join(" ");
}

function pairList(pairs) {
  const lines = pairs.map(([given, believed, count]) => {
    const props = { type: "button", class: "link", on: { click: () => showPair(given, believed) } };
    const button = make("button", props, bdi(classes[given]), " → ", bdi(classes[believed]));
    return make("li", {}, make("span", { class: "number", text: digits(count, 1) }), button);
  });
  const label = "Most frequent confusions, given → believed";
  return make("ol", { class: "pairs", "aria-label": label }, ...lines);
}

function matrixHead(chosen) {
  const corner = make("td", { class: "corner", text: "given ↓ believed →" });
  const heads = chosen.map((k) => make("th", { scope: "col", title: classes[k] }, bdi(classes[k])));
  return make("thead", {}, make("tr", {}, corner, ...heads));
}

function matrixRow(i) {
  const { classes: chosen, counts, totals } = data.confusions;
  const given = chosen[i];
  const head = make("th", { scope: "row", title: classes[given] }, bdi(classes[given]));
  const cells = chosen.map((k, column) => matrixCell(counts[i][column], totals[i], given, k));
  return make("tr", {}, head, ...cells);
}

function matrixCell(count, total, given, believed) {
  // The root: a twentieth of a class matters, and would not be seen beside the diagonal.
  const shade = total ? Math.min(Math.sqrt(count / total), 1) : 0;
  const kind = [shade >= STRONG && "strong", given === believed && "diagonal"];
  const cell = make("td", {
    class: kind.filter(Boolean).join(" "),
    text: shortCount(count),
    title: `given ${classes[given]}, believed ${classes[believed]}: ${digits(count, 2)}`,
    on: { click: () => showPair(given, believed) },
  });
  cell.style.setProperty("--shade", shade);
  return cell;
}

function shortCount(count) {
  if (count < 0.05) return "";
  return count < 10 ? digits(count, 1) : whole(Math.round(count));
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
