// The corrected labels as a file: RFC 4180, UTF-8. How labels are spelt was decided when
// the report was written, so that no cell is taken for a formula or loses its type.

const CSV_COLUMNS = ["row", "given", "believed", "confidence", "score", "decision", "corrected"];
const CSV_NAME = "corrected_labels.csv";

/** Labels as a cell: one as it is, or nothing; or else a list in JSON, or null. */
function labelsCell(chosen) {
  const { plain, cells } = data.labels;
  if (plain) return chosen.length ? cells[chosen[0]] : "";
  return chosen.length ? `[${chosen.map((j) => cells[j]).join(", ")}]` : "null";
}

function csvLine(rank) {
  return [
    rowOf[rank],
    labelsCell(givenClasses(rank)),
    labelsCell([believedOf[rank]]),
    confidenceOf[rank] / scale,
    scoreOf[rank] / scale,
    decisionName(decisions.of(rank)),
    labelsCell(correctedClasses(rank)),
  ].map(csvCell).join(",");
}

function csvCell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The file, in the order of the rows. */
function csvText(onlyDecided) {
  const ranks = onlyDecided ? decisions.decided() : Array.from(rowOf, (_, rank) => rank);
  ranks.sort((a, b) => rowOf[a] - rowOf[b]);
  return [CSV_COLUMNS.join(","), ...ranks.map(csvLine), ""].join("\r\n");
}

function download() {
  const text = csvText(find("download-which").value === "decided");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  make("a", { href: address, download: CSV_NAME }).click();
  // Not at once: the browser may not have begun to read.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function drawExportNote() {
  const spelling = data.labels.plain
    ? "Labels are written as they are; an empty cell is an unlabelled row."
    : "Labels are written as JSON lists; null is an unlabelled row.";
  find("export-note").textContent =
    `Columns: ${CSV_COLUMNS.join(", ")}. Undecided rows keep their given labels. ${spelling}`;
}
