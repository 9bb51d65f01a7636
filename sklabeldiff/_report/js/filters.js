// Which rows are shown, and in which order.

const UNKNOWN = -1; // among the given labels: of an unlabelled row

/** What the reader asks for, read from the form. */
function readFilter() {
  const number = (id, otherwise) => {
    const value = find(id).valueAsNumber;
    return Number.isNaN(value) ? otherwise : value;
  };
  const choice = (id) => (find(id).value === "" ? null : Number(find(id).value));
  return {
    text: find("filter-text").value.trim().toLowerCase(),
    given: choice("filter-given"),
    believed: choice("filter-believed"),
    decision: find("filter-decision").value,
    suspects: find("filter-suspects").checked,
    // Half a digit of room: a score is shown, and typed, rounded.
    low: number("filter-low", 0) * scale - 0.5,
    high: number("filter-high", 1) * scale + 0.5,
  };
}

/** Ranks of the rows that pass, in the order of `key` (or of suspicion). */
function select(filter, sort) {
  const tests = makeTests(filter);
  const found = new Uint32Array(nRows);
  let count = 0;
  for (let rank = 0; rank < nRows; rank++) {
    if (tests.every((test) => test(rank))) found[count++] = rank;
  }
  return inOrder(found.subarray(0, count), sort);
}

function makeTests(filter) {
  const tests = [];
  if (filter.text) tests.push(textTest(filter.text));
  if (filter.given === UNKNOWN) tests.push(isUnlabelled);
  else if (filter.given !== null) {
    tests.push((rank) => !isUnlabelled(rank) && isGiven(rank, filter.given));
  }
  if (filter.believed !== null) tests.push((rank) => believedOf[rank] === filter.believed);
  if (filter.suspects) tests.push(isSuspect);
  if (filter.decision) {
    const wanted = filter.decision === "decided";
    tests.push((rank) => Boolean(decisions.of(rank)) === wanted);
  }
  tests.push((rank) => scoreOf[rank] >= filter.low && scoreOf[rank] <= filter.high);
  return tests;
}

/** The row number exactly; or a part of a label, a text or a file name. */
function textTest(text) {
  const named = classes.map((name) => name.toLowerCase().includes(text));
  const setNamed = sets.map((set) => set.some((j) => named[j]));
  const words = lowerCaseTexts();
  return (rank) =>
    named[believedOf[rank]] ||
    (givenOf[rank] >= 0 && setNamed[givenOf[rank]]) ||
    String(rowOf[rank]) === text ||
    Boolean(words?.[rank].includes(text));
}

/** Texts to search in, made when they are first asked for. */
const lowerCaseTexts = (() => {
  let made = null;
  return () => {
    const texts = contents.starts ?? contents.files;
    if (!made && texts) {
      made = texts.map((text, rank) => (contents.texts?.[rank] ?? text).toLowerCase());
    }
    return made;
  };
})();

function inOrder(ranks, { key, descending }) {
  if (key === null) return descending ? ranks.reverse() : ranks;
  const keys = key();
  const sign = descending ? -1 : 1;
  return ranks.sort((a, b) => sign * (keys[a] - keys[b]) || a - b);
}

/** Numbers to sort rows by, one for each rank. */
const sortKeys = {
  rank: null,
  row: () => rowOf,
  given: () => {
    const first = sets.map((set) => Math.min(...set.map((j) => placeOfClass[j])));
    return givenOf.map((set) => (set < 0 ? classes.length : first[set]));
  },
  believed: () => believedOf.map((j) => placeOfClass[j]),
  truth: () => truthOf.map((j) => (j < 0 ? classes.length : placeOfClass[j])),
  confidence: () => confidenceOf,
  score: () => scoreOf,
  agreeing: () => agreeingOf,
  decision: () => rowOf.map((_, rank) => decisions.of(rank)),
};
