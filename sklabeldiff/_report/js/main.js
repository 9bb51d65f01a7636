// Draw the page, and connect its controls.

const DECISION_KEYS = { g: KEEP, a: ACCEPT, u: UNLABELLED, c: UNDECIDED };

function onTableKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && table.open() >= 0) {
    table.toggle(table.open());
    return;
  }
  if (event.target.closest("#detail")) return; // lists there have keys of their own
  const [first, last] = table.ends();
  const actions = {
    ArrowDown: () => table.move(1), j: () => table.move(1),
    ArrowUp: () => table.move(-1), k: () => table.move(-1),
    Home: () => table.goToPlace(first), End: () => table.goToPlace(last),
    z: () => decisions.undo(),
  };
  for (const [key, code] of Object.entries(DECISION_KEYS)) {
    actions[key] = () => decisions.set([table.current()], code);
  }
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

/** A click anywhere on a row opens it, unless it decides or text is being marked. */
function onTableClick(event) {
  const row = event.target.closest("tr[data-rank]");
  if (!row) return;
  const rank = Number(row.dataset.rank);
  const quick = event.target.closest(".quick");
  if (quick) {
    const code = Number(quick.dataset.code);
    decisions.set([rank], decisions.of(rank) === code ? UNDECIDED : code);
  } else if (!String(getSelection())) {
    table.toggle(rank);
  }
}

/** Ranks that the bulk button would decide. */
function bulkRanks() {
  const least = find("bulk-least").valueAsNumber * scale;
  const isSure = (rank) => !decisions.of(rank) && confidenceOf[rank] >= least;
  return Array.from(table.order()).filter(isSure);
}

function drawBulk() {
  const ranks = bulkRanks();
  const suspects = ranks.filter(isSuspect).length;
  find("bulk-apply").textContent = `Accept for ${plural(ranks.length, "row")} (${plural(suspects, "suspect")})`;
  find("bulk-apply").disabled = !ranks.length;
}

function drawDecided() {
  const count = decisions.count();
  find("decided").textContent = count ? `${plural(count, "row")} decided of ${whole(nRows)}` : "No row decided yet";
  find("undo").disabled = !decisions.canUndo();
  find("clear").disabled = !count;
}

function connectFilters() {
  const soon = afterPause(table.refresh, 120);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("input", soon);
  find("filter-reset").addEventListener("click", () => {
    find("filters").reset();
    table.refresh();
  });
  if (data.summary.unlabelled) {
    find("filter-given").append(make("option", { value: UNKNOWN, text: "unlabelled" }));
  }
  for (const id of ["filter-given", "filter-believed"]) fillClasses(find(id));
}

function connectPager() {
  const turns = {
    "page-first": () => 0,
    "page-previous": () => table.page() - 1,
    "page-next": () => table.page() + 1,
    "page-last": () => table.nPages() - 1,
  };
  for (const [id, place] of Object.entries(turns)) {
    find(id).addEventListener("click", () => table.turn(place()));
  }
  find("page-size").addEventListener("change", () => table.turn(0));
}

function connectDecisions() {
  find("bulk").addEventListener("input", drawBulk);
  find("bulk").addEventListener("submit", (event) => {
    event.preventDefault();
    decisions.set(bulkRanks(), ACCEPT);
  });
  find("undo").addEventListener("click", () => decisions.undo());
  find("clear").addEventListener("click", () => decisions.set(decisions.decided(), UNDECIDED));
  find("download").addEventListener("submit", (event) => {
    event.preventDefault();
    download();
  });
  decisions.onChange(() => {
    table.drawDecisions();
    drawOpenDecision();
    drawDecided();
    drawBulk();
  });
}

connectFilters();
connectPager();
connectDecisions();
table.body.addEventListener("keydown", onTableKey);
table.body.addEventListener("click", onTableClick);
table.onRefresh(drawBulk);
table.drawHead();
table.refresh();
drawTiles();
drawDecided();
drawExportNote();
drawConfusions();
drawCalibration();
classTable.draw();
drawAbout();
document.documentElement.dataset.drawn = String(Math.round(performance.now()));
