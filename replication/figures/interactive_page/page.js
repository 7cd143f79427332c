"use strict";
// Draws the maps from the JSON above, as the four lists choose, and fills the tables with the numbers of one cell.

let data;
const conditions = ["unsteered", "steered"];
const panels = () => [...conditions, choice.statistic.value === "rank" ? "steered ÷ unsteered" : "steered − unsteered"];
const element = (id) => document.getElementById(id);
const choice = Object.fromEntries(["protocol", "statistic", "layer", "position"].map((id) => [id, element(id)]));
const maps = element("maps");
const wide = matchMedia("(min-width: 60rem)");
// Where the maps stand beside each other, and not one above another.
const abreast = matchMedia("(min-width: 1280px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const scroll = element("scroll");
// Pixels that a map's column needs: in fewer, no token could be read.
const columnWidth = 24;
// Pixels beside the maps, for the names of the layers; and between them, as a part of their width.
const margins = { l: 55, r: 10, b: 160 };
const gap = 0.005;
const mapWidth = () => (scroll.clientWidth - margins.l - margins.r) * (abreast.matches ? 1 / 3 - 2 * gap : 1);
// Positions that find room, from `first` on. Others come by scrolling: the maps stay, and their track moves under them.
let first = 0;
const shown = () => Math.min(data.targets.length, Math.max(1, Math.floor(mapWidth() / columnWidth)));
const positions = () => data.targets.map((_, position) => position).slice(first, first + shown());
const leftmost = () => Math.round(scroll.scrollLeft / columnWidth);

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
    probability: fixed(Math.exp(-of("loss")), 4),
    entropy: fixed(of("entropy")),
    "KL to the output": fixed(of("kl")),
  };
}

// As in the report: 0 is exactly zero, and what rounds to it shows the bound it lies below.
function fixed(value, digits = 3) {
  if (value === 0) return "0";
  const text = value.toFixed(digits);
  const bound = (10 ** -digits).toFixed(digits);
  return (Number(text) ? text : value < 0 ? ">-" + bound : "<" + bound).replace("-", "−");
}

function rowName(layer) {
  return layer === data.layers.length - 1 ? "the output" : `layer ${data.layers[layer]}`;
}

const pen = document.createElement("canvas").getContext("2d");
const fits = {};

// As much of a token as `room` pixels hold; no escape of it is cut.
function fitted(token, room, font) {
  const key = [room, font, token].join();
  if (key in fits) return fits[key];
  pen.font = font;
  const units = token.match(/\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\x[0-9a-f]{2}|\\.|./gsu) ?? [];
  for (let text = token; ; text = units.join("") + "…") {
    if (!units.length || pen.measureText(text).width <= room) return (fits[key] = text);
    units.pop();
  }
}

// What the colours of the three maps stand for, at every position.
function colours() {
  const [before, after] = conditions.map((condition) =>
    values(condition, choice.statistic.value).map((row) => row.map(coloured)));
  return [before, after, after.map((row, layer) => row.map((value, position) => value - before[layer][position]))];
}

function traces(all) {
  const [low, high] = span(all.slice(0, 2));
  const axes = (i) => ({ xaxis: "x" + (i ? i + 1 : ""), yaxis: "y" + (i ? i + 1 : "") });
  const maps = all.map((map, i) => ({
    type: "heatmap", x: positions(), z: grid((layer, position) => map[layer][position]), ...axes(i),
    coloraxis: i < 2 ? "coloraxis" : "coloraxis2", name: panels()[i], hoverinfo: "none",
  }));
  return [...maps, ...conditions.map((condition, i) => ({ ...inCells(condition, all[i], low, high), ...axes(i) }))];
}

