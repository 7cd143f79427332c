"use strict";
// Draws the maps from the JSON above, and fills the table with the cell under the pointer or chosen in the lists.

const data = JSON.parse(document.getElementById("data").textContent);
const conditions = ["unsteered", "steered"];
const panels = ["unsteered", "steered", "steered − unsteered"];
const choice = Object.fromEntries(
  ["statistic", "protocol", "layer", "position"].map((id) => [id, document.getElementById(id)]));
const maps = document.getElementById("maps");
const beside = data.targets.length <= 14;
// Narrower than this the tokens in the cells would overlap: a small screen scrolls.
maps.style.minWidth = `${70 + (beside ? 3 : 1) * 30 * data.targets.length}px`;

// Plotly reads a small HTML in every text: token text must not look like it.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const grid = (f) => data.layers.map((_, layer) => data.targets.map((_, position) => f(layer, position)));
const values = (condition, statistic) => data.cells[choice.protocol.value][condition][statistic];

// Ranks span five orders of magnitude: their colours are logarithmic.
const coloured = (value) => (choice.statistic.value === "rank" ? Math.log10(value) : value);

function numbers(condition, layer, position) {
  const of = (statistic) => values(condition, statistic)[layer][position];
  return {
    loss: of("loss").toFixed(3),
    rank: String(of("rank")),
    probability: probability(Math.exp(-of("loss"))),
    entropy: of("entropy").toFixed(3),
    "KL to the output": of("kl").toFixed(3),
  };
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
    orientation: "h", x, y: 0, yanchor: "top", ypad: beside ? 75 : 90, xanchor: "center", len: 0.3, thickness: 10,
    title: { text: title, side: "bottom" }, ...ticks(names),
  });
  const name = choice.statistic.selectedOptions[0].textContent;
  return {
    coloraxis: {
      colorscale: "Viridis", cmin: low, cmax: high,
      colorbar: bar(beside ? 0.32 : 0.2, name, (power) => (power < 0 ? "" : String(10 ** power))),
    },
    coloraxis2: {
      colorscale: [[0, "#053061"], [0.25, "#4393c3"], [0.5, "#f7f7f7"], [0.75, "#d6604d"], [1, "#67001f"]],
      cmin: -most, cmax: most,
      colorbar: bar(beside ? 0.83 : 0.8, "change", (power) => (power ? (power > 0 ? "×" : "÷") + 10 ** Math.abs(power) : "1")),
    },
  };
}

function layout(drawn) {
  const height = 15 * data.layers.length;
  const labels = data.targets.map((token, position) =>
    data.keys.includes(position) ? `<b>${plain(token)}</b>` : plain(token));
  const result = {
    height: (beside ? height : 3 * (height + 110)) + 190, margin: { l: 55, r: 10, t: 30, b: 160 },
    hoverlabel: { align: "left", font: { family: "ui-monospace, monospace", size: 12 } },
    annotations: [], shapes: [], ...scales(drawn),
  };
  panels.forEach((name, i) => {
    const suffix = i ? i + 1 : "";
    const third = (place, gap) => [place / 3 + gap, (place + 1) / 3 - gap];
    result["xaxis" + suffix] = {
      domain: beside ? third(i, 0.005) : [0, 1], anchor: "y" + suffix, tickangle: -90, ticks: "", showgrid: false, zeroline: false,
      tickvals: data.targets.map((_, position) => position), ticktext: labels, fixedrange: true,
    };
    result["yaxis" + suffix] = {
      domain: beside ? [0, 1] : third(2 - i, 0.045), anchor: "x" + suffix, ticks: "", showgrid: false, zeroline: false, fixedrange: true,
      tickvals: data.layers.map((_, layer) => layer), ticktext: data.layers, tickfont: { size: 9 },
      showticklabels: i === 0 || !beside, range: [-0.5, data.layers.length - 0.5],
    };
    result.annotations.push({
      text: `<b>${name}</b>`, showarrow: false, xref: `x${suffix} domain`, yref: `y${suffix} domain`,
      x: 0, y: 1, xanchor: "left", yanchor: "bottom",
    });
    data.injection.positions.forEach((position) => result.shapes.push({
      type: "rect", xref: "x" + suffix, yref: "y" + suffix, line: { color: "#d1009d", width: 2 },
      x0: position - 0.5, x1: position + 0.5, y0: data.injection.layer - 0.5, y1: data.injection.layer + 0.5,
    }));
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
  choice.layer.value = layer;
  choice.position.value = position;
  document.getElementById("cell").textContent =
    `${data.targets[position]} after ${data.context[position]}, at ${rowName(layer)}`;
  const [before, after] = conditions.map((condition) => numbers(condition, layer, position));
  const between = data.kl_to_unsteered[choice.protocol.value][layer][position].toFixed(3);
  document.querySelector("#numbers tbody").replaceChildren(
    ...Object.keys(before).map((name) => row(name, [[before[name], ""], [after[name], ""]])),
    row("KL to unsteered", [["", ""], [between, ""]]));
  const tops = conditions.map((condition) => values(condition, "top")[layer][position]);
  document.querySelector("#top tbody").replaceChildren(...tops[0].map((_, i) => row(String(i + 1),
    tops.flatMap((top) => [[data.tokens[top[i][0]], "token"], [probability(top[i][1]), ""]]))));
}

function draw() {
  const drawn = traces();
  return Plotly.react(maps, drawn, layout(drawn), { responsive: true, displaylogo: false, displayModeBar: false });
}

function redescribe() {
  describe(Number(choice.layer.value), Number(choice.position.value));
}

function fill(select, names) {
  select.replaceChildren(...names.map((name, value) => new Option(name, value)));
}

fill(choice.layer, data.layers);
fill(choice.position, data.targets.map((token, position) => `${position}: ${token}`));
describe(data.layers.length - 1, data.keys.length ? data.keys[0] : data.targets.length - 1);
draw().then(() => {
  maps.on("plotly_hover", (event) => describe(event.points[0].y, event.points[0].x));
  document.body.dataset.ready = "true";
});
for (const select of [choice.layer, choice.position]) select.addEventListener("change", redescribe);
for (const select of [choice.statistic, choice.protocol]) {
  select.addEventListener("change", () => { draw(); redescribe(); });
}
