// The table of rows: sorted, filtered, in pages, and walked through by keys.

const COLUMNS = [
  { name: "rank", title: "Rank", numeric: true },
  { name: "row", title: "Row" },
  { name: "given", title: "Given" },
  { name: "believed", title: "Believed" },
  ...(truthOf ? [{ name: "truth", title: "True" }] : []),
  { name: "confidence", title: "Confidence", numeric: true, hint: "Probability of the believed label" },
  { name: "score", title: "Score", numeric: true, hint: "Probability that a given label is right: 0 is surely wrong" },
  ...(nNeighbours
    ? [{ name: "agreeing", title: "Neighbours", numeric: true, hint: "Nearest rows believed to have a label given here" }]
    : []),
  { name: "decision", title: "Decision" },
];
const SETS_SHOWN = 3; // labels of a set in a cell; its details show the rest

const table = (() => {
  const body = find("table-body");
  let order = new Uint32Array(0); // ranks that pass the filter, sorted
  let sort = { name: "rank", descending: false };
  let page = 0;
  let current = -1; // rank of the row that Tab goes to
  let open = -1; // rank of the row whose details are shown
  const watchers = [];

  const size = () => Number(find("page-size").value);
  const nPages = () => Math.max(1, Math.ceil(order.length / size()));
  const shown = () => order.subarray(page * size(), (page + 1) * size());
  const opener = (rank) => find(`open-${rank}`);

  /** Read the filter anew, and begin at the first page. */
  function refresh() {
    order = select(readFilter(), { key: sortKeys[sort.name], descending: sort.descending });
    page = 0;
    open = -1;
    draw();
    for (const watcher of watchers) watcher();
  }

  function draw() {
    const ranks = shown();
    if (!ranks.includes(current)) current = ranks[0] ?? -1;
    body.replaceChildren(...Array.from(ranks).flatMap(rowElements));
    if (!ranks.length) {
      const text = "No row is like this. “Show all rows” takes the filters away.";
      body.append(make("tr", {}, make("td", { colspan: COLUMNS.length, class: "none", text })));
    }
    drawPlace(ranks.length);
  }

  function drawPlace(nShown) {
    const first = page * size();
    const share = order.length === nRows ? "" : ` of ${whole(nRows)}`;
    find("count").textContent = `${plural(order.length, "row")}${share} found`;
    find("page-place").textContent = nShown
      ? `${whole(first + 1)}–${whole(first + nShown)} of ${whole(order.length)}`
      : "";
    for (const id of ["page-first", "page-previous"]) find(id).disabled = page === 0;
    for (const id of ["page-next", "page-last"]) find(id).disabled = page >= nPages() - 1;
  }

  function rowElements(rank) {
    const row = make(
      "tr",
      { class: isSuspect(rank) ? "suspect" : "", "data-rank": rank },
      ...COLUMNS.map((column) => cellElement(column, rank)),
    );
    return rank === open ? [row, detailRow(rank)] : [row];
  }

  function detailRow(rank) {
    const cell = make("td", { colspan: COLUMNS.length }, detailPanel(rank));
    return make("tr", { class: "detail", id: "detail" }, cell);
  }

  function cellElement(column, rank) {
    const kind = column.numeric ? `number ${column.name}` : column.name;
    const props = { class: kind, "data-title": column.title };
    return make("td", props, ...cellNodes(column.name, rank));
  }

  function cellNodes(name, rank) {
    if (name === "rank") return [whole(rank + 1)];
    if (name === "row") return [openButton(rank)];
    if (name === "given") return givenNodes(rank);
    if (name === "believed") return [bdi(classes[believedOf[rank]]), ...suspectMark(rank, "▲ suspect")];
    if (name === "truth") return [truthOf[rank] < 0 ? "no class" : bdi(classes[truthOf[rank]])];
    if (name === "confidence") return [digits(confidenceOf[rank] / scale)];
    if (name === "score") return [digits(scoreOf[rank] / scale)];
    if (name === "agreeing") return [isUnlabelled(rank) ? "–" : `${agreeingOf[rank]} of ${nNeighbours}`];
    return [...quickButtons(rank), make("span", { class: "state" }, ...decisionNodes(rank))];
  }

  /** The two most frequent decisions, without opening the row. */
  function quickButtons(rank) {
    const texts = [
      [KEEP, "Keep", "Keep the given label"],
      [ACCEPT, "Accept", "Accept the believed label"],
    ];
    return texts.map(([code, text, meaning]) => make("button", {
      type: "button",
      class: "quick",
      "data-code": code,
      tabindex: rank === current ? 0 : -1,
      "aria-pressed": String(decisions.of(rank) === code),
      "aria-label": `${meaning} of row ${rowOf[rank]}`,
      text,
    }));
  }

  function openButton(rank) {
    const button = make("button", {
      type: "button",
      class: "open",
      id: `open-${rank}`,
      tabindex: rank === current ? 0 : -1,
      "aria-expanded": String(rank === open),
      "aria-label": `Row ${rowOf[rank]}, details`,
    });
    const picture = thumbnail(rank);
    if (picture) button.append(picture);
    button.append(make("span", { class: "place", text: rowOf[rank] }));
    if (shortText(rank)) button.append(make("bdi", { class: "start", text: shortText(rank) }));
    return button;
  }

  /** Open the details of a row, or close them. */
  function toggle(rank) {
    const before = open;
    open = rank === open ? -1 : rank;
    find("detail")?.remove();
    for (const changed of [before, rank]) opener(changed)?.setAttribute("aria-expanded", String(changed === open));
    if (open >= 0) opener(rank).closest("tr").after(detailRow(rank));
    focus(rank);
  }

  /** Tab goes to one row of the table only; arrows go to the others. */
  function focus(rank) {
    setTabIndex(current, -1);
    current = rank;
    setTabIndex(rank, 0);
    opener(rank)?.focus();
  }

  function setTabIndex(rank, index) {
    const buttons = opener(rank)?.closest("tr").querySelectorAll("button") ?? [];
    for (const button of buttons) button.setAttribute("tabindex", index);
  }

  /** Go some rows down (or up), over the end of a page to the next. */
  function move(step) {
    const place = shown().indexOf(current) + page * size() + step;
    if (place < 0 || place >= order.length) return;
    goToPlace(place);
  }

  function goToPlace(place) {
    const wanted = Math.floor(place / size());
    if (wanted !== page) turn(wanted);
    focus(order[place]);
  }

  function turn(wanted) {
    page = Math.min(Math.max(wanted, 0), nPages() - 1);
    open = -1;
    draw();
  }

  /** Show a row wherever it is, without the filters if they hide it. */
  function reveal(rank) {
    if (!order.includes(rank)) {
      find("filters").reset();
      refresh();
    }
    goToPlace(order.indexOf(rank));
    if (open !== rank) toggle(rank);
  }

  function sortBy(name) {
    const again = name === sort.name;
    sort = { name, descending: again && !sort.descending };
    drawHead();
    refresh();
  }

  function drawHead() {
    sortableHead(find("table-head"), COLUMNS, sort, sortBy);
  }

  /** Show what was decided, without looking for rows anew: they would jump away. */
  function drawDecisions() {
    for (const row of body.querySelectorAll("tr[data-rank]")) {
      const rank = Number(row.dataset.rank);
      row.querySelector(".state").replaceChildren(...decisionNodes(rank));
      for (const button of row.querySelectorAll(".quick")) {
        button.setAttribute("aria-pressed", String(decisions.of(rank) === Number(button.dataset.code)));
      }
    }
  }

  return {
    refresh, draw, drawHead, drawDecisions, toggle, focus, move, reveal, turn, goToPlace, body,
    order: () => order,
    page: () => page,
    nPages,
    current: () => current,
    open: () => open,
    ends: () => [page * size(), page * size() + shown().length - 1],
    onRefresh: (watcher) => watchers.push(watcher),
  };
})();