// The most probable token of every cell, in black or white.
function inCells(condition, map, low, high) {
  const top = values(condition, "top");
  const cells = grid((layer, position) => [layer, position]).flat();
  const room = mapWidth() / shown() - 2;
  const ink = ([layer, position]) => inkOn(losses, (map[layer][position] - low) / (high - low || 1));
  return {
    type: "scatter", mode: "text", hoverinfo: "skip", x: cells.map((cell) => cell[1]), y: cells.map((cell) => cell[0]),
    text: cells.map(([layer, position]) => plain(fitted(data.tokens[top[layer][position][0][0]], room, "9px " + family))),
    textfont: { size: 9, family, color: cells.map(ink) }, cliponaxis: true,
  };
}

const family = "Arial, Liberation Sans, sans-serif";
// Colours at equal steps: viridis, and blue over white to red.
const losses = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const changes = ["#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f"];
const colorscale = (stops) => stops.map((colour, i) => [i / (stops.length - 1), colour]);

// Black or white, whichever has more contrast with a colour of the scale: 4.58 : 1 at least, whatever the colour.
function inkOn(stops, part) {
  const place = Math.min(stops.length - 2, Math.floor(part * (stops.length - 1)));
  const [from, to] = [stops[place], stops[place + 1]].map((colour) => colour.match(/\w\w/g).map((hex) => parseInt(hex, 16)));
  const mixed = from.map((value, i) => value + (to[i] - value) * (part * (stops.length - 1) - place));
  const linear = mixed.map((value) => (value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? "#000" : "#fff";
}

// Of so many values that they are too many for one call of Math.max.
const span = (list) => list.flat(2).reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)],
  [Infinity, -Infinity]);

function scales([before, after, change]) {
  const [low, high] = span([before, after]);
  const most = Math.max(...span(change).map(Math.abs)) || 1;
  const rank = choice.statistic.value === "rank";
  const length = wide.matches ? 0.3 : 0.4;
  // Few enough that their names do not touch.
  const count = Math.max(2, Math.floor((length * (scroll.clientWidth - margins.l - margins.r)) / 60));
  const ticks = (from, to, names) => {
    const step = Math.max(1, Math.floor((to - from) / (count - 1)));
    const powers = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((n) => n * step).filter((n) => n >= from && n <= to);
    return rank ? { tickvals: powers, ticktext: powers.map(names) } : { nticks: count };
  };
  const bar = (x, title, tick) => ({
    orientation: "h", x, y: 0, yanchor: "top", ypad: abreast.matches ? 97 : 10, xanchor: "center", thickness: 10,
    len: length, title: { text: title, side: "top" }, ...tick,
  });
  const name = choice.statistic.selectedOptions[0].textContent;
  return {
    coloraxis: {
      colorscale: colorscale(losses), cmin: low, cmax: high,
      colorbar: bar(abreast.matches ? 0.32 : 0.2, name, ticks(low, high, (power) => String(10 ** power))),
    },
    coloraxis2: {
      colorscale: colorscale(changes), cmin: -most, cmax: most,
      colorbar: bar(abreast.matches ? 0.83 : 0.8, "change",
        ticks(-most, most, (power) => (power ? (power > 0 ? "×" : "÷") + 10 ** Math.abs(power) : "1"))),
    },
  };
}

// Positions, ascending, as runs of neighbours [first, last].
const runs = (list) => list.reduce((all, at) => {
  const last = all.at(-1);
  return last?.[1] === at - 1 ? [...all.slice(0, -1), [last[0], at]] : [...all, [at, at]];
}, []);

// Frames on every map, in black and white, of which one shows on any colour: the injected cells dashed, the chosen one
// in two lines.
function frames() {
  const frame = (layer, [first, last], line) => panels().map((_, i) => ({
    type: "rect", xref: "x" + (i ? i + 1 : ""), yref: "y" + (i ? i + 1 : ""), line,
    x0: first - 0.5, x1: last + 0.5, y0: layer - 0.5, y1: layer + 0.5,
  }));
  const [layer, position] = chosen();
  const both = (at, places, under, over) => [...frame(at, places, under), ...frame(at, places, over)];
  return [
    ...data.injections.flatMap(({ layer: steered, positions }) => runs(positions).flatMap((places) =>
      both(steered, places, { color: "#fff", width: 3 }, { color: "#000", width: 3, dash: "5px,5px" }))),
    ...both(layer, [position, position], { color: "#000", width: 5 }, { color: "#fff", width: 2 }),
  ];
}

