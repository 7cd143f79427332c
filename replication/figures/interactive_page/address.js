// What a reader does: the choices stand in the address after #, so that a link opens at a cell, and back goes back.

const usual = {
  protocol: choice.protocol.value, statistic: choice.statistic.value, layer: String(data.layers.length - 1),
  position: String(data.keys.length ? data.keys[0] : data.targets.length - 1),
};

function address() {
  const names = Object.entries(choice).map(([id, list]) => [id, id === "layer" ? data.layers[list.value] : list.value]);
  return "#" + new URLSearchParams([["experiment", data.experiment], ...names]);
}

// The choices that an address names; null where it is incomplete, or names anything that this page has not.
function choicesIn(hash) {
  const { experiment, ...asked } = Object.fromEntries(new URLSearchParams(hash.slice(1)));
  asked.layer = String(data.layers.indexOf(asked.layer));
  const known = (id) => choice[id] && [...choice[id].options].some((option) => option.value === asked[id]);
  const complete = Object.keys(asked).length === Object.keys(choice).length;
  return experiment === data.experiment && complete && Object.keys(asked).every(known) ? asked : null;
}

// Shows what the address says: when the page opens, on back and forward, and when an address is typed.
function obey() {
  const asked = location.hash.length > 1 ? choicesIn(location.hash) : usual;
  for (const [id, value] of Object.entries(asked ?? usual)) choice[id].value = value;
  say(asked ? "" : "The address after # names no cell of this page; the usual one is shown.");
  return redraw();
}

function remember() {
  if (location.hash !== address()) history.pushState(null, "", address());
}

function say(text) {
  element("said").textContent = text;
  element("link").hidden = true;
}

function redraw() {
  describe(...chosen());
  return draw();
}

// The chosen cell alone has moved: the maps keep their colours.
function move(layer, position) {
  choice.layer.value = layer;
  choice.position.value = position;
  describe(layer, position);
  const told = conditions.map((condition) => numbers(condition, layer, position).loss).join(" → ");
  say(`${element("cell").textContent}: loss ${told} nats`);
  return Plotly.relayout(maps, { shapes: frames() });
}

const arrows = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };

async function step(event) {
  const way = arrows[event.key];
  if (!way || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const last = [data.layers.length - 1, data.targets.length - 1];
  await move(...chosen().map((place, i) => Math.min(last[i], Math.max(0, place + way[i]))));
  // The frame drawn last but one is the white one of the steered map.
  [...maps.querySelectorAll(".shapelayer path")].at(-2).scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function copyLink() {
  remember();
  const field = element("link");
  say("");
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
  element("said").textContent = copied
    ? "The link is copied. With another copy of this page, its part from # on does the same."
    : "Copying is refused here; the link is selected: copy it with Ctrl+C or Cmd+C.";
}

function fill(select, names) {
  select.replaceChildren(...names.map((name, value) => new Option(name, value)));
}

fill(choice.layer, data.layers);
fill(choice.position, data.targets.map((token, position) => `${position}: ${token}`));
for (const list of [choice.layer, choice.position]) {
  list.addEventListener("change", () => { move(...chosen()); remember(); });
}
for (const list of [choice.protocol, choice.statistic]) {
  list.addEventListener("change", () => { say(""); redraw(); remember(); });
}
element("scroll").addEventListener("keydown", step);
// A walk with a key held down is one entry for back.
element("scroll").addEventListener("keyup", (event) => { if (arrows[event.key]) remember(); });
element("copy").addEventListener("click", copyLink);
addEventListener("hashchange", obey);
for (const query of [wide, dark]) query.addEventListener("change", draw);
addEventListener("resize", () => { if (beside() !== arranged) draw(); });

obey().then(() => {
  maps.on("plotly_hover", ({ points: [cell] }) => describe(cell.y, cell.x));
  maps.on("plotly_unhover", () => describe(...chosen()));
  maps.on("plotly_click", ({ points: [cell] }) => { move(cell.y, cell.x); remember(); });
  document.body.dataset.ready = "true";
});
