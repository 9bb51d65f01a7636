// What the reader decides. One number per row: 0 nothing, 1 to 3 below, from CHOSEN on
// a class. They are kept where the browser allows it, under the digest of the data.

const UNDECIDED = 0, KEEP = 1, ACCEPT = 2, UNLABELLED = 3, CHOSEN = 4;

const decisions = (() => {
  const key = `sklabeldiff-report-${data.digest}`;
  const codes = load();
  const earlier = []; // [[rank, code before], ...] of each step, for undo
  const watchers = [];
  let unsaved = false;

  function load() {
    const found = new Int32Array(nRows);
    try {
      const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
      for (const [rank, code] of kept) {
        const known = Number.isInteger(code) && code > 0 && code < CHOSEN + classes.length;
        if (known && rank < nRows) found[rank] = code;
      }
    } catch {
      // No storage, or nothing readable in it: begin afresh.
    }
    return found;
  }

  function save() {
    if (!unsaved) return; // the page may stand open twice, and this one be the older
    unsaved = false;
    const kept = decided().map((rank) => [rank, codes[rank]]);
    try {
      if (kept.length) localStorage.setItem(key, JSON.stringify(kept));
      else localStorage.removeItem(key);
    } catch {
      // Full or forbidden: decisions live as long as the page.
    }
  }
  const saveSoon = afterPause(save, 300);
  addEventListener("pagehide", save); // what the pause has not let through

  /** Ranks of the decided rows. */
  function decided() {
    const found = [];
    for (let rank = 0; rank < nRows; rank++) if (codes[rank]) found.push(rank);
    return found;
  }

  const count = () => codes.reduce((sum, code) => sum + (code ? 1 : 0), 0);

  /** Decide the same about some rows. */
  function set(ranks, code) {
    const step = [];
    for (const rank of ranks) {
      if (codes[rank] === code) continue;
      step.push([rank, codes[rank]]);
      codes[rank] = code;
    }
    if (step.length) {
      earlier.push(step);
      changed();
    }
  }

  /** Take the last step back. */
  function undo() {
    const step = earlier.pop() ?? [];
    for (const [rank, code] of step) codes[rank] = code;
    if (step.length) changed();
  }

  function changed() {
    unsaved = true;
    saveSoon();
    for (const watcher of watchers) watcher();
  }

  return {
    set, undo, decided, count,
    of: (rank) => codes[rank],
    canUndo: () => earlier.length > 0,
    onChange: (watcher) => watchers.push(watcher),
  };
})();

/** Name of a decision in the export, and in the filter. */
function decisionName(code) {
  return ["", "keep", "accept", "unlabelled"][code] ?? "choose";
}

/** Classes of a row once its decision is carried out; none if it is unlabelled. */
function correctedClasses(rank) {
  const code = decisions.of(rank);
  if (code === ACCEPT) return [believedOf[rank]];
  if (code === UNLABELLED) return [];
  return code >= CHOSEN ? [code - CHOSEN] : givenClasses(rank);
}

/** What a decision means, for the reader: nodes. */
function decisionNodes(rank) {
  const code = decisions.of(rank);
  if (code === UNDECIDED) return [""];
  if (code === KEEP) return ["✓ kept"];
  if (code === UNLABELLED) return ["? unlabelled"];
  return ["→ ", bdi(classes[correctedClasses(rank)[0]])];
}