function layout(all) {
  const height = 15 * data.layers.length;
  // Stacked, each map has its tokens below it and its name above.
  const some = shown() < data.targets.length;
  const [below, above] = [105, 25];
  const slot = below + height + above;
  const top = abreast.matches ? above : 5;
  const labels = positions().map((position) => {
    const token = plain((some ? `${position} ` : "") + fitted(data.targets[position], some ? 60 : 90, "bold 12px " + family));
    return data.keys.includes(position) ? `<b>${token}</b>` : token;
  });
  const colour = getComputedStyle(document.body).color;
  const result = {
    width: scroll.clientWidth, height: (abreast.matches ? height : 3 * slot) + top + margins.b, margin: { ...margins, t: top }, showlegend: false,
    hovermode: "closest", font: { color: colour, family }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    annotations: [], shapes: frames(), ...scales(all),
  };
  panels().forEach((name, i) => {
    const suffix = i ? i + 1 : "";
    const third = [i / 3 + gap, (i + 1) / 3 - gap];
    const stacked = [(2 - i) / 3 + below / (3 * slot), (3 - i) / 3 - above / (3 * slot)];
    result["xaxis" + suffix] = {
      domain: abreast.matches ? third : [0, 1], anchor: "y" + suffix, tickangle: -90, ticks: "", showgrid: false, zeroline: false,
      tickvals: positions(), ticktext: labels, fixedrange: true, range: [first - 0.5, first + shown() - 0.5],
    };
    result["yaxis" + suffix] = {
      domain: abreast.matches ? [0, 1] : stacked, anchor: "x" + suffix, ticks: "", showgrid: false, zeroline: false, fixedrange: true,
      tickvals: data.layers.map((_, layer) => layer), ticktext: data.layers, tickfont: { size: 9 },
      showticklabels: i === 0 || !abreast.matches, range: [-0.5, data.layers.length - 0.5],
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

// What the maps show stands in the heading; on a phone they come first.
function arrange() {
  const [statistic] = choice.statistic.selectedOptions[0].textContent.split(" (");
  element("what").textContent = statistic;
  const [above, view] = [element("above"), element("view")];
  // Moved only where it must be: what is moved loses the focus.
  if (wide.matches && above.previousElementSibling) view.before(above);
  if (!wide.matches && above.nextElementSibling) view.after(above);
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
    tops.flatMap((top) => [[data.tokens[top[i][0]], "token"], [fixed(top[i][1], 4), ""]]))));
}

const chosen = () => [Number(choice.layer.value), Number(choice.position.value)];

// Brings a position into view; says whether the maps must be drawn for it.
function reveal(position) {
  if (position >= first && position < first + shown()) return false;
  first = Math.max(0, position - Math.floor(shown() / 2));
  return true;
}

// Whether the maps stood side by side when they were last drawn.
let ordered = abreast.matches;

function draw() {
  arrange();
  const more = data.targets.length - shown();
  first = Math.min(first, more);
  element("track").style.width = `${scroll.clientWidth + columnWidth * more}px`;
  // Where the reader scrolls, nothing is to be set: it would stop the movement.
  if (leftmost() !== first) scroll.scrollLeft = columnWidth * first;
  const all = colours();
  const react = () => Plotly.react(maps, traces(all), layout(all), { displaylogo: false, displayModeBar: false });
  // When the maps' order changes, the bars' names and numbers stand where they belonged before, until drawn once more.
  const moved = ordered !== abreast.matches;
  ordered = abreast.matches;
  return moved ? react().then(react) : react();
}
