"use strict";
// Draws the maps from the JSON above, as the four lists say, and fills the tables with one cell.

let data;
const conditions = ["unsteered", "steered"];
const panels = ["unsteered", "steered", "steered − unsteered"];
const element = (id) => document.getElementById(id);
const choice = Object.fromEntries(["protocol", "statistic", "layer", "position"].map((id) => [id, element(id)]));
const maps = element("maps");
const wide = matchMedia("(min-width: 60rem)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const scroll = element("scroll");
// Pixels that a map's column needs: narrower, the tokens in the cells would overlap.
const columnWidth = () => (wide.matches ? 30 : 24);
// Where three maps find no room beside each other, they stand one above another.
const beside = () => wide.matches && 70 + 3 * columnWidth() * data.targets.length <= scroll.clientWidth;
// Positions that find room, from `first` on. Others come by scrolling: the maps stay, and their track moves under them.
let first = 0;
const shown = () => Math.min(data.targets.length, Math.max(1, Math.floor((scroll.clientWidth - 70) / columnWidth())));
const positions = () => data.targets.map((_, position) => position).slice(first, first + shown());
const leftmost = () => Math.round(scroll.scrollLeft / columnWidth());

// What stands in an element: base64 of zlib's deflate, a third of the text's size.
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(element(id).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

// Plotly reads a small HTML in every text: token text must not look like it.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const grid = (f) => data.layers.map((_, layer) => positions().map((position) => f(layer, position)));
const values = (condition, statistic) => data.cells[choice.protocol.value][condition][statistic];

// Ranks span five orders of magnitude: their colours are logarithmic.
const coloured = (value) => (choice.statistic.value === "rank" ? Math.log10(value) : value);

function numbers(condition, layer, position) {
  const of = (statistic) => values(condition, statistic)[layer][position];
  return {
    loss: fixed(of("loss")),
    rank: String(of("rank")),
    probability: probability(Math.exp(-of("loss"))),
    entropy: fixed(of("entropy")),
    "KL to the output": fixed(of("kl")),
  };
}

// Nats with three digits; what rounds to zero has no sign.
function fixed(nats) {
  const text = nats.toFixed(3);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

function probability(p) {
  return p >= 0.0001 ? (100 * p).toFixed(2) + " %" : p.toExponential(1);
}

function hoverText(layer, position) {
  const [before, after] = conditions.map((condition) => numbers(condition, layer, position));
  const lines = Object.keys(before).map((name) => `${name}: ${before[name]} → ${after[name]}`);
  return [`<b>${plain(data.targets[position])}</b> at ${rowName(layer)}`, ...lines].join("<br>");
}

function rowName(layer) {
  return layer === data.layers.length - 1 ? "the output" : `layer ${data.layers[layer]}`;
}

function topText(condition) {
  const top = values(condition, "top");
  return grid((layer, position) => plain(data.cell_tokens[top[layer][position][0][0]]));
}

// What the colours of the three maps stand for, at every position.
function colours() {
  const [before, after] = conditions.map((condition) =>
    values(condition, choice.statistic.value).map((row) => row.map(coloured)));
  return [before, after, after.map((row, layer) => row.map((value, position) => value - before[layer][position]))];
}

function traces(all) {
  const hover = grid(hoverText);
  return all.map((map, i) => ({
    type: "heatmap", x: positions(), z: grid((layer, position) => map[layer][position]), customdata: hover, coloraxis: i < 2 ? "coloraxis" : "coloraxis2",
    xaxis: "x" + (i ? i + 1 : ""), yaxis: "y" + (i ? i + 1 : ""), name: panels[i],
    hovertemplate: "%{customdata}<extra></extra>",
    ...(i < 2 ? { text: topText(conditions[i]), texttemplate: "%{text}", textfont: { size: 9 } } : {}),
  }));
}

// Of so many values that they are too many for one call of Math.max.
const span = (list) => list.flat(2).reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)],
  [Infinity, -Infinity]);

function scales([before, after, change]) {
  const [low, high] = span([before, after]);
  const most = Math.max(...span(change).map(Math.abs)) || 1;
  const rank = choice.statistic.value === "rank";
  const powers = [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5];
  const ticks = (names) => (rank ? { tickvals: powers, ticktext: powers.map(names) } : {});
  const bar = (x, title, names) => ({
    orientation: "h", x, y: 0, yanchor: "top", ypad: beside() ? 75 : 10, xanchor: "center", thickness: 10,
    len: wide.matches ? 0.3 : 0.4, title: { text: title, side: "bottom" }, ...ticks(names),
  });
  const name = choice.statistic.selectedOptions[0].textContent;
  return {
    coloraxis: {
      colorscale: "Viridis", cmin: low, cmax: high,
      colorbar: bar(beside() ? 0.32 : 0.2, name, (power) => (power < 0 ? "" : String(10 ** power))),
    },
    coloraxis2: {
      colorscale: [[0, "#053061"], [0.25, "#4393c3"], [0.5, "#f7f7f7"], [0.75, "#d6604d"], [1, "#67001f"]],
      cmin: -most, cmax: most,
      colorbar: bar(beside() ? 0.83 : 0.8, "change", (power) => (power ? (power > 0 ? "×" : "÷") + 10 ** Math.abs(power) : "1")),
    },
  };
}

