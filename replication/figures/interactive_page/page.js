"use strict";
// Draws the maps from the JSON above, as the four lists say, and fills the tables with one cell.

const data = JSON.parse(document.getElementById("data").textContent);
const conditions = ["unsteered", "steered"];
const panels = ["unsteered", "steered", "steered − unsteered"];
const element = (id) => document.getElementById(id);
const choice = Object.fromEntries(["protocol", "statistic", "layer", "position"].map((id) => [id, element(id)]));
const maps = element("maps");
const wide = matchMedia("(min-width: 60rem)");
const dark = matchMedia("(prefers-color-scheme: dark)");
// Pixels that a map's columns need: narrower, the tokens in the cells would overlap.
const columns = () => (wide.matches ? 30 : 24) * data.targets.length;
// Where three maps find no room beside each other, they stand one above another.
const beside = () => wide.matches && 70 + 3 * columns() <= element("scroll").clientWidth;

// Plotly reads a small HTML in every text: token text must not look like it.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const grid = (f) => data.layers.map((_, layer) => data.targets.map((_, position) => f(layer, position)));
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

function traces() {
  const statistic = choice.statistic.value;
  const z = conditions.map((condition) => values(condition, statistic).map((row) => row.map(coloured)));
  const change = grid((layer, position) => z[1][layer][position] - z[0][layer][position]);
  const hover = grid(hoverText);
  return [z[0], z[1], change].map((map, i) => ({
    type: "heatmap", z: map, customdata: hover, coloraxis: i < 2 ? "coloraxis" : "coloraxis2",
    xaxis: "x" + (i ? i + 1 : ""), yaxis: "y" + (i ? i + 1 : ""), name: panels[i],
    hovertemplate: "%{customdata}<extra></extra>",
    ...(i < 2 ? { text: topText(conditions[i]), texttemplate: "%{text}", textfont: { size: 9 } } : {}),
  }));
}

function span(list) {
  const all = list.flat(2);
  return [Math.min(...all), Math.max(...all)];
}

function scales(drawn) {
  const [low, high] = span([drawn[0].z, drawn[1].z]);
  const most = Math.max(...span([drawn[2].z]).map(Math.abs)) || 1;
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

function layout(drawn) {
  const height = 15 * data.layers.length;
  // Stacked, each map has its tokens below it and its name above.
  const [below, above] = [85, 25];
  const slot = below + height + above;
  const labels = data.targets.map((token, position) =>
    data.keys.includes(position) ? `<b>${plain(token)}</b>` : plain(token));
  const colour = getComputedStyle(document.body).color;
  const result = {
    height: (beside() ? height : 3 * slot) + 190, margin: { l: 55, r: 10, t: 30, b: 160 },
    hoverlabel: { align: "left", font: { family: "ui-monospace, monospace", size: 12 } },
    font: { color: colour }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    annotations: [], shapes: frames(), ...scales(drawn),
  };
  panels.forEach((name, i) => {
    const suffix = i ? i + 1 : "";
    const third = [i / 3 + 0.005, (i + 1) / 3 - 0.005];
    const stacked = [(2 - i) / 3 + below / (3 * slot), (3 - i) / 3 - above / (3 * slot)];
    result["xaxis" + suffix] = {
      domain: beside() ? third : [0, 1], anchor: "y" + suffix, tickangle: -90, ticks: "", showgrid: false, zeroline: false,
      tickvals: data.targets.map((_, position) => position), ticktext: labels, fixedrange: true,
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

let arranged;

function draw() {
  maps.style.minWidth = `${70 + columns()}px`;
  arranged = beside();
  const drawn = traces();
  return Plotly.react(maps, drawn, layout(drawn), { responsive: true, displaylogo: false, displayModeBar: false });
}
