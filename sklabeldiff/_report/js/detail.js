// The details of one row: beliefs, neighbours, contents, and the decision.

/** Picture of a row; null where there is none to be had. */
function thumbnail(rank, kind = "thumbnail") {
  const source = contents.images?.[rank];
  if (source === undefined) return null;
  if (typeof source === "string") {
    const image = make("img", { src: source, alt: "", class: kind, decoding: "async" });
    // Few pixels are shown as what they are, not blurred.
    image.addEventListener("load", () => image.classList.toggle("coarse", image.naturalWidth < 40));
    return image;
  }
  return make("span", { class: `${kind} broken`, title: source.missing, text: "no image" });
}

function detailPanel(rank) {
  const parts = [contentPart(rank), beliefPart(rank), neighbourPart(rank), decisionPart(rank)];
  const props = { class: "panel", role: "group", "aria-label": `Details of row ${rowOf[rank]}` };
  return make("div", props, ...parts.filter(Boolean));
}

function part(title, ...children) {
  return make("section", { class: "part" }, make("h3", { text: title }), ...children);
}

function contentPart(rank) {
  if (contents.images || contents.files) return imagePart(rank);
  if (contents.starts) return textPart(rank);
  return contents.features ? featurePart(rank) : null;
}

/** Said of rows that are not among the most suspicious. */
function notIncluded(what) {
  const text = `${what} are in this report for the ${whole(contents.n)} most suspicious rows only.`;
  return make("p", { class: "note", text });
}

function imagePart(rank) {
  const source = contents.images[rank];
  const nodes = [];
  if (source === undefined) nodes.push(notIncluded("Pictures"));
  else if (typeof source === "string") nodes.push(thumbnail(rank, "picture"));
  else nodes.push(make("p", { class: "note", dir: "auto", text: `No image. ${source.missing}` }));
  const file = contents.files?.[rank];
  if (file) nodes.push(make("p", { class: "file", dir: "auto", text: file }));
  return part("Image", ...nodes);
}

function textPart(rank) {
  const text = contents.texts[rank] ?? contents.starts[rank];
  const nodes = [make("p", { class: "text", dir: "auto", text: text || "(no text)" })];
  if (rank >= contents.n) nodes.push(notIncluded("This is the beginning; whole texts"));
  return part("Text", ...nodes);
}

function featurePart(rank) {
  const { names, values } = contents.features;
  if (rank >= contents.n) return part("Features", notIncluded("Features"));
  const lines = names.map((name, i) => make("tr", {},
    make("th", { scope: "row" }, bdi(name)), make("td", { class: "number" }, bdi(values[rank][i]))));
  return part("Features", make("table", { class: "small" }, make("tbody", {}, ...lines)));
}

function beliefPart(rank) {
  const known = beliefsOf(rank);
  const lines = known.map(([j, belief]) => beliefLine(rank, j, belief));
  const left = givenClasses(rank).filter((j) => !known.some(([k]) => k === j));
  const rest = 1 - known.reduce((sum, [, belief]) => sum + belief, 0);
  const nodes = [make("ul", { class: "bars" }, ...lines)];
  if (left.length) {
    const names = left.flatMap((j) => [", ", bdi(classes[j])]).slice(1);
    nodes.push(make("p", { class: "note" }, "Candidates believed less: ", ...names, "."));
  }
  if (classes.length > known.length) {
    const others = plural(classes.length - known.length, "other class", "other classes");
    nodes.push(make("p", { class: "note", text: `${others}: ${digits(Math.max(rest, 0))} together.` }));
  }
  return part("Belief in each label", ...nodes);
}

function beliefLine(rank, j, belief) {
  const isCandidate = !isUnlabelled(rank) && isGiven(rank, j);
  const tags = [isCandidate && "given", truthOf?.[rank] === j && "true"].filter(Boolean);
  const tagElements = tags.flatMap((text) => [" ", make("span", { class: "tag", text })]);
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", belief);
  return make("li", { class: isCandidate ? "candidate" : "" },
    make("span", { class: "name" }, bdi(classes[j]), ...tagElements),
    make("span", { class: "number", text: digits(belief) }),
    make("span", { class: "track" }, bar));
}

function neighbourPart(rank) {
  if (!nNeighbours) return null;
  const heads = ["Row", "Given", "Believed"].map((text) => make("th", { scope: "col", text }));
  const lines = neighboursOf(rank).map((near) => make("tr", {},
    make("td", {}, neighbourButton(near)),
    make("td", {}, ...givenNodes(near)),
    make("td", {}, bdi(classes[believedOf[near]]), ...suspectMark(near, "▲"))));
  return part("Nearest rows", make("table", { class: "small near" },
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines)));
}

function neighbourButton(near) {
  const props = {
    type: "button",
    class: "link",
    title: `Show row ${rowOf[near]}`,
    on: { click: () => table.reveal(near) },
  };
  const picture = thumbnail(near);
  return make("button", props, ...(picture ? [picture] : []), String(rowOf[near]));
}

function decisionPart(rank) {
  const select = otherSelect(rank);
  const accept = ["Accept ", bdi(classes[believedOf[rank]])];
  const legend = make("legend", { class: "hidden", text: `Decision on row ${rowOf[rank]}` });
  return part("Decision", make("fieldset", { class: "decide" },
    legend,
    radioLabel(rank, KEEP, keepNodes(rank)),
    radioLabel(rank, ACCEPT, accept),
    make("label", { class: "check" }, make("span", { text: "Choose" }), select),
    radioLabel(rank, UNLABELLED, ["Mark unlabelled"]),
    radioLabel(rank, UNDECIDED, ["Undecided"])));
}

function keepNodes(rank) {
  const given = givenClasses(rank);
  if (!given.length) return ["Leave unlabelled"];
  if (given.length > 1) return [`Keep the ${given.length} given labels`];
  return ["Keep ", bdi(classes[given[0]])];
}

function radioLabel(rank, code, nodes) {
  const radio = make("input", {
    type: "radio",
    name: "decision",
    value: decisionName(code) || "none",
    checked: code === decisions.of(rank),
    on: { change: () => decisions.set([rank], code) },
  });
  return make("label", { class: "check" }, radio, make("span", {}, ...nodes));
}

/** A list of all classes, of which none is chosen as long as another decision holds. */
function otherSelect(rank) {
  const select = make("select", {}, make("option", { value: "", text: "another label …" }));
  fillClasses(select);
  select.value = chosenValue(rank);
  select.addEventListener("change", () => {
    const code = select.value === "" ? UNDECIDED : CHOSEN + Number(select.value);
    decisions.set([rank], code);
  });
  return select;
}

function chosenValue(rank) {
  const code = decisions.of(rank);
  return code >= CHOSEN ? String(code - CHOSEN) : "";
}

function fillClasses(select) {
  const sorted = classes.map((_, j) => j).sort((j, k) => placeOfClass[j] - placeOfClass[k]);
  select.append(...sorted.map((j) => make("option", { value: j, text: classes[j] })));
}

/** Bring the open details in line with the decision, which a key may have changed. */
function drawOpenDecision() {
  const panel = find("detail")?.querySelector(".decide");
  if (!panel) return;
  const name = decisionName(decisions.of(table.open())) || "none";
  for (const input of panel.querySelectorAll("input")) input.checked = input.value === name;
  panel.querySelector("select").value = chosenValue(table.open());
}