// Frames on every map: the injected cells, and the chosen one in two lines that show on any colour.
function frames() {
  const frame = (layer, position, line) => panels.map((_, i) => ({
    type: "rect", xref: "x" + (i ? i + 1 : ""), yref: "y" + (i ? i + 1 : ""), line,
    x0: position - 0.5, x1: position + 0.5, y0: layer - 0.5, y1: layer + 0.5,
  }));
  const [layer, position] = chosen();
  return [
    ...data.injection.positions.flatMap((at) => frame(data.injection.layer, at, { color: "#d1009d", width: 2 })),
    ...frame(layer, position, { color: "#000", width: 5 }), ...frame(layer, position, { color: "#fff", width: 2 }),
  ];
}

function layout(all) {
  const height = 15 * data.layers.length;
  // Stacked, each map has its tokens below it and its name above.
  const some = shown() < data.targets.length;
  const [below, above] = [some ? 115 : 85, 25];
  const slot = below + height + above;
  const labels = positions().map((position) => {
    const token = (some ? `${position} ` : "") + plain(data.targets[position]);
    return data.keys.includes(position) ? `<b>${token}</b>` : token;
  });
  const colour = getComputedStyle(document.body).color;
  const result = {
    height: (beside() ? height : 3 * slot) + 190, margin: { l: 55, r: 10, t: 30, b: 160 },
    hoverlabel: { align: "left", font: { family: "ui-monospace, monospace", size: 12 } },
    font: { color: colour }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    annotations: [], shapes: frames(), ...scales(all),
  };
  panels.forEach((name, i) => {
    const suffix = i ? i + 1 : "";
    const third = [i / 3 + 0.005, (i + 1) / 3 - 0.005];
    const stacked = [(2 - i) / 3 + below / (3 * slot), (3 - i) / 3 - above / (3 * slot)];
    result["xaxis" + suffix] = {
      domain: beside() ? third : [0, 1], anchor: "y" + suffix, tickangle: -90, ticks: "", showgrid: false, zeroline: false,
      tickvals: positions(), ticktext: labels, fixedrange: true, range: [first - 0.5, first + shown() - 0.5],
    };
    result["yaxis" + suffix] = {
      domain: beside() ? [0, 1] : stacked, anchor: "x" + suffix, ticks: "", showgrid: false, zeroline: false, fixedrange: true,
      tickvals: data.layers.map((_, layer) => layer), ticktext: data.layers, tickfont: { size: 9 },
      showticklabels: i === 0 || !beside(), range: [-0.5, data.layers.length - 0.5],
    };
    result.annotations.push({
      text: `<b>${name}</b>`, showarrow: false, xref: `x${suffix} domain`, yref: `y${suffix} domain`,
      x: 0, y: 1, xanchor: "left", yanchor: "bottom",
    });
  });
  return result;
}

function row(head, cells) {
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = head;
  line.append(name);
  for (const [text, kind] of cells) {
    const cell = document.createElement("td");
    cell.textContent = text;
    cell.className = kind;
    line.append(cell);
  }
  return line;
}

function describe(layer, position) {
  element("cell").textContent = `${data.targets[position]} after ${data.context[position]}, at ${rowName(layer)}`;
  const [before, after] = conditions.map((condition) => numbers(condition, layer, position));
  const between = fixed(data.kl_to_unsteered[choice.protocol.value][layer][position]);
  document.querySelector("#numbers tbody").replaceChildren(
    ...Object.keys(before).map((name) => row(name, [[before[name], ""], [after[name], ""]])),
    row("KL to unsteered", [["", ""], [between, ""]]));
  const tops = conditions.map((condition) => values(condition, "top")[layer][position]);
  document.querySelector("#top tbody").replaceChildren(...tops[0].map((_, i) => row(String(i + 1),
    tops.flatMap((top) => [[data.tokens[top[i][0]], "token"], [probability(top[i][1]), ""]]))));
}

const chosen = () => [Number(choice.layer.value), Number(choice.position.value)];

// Brings a position into view; says whether the maps must be drawn for it.
function reveal(position) {
  if (position >= first && position < first + shown()) return false;
  first = Math.max(0, position - Math.floor(shown() / 2));
  return true;
}

function draw() {
  const more = data.targets.length - shown();
  first = Math.min(first, more);
  maps.style.width = `${scroll.clientWidth}px`;
  element("track").style.width = `${scroll.clientWidth + columnWidth() * more}px`;
  // Where the reader scrolls, nothing is to be set: it would stop the movement.
  if (leftmost() !== first) scroll.scrollLeft = columnWidth() * first;
  const all = colours();
  return Plotly.react(maps, traces(all), layout(all), { responsive: true, displaylogo: false, displayModeBar: false });
}
