// The data of the page. A row is known by its rank: 0 is the most suspicious.

const data = JSON.parse(find("data").textContent);
const { scale, classes, contents } = data;
const nRows = data.rows.row.length;
const nNeighbours = data.nNeighbours;

// Typed arrays: sorting a hundred thousand rows reads them some million times.
const rowOf = Int32Array.from(data.rows.row);
const givenOf = Int32Array.from(data.rows.given);
const believedOf = Int32Array.from(data.rows.believed);
const confidenceOf = Int32Array.from(data.rows.confidence);
const scoreOf = Int32Array.from(data.rows.score);
const agreeingOf = nNeighbours ? Int32Array.from(data.rows.agreeing) : null;
const truthOf = data.rows.truth ? Int32Array.from(data.rows.truth) : null;
const rankOf = new Int32Array(nRows);
rowOf.forEach((row, rank) => { rankOf[row] = rank; });

const sets = data.rows.sets;
const setHas = sets.map((set) => new Set(set));

/** Position of each class when names are sorted as people do: 2 before 10. */
const placeOfClass = (() => {
  const collator = new Intl.Collator("en", { numeric: true });
  const sorted = classes.map((_, j) => j);
  sorted.sort((j, k) => collator.compare(classes[j], classes[k]) || j - k);
  const place = new Int32Array(classes.length);
  sorted.forEach((j, position) => { place[j] = position; });
  return place;
})();

const isUnlabelled = (rank) => givenOf[rank] < 0;
const isGiven = (rank, j) => isUnlabelled(rank) || setHas[givenOf[rank]].has(j);
const isSuspect = (rank) => !isGiven(rank, believedOf[rank]);
const givenClasses = (rank) => (isUnlabelled(rank) ? [] : sets[givenOf[rank]]);

/** Classes of a row whose belief is known, the most believed first: [class, belief]. */
function beliefsOf(rank) {
  const start = rank * data.perRow;
  return Array.from({ length: data.perRow }, (_, i) => [
    data.rows.shown[start + i],
    data.rows.beliefs[start + i] / scale,
  ]);
}

/** Ranks of the nearest rows, the nearest first. */
function neighboursOf(rank) {
  const start = rank * nNeighbours;
  return data.rows.neighbours?.slice(start, start + nNeighbours).map((row) => rankOf[row]) ?? [];
}

/** Short text of a row: the beginning of its text, or the name of its file. */
function shortText(rank) {
  return contents.starts?.[rank] ?? contents.files?.[rank].split(/[\\/]/).pop() ?? "";
}