/** Said beside a believed label that is not given. */
function suspectMark(rank, text) {
  const title = "not among the given labels";
  return isSuspect(rank) ? [" ", make("span", { class: "mark", title, text })] : [];
}

/** Given labels: one as it is, the first of several in a line each. */
function givenNodes(rank) {
  if (isUnlabelled(rank)) return [make("span", { class: "faint", text: "unlabelled" })];
  const given = givenClasses(rank);
  if (given.length === 1) return [bdi(classes[given[0]])];
  const lines = given.slice(0, SETS_SHOWN).map((j) => make("li", { title: classes[j] }, bdi(classes[j])));
  const left = given.length - SETS_SHOWN;
  if (left > 0) lines.push(make("li", { class: "faint", text: `and ${left} more` }));
  return [make("ul", { class: "set" }, ...lines)];
}

/** Heads of columns with a button each; focus stays where it was. */
function sortableHead(head, columns, sort, sortBy) {
  const focused = head.contains(document.activeElement) && document.activeElement.dataset.column;
  head.replaceChildren(...columns.map((column) => sortableCell(column, sort, sortBy)));
  if (focused) head.querySelector(`[data-column="${focused}"]`).focus();
}

function sortableCell({ name, title, numeric, hint }, sort, sortBy) {
  const direction = name !== sort.name ? "none" : sort.descending ? "descending" : "ascending";
  const text = { none: "", ascending: "▲", descending: "▼" }[direction];
  const arrow = make("span", { "aria-hidden": "true", class: "arrow", text });
  const props = { type: "button", title: hint, "data-column": name, on: { click: () => sortBy(name) } };
  const button = make("button", props, title, arrow);
  return make("th", { scope: "col", class: numeric ? "number" : "", "aria-sort": direction }, button);
}
