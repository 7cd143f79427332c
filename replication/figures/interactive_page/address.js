// The reader's choices stand in the address after #: a link opens at a cell, and the browser's back button undoes a choice.

const initial = () => ({
  protocol: "raw", statistic: "loss", layer: String(data.layers.length - 1),
  position: String(data.keys.length ? data.keys[0] : data.targets.length - 1),
});

function address() {
  const names = Object.entries(choice).map(([id, list]) => [id, id === "layer" ? data.layers[list.value] : list.value]);
  return "#" + new URLSearchParams([["experiment", data.experiment], ...names]);
}

// The choices that an address names; null where it is incomplete, or names anything that this page has not.
function choicesIn(hash) {
  const { experiment, ...named } = Object.fromEntries(new URLSearchParams(hash.slice(1)));
  named.layer = String(data.layers.indexOf(named.layer));
  const known = (id) => choice[id] && [...choice[id].options].some((option) => option.value === named[id]);
  const complete = Object.keys(named).length === Object.keys(choice).length;
  return experiment === data.experiment && complete && Object.keys(named).every(known) ? named : null;
}

// Shows what the address says: when the page opens, on back and forward, and when an address is typed.
function showAddress() {
  const named = location.hash.length > 1 ? choicesIn(location.hash) : initial();
  for (const [id, value] of Object.entries(named ?? initial())) choice[id].value = value;
  report(named ? "" : "The address after # names no cell of this page; the default cell is shown.");
  reveal(chosen()[1]);
  return redraw();
}

function remember() {
  if (location.hash !== address()) history.pushState(null, "", address());
}

function report(text) {
  element("status").textContent = text;
  element("link").hidden = true;
}

function redraw() {
  describe(...chosen());
  return draw();
}

// The chosen cell alone has moved: the maps keep their colours, and their columns where it is among them.
function move(layer, position) {
  choice.layer.value = layer;
  choice.position.value = position;
  describe(layer, position);
  const losses = conditions.map((condition) => numbers(condition, layer, position).loss).join(" → ");
  report(`${element("cell").textContent}: loss ${losses} nats`);
  return reveal(position) ? draw() : Plotly.relayout(maps, { shapes: frames() });
}

const steps = {
  ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1],
  PageUp: [10, 0], PageDown: [-10, 0], Home: [0, -Infinity], End: [0, Infinity],
};

async function step(event) {
  const direction = steps[event.key];
  if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const last = [data.layers.length - 1, data.targets.length - 1];
  await move(...chosen().map((place, i) => Math.min(last[i], Math.max(0, place + direction[i]))));
  // The frame drawn last but one is the white one of the steered map.
  [...maps.querySelectorAll(".shapelayer path")].at(-2).scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function copyLink() {
  remember();
  const field = element("link");
  report("");
  field.value = location.href;
  field.hidden = false;
  field.focus();
  field.select();
  let copied = true;
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Refused, or not there at all: the older way copies what is selected.
    copied = document.execCommand("copy");
  }
  element("status").textContent = copied
    ? "The link is copied. With another copy of this page, its part from # on does the same."
    : "Copying is refused here; the link is selected: copy it with Ctrl+C or Cmd+C.";
}

function fill(select, names) {
  select.replaceChildren(...names.map((name, value) => new Option(name, value)));
}

for (const list of [choice.layer, choice.position]) {
  list.addEventListener("change", () => { move(...chosen()); remember(); });
}
for (const list of [choice.protocol, choice.statistic]) {
  list.addEventListener("change", () => { report(""); redraw(); remember(); });
}
scroll.addEventListener("keydown", step);
// A walk with a key held down is one entry for back.
scroll.addEventListener("keyup", (event) => { if (steps[event.key]) remember(); });
element("copy").addEventListener("click", copyLink);

// After scrolling: the maps show what their track has come to.
function follow() {
  if (leftmost() === first) return;
  first = leftmost();
  draw();
}

async function open() {
  data = JSON.parse(await unpacked("data"));
  const plotly = document.createElement("script");
  plotly.textContent = await unpacked("plotly");
  document.head.append(plotly);
  fill(choice.layer, data.layers);
  fill(choice.position, data.targets.map((token, position) => `${position}: ${token}`));
  await showAddress();
  addEventListener("hashchange", showAddress);
  addEventListener("resize", draw);
  dark.addEventListener("change", draw);
  let waiting;
  scroll.addEventListener("scroll", () => {
    clearTimeout(waiting);
    // Drawing takes longer than a frame: the maps follow when the reader pauses.
    waiting = setTimeout(follow, 100);
  });
  maps.on("plotly_hover", ({ points: [cell] }) => describe(cell.y, cell.x));
  maps.on("plotly_unhover", () => describe(...chosen()));
  maps.on("plotly_click", ({ points: [cell] }) => { move(cell.y, cell.x); remember(); });
  document.body.dataset.ready = "true";
}

open();
