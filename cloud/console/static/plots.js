// Draws curves with Plotly: one plot per tag, one shared span of time, one shared hover.
/* global Plotly */

const QUIET = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };
const isTouch = window.matchMedia("(pointer: coarse)").matches;
const plots = new Set();
let onZoom = () => {};

export function setOnZoom(callback) {
  onZoom = callback;
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--ink"), quiet: read("--ink-quiet"), grid: read("--grid"), line: read("--curve"),
    band: read("--band"), expected: read("--expected"), alarm: read("--alarm"), warn: read("--warn"), high: read("--high"),
    paper: read("--card"),
  };
}

// Plotly reads <b> and <br> in its texts; what machines are called is no markup.
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// The day is said once above the charts: an axis of one day needs only the clock.
function chooseTicks(charts) {
  const spanS = (charts.to_ms - charts.from_ms) / 1000;
  if (spanS <= 240) return "%H:%M:%S";
  return spanS <= 2 * 86400 ? "%H:%M" : "%d %b";
}

function makeLayout(element, charts, colours, isLog, unit, tag = null) {
  const size = 11;
  const shared = { gridcolor: colours.grid, zeroline: false, linecolor: colours.grid, tickfont: { size, color: colours.quiet }, fixedrange: isTouch };
  return {
    autosize: true,
    margin: { l: 52, r: 12, t: 8, b: 26 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "inherit", size, color: colours.ink },
    showlegend: false,
    hovermode: "x",
    hoverdistance: 40,
    hoverlabel: { bgcolor: colours.paper, bordercolor: colours.quiet, font: { color: colours.ink, size: 12 } },
    dragmode: isTouch ? false : "zoom",
    uirevision: "kept",
    xaxis: {
      ...shared, type: "date", range: [charts.from_ms, charts.to_ms],
      showspikes: true, spikemode: "across", spikesnap: "cursor", spikethickness: 1, spikecolor: colours.quiet, spikedash: "dot",
      tickformat: chooseTicks(charts), tickangle: 0, nticks: Math.max(3, Math.min(8, Math.floor(element.clientWidth / 90))),
      hoverformat: charts.to_ms - charts.from_ms > 86400000 ? "%d %b %H:%M:%S" : "%H:%M:%S",
    },
    yaxis: {
      ...shared, fixedrange: true, type: isLog ? "log" : "linear", nticks: 5, automargin: false, tickformat: isLog ? ".3~g" : "",
      rangemode: unit === null ? "tozero" : "normal", exponentformat: "SI",
    },
    shapes: [...drawGaps(charts, colours, tag), ...drawMarks(charts, colours)],
  };
}

// Where nothing was acquired nobody knows what the machine did: grey, with an edge that shows the shortest gap.
function drawGaps(charts, colours, tag) {
  return charts.gaps.filter((gap) => !gap.tags.length || gap.tags.includes(tag)).map((gap) => ({
    type: "rect", xref: "x", yref: "paper", layer: "below", x0: gap.first_ms, x1: gap.last_ms, y0: 0, y1: 1,
    fillcolor: colours.quiet, opacity: 0.2, line: { width: 1, color: colours.quiet },
  }));
}

function drawMarks(charts, colours) {
  const line = (ms, look) => ({ type: "line", xref: "x", yref: "paper", x0: ms, x1: ms, y0: 0, y1: 1, line: look });
  return charts.marks.flatMap((mark) => {
    const color = mark.kind === "tag" ? colours.warn : colours.alarm;
    const span = { x0: mark.raised_ms, x1: mark.cleared_ms ?? charts.to_ms, y0: 0, y1: 1 };
    return [
      { type: "rect", xref: "x", yref: "paper", layer: "below", ...span, fillcolor: color, opacity: 0.07, line: { width: 0 } },
      line(mark.raised_ms, { color, width: 2 }),
      ...(mark.cleared_ms === null ? [] : [line(mark.cleared_ms, { color: colours.quiet, width: 1.5, dash: "dot" })]),
    ];
  });
}

function makeCurve(line, name, look, unit) {
  return {
    type: "scatter", mode: "lines", name, x: line.times_ms, y: line.values,
    line: look, hovertemplate: `${name} %{y:.4~g} ${plain(unit)}<extra></extra>`, connectgaps: false,
  };
}

function show(element, traces, layout) {
  const isNew = !plots.has(element);
  Plotly.react(element, traces, layout, QUIET);
  if (!isNew) return;
  plots.add(element);
  element.on("plotly_hover", (event) => shareHover(element, event));
  element.on("plotly_unhover", () => shareUnhover(element));
  element.on("plotly_relayout", (change) => {
    if (change["xaxis.range[0]"] === undefined) return;
    const [from, to] = element.layout.xaxis.range.map(readInstant);
    onZoom(Math.round(from), Math.round(to));
  });
}

// Plotly takes milliseconds and shows them by the reader's clock; what it says back is that clock's text.
function readInstant(edge) {
  if (typeof edge === "number") return edge;
  return Date.parse(edge.includes(" ") ? edge.replace(" ", "T") : `${edge}T00:00`);
}

// Where to hover it wants to be told in its own milliseconds: those of that text, were it UTC.
function readHovered(text) {
  return typeof text === "number" ? text : Date.parse(`${text.replace(" ", "T")}${text.includes(" ") ? "Z" : ""}`);
}

let isSharing = false;

function shareHover(source, event) {
  if (isSharing || !event.xvals) return;
  isSharing = true;
  const xval = readHovered(event.xvals[0]);
  for (const plot of plots) {
    if (plot !== source && plot.isConnected) Plotly.Fx.hover(plot, { xval }, ["xy"]);
  }
  isSharing = false;
}

function shareUnhover(source) {
  if (isSharing) return;
  isSharing = true;
  for (const plot of plots) if (plot !== source && plot.isConnected) Plotly.Fx.unhover(plot);
  isSharing = false;
}

export function dropPlot(element) {
  plots.delete(element);
  Plotly.purge(element);
}

export function drawScore(element, charts) {
  const colours = readColours();
  const { score, limit } = charts;
  const numbers = score.values.filter((value) => value !== null);
  const limits = limit.values.filter((value) => value !== null);
  const top = Math.max(0, ...numbers);
  const isLog = limits.length > 0 && top > 10 * limits[limits.length - 1] && Math.min(...numbers) > 0;
  const strange = splitAbove(score, limit);
  const traces = [
    makeCurve(score, "score", { color: colours.line, width: 1.6 }, ""),
    { ...makeCurve(strange, "score", { color: colours.alarm, width: 2.2 }, ""), hoverinfo: "skip", hovertemplate: undefined },
    makeCurve(limit, "limit", { color: colours.high, width: 1.4, dash: "dash" }, ""),
  ];
  show(element, traces, makeLayout(element, charts, colours, isLog, null));
}

// The part of the score above its limit, to be drawn in the colour of an alarm.
function splitAbove(score, limit) {
  let at = 0;
  const values = score.values.map((value, index) => {
    while (at + 1 < limit.times_ms.length && limit.times_ms[at + 1] <= score.times_ms[index]) at += 1;
    const bound = limit.values[at];
    return value !== null && bound !== null && bound !== undefined && value > bound ? value : null;
  });
  return { times_ms: score.times_ms, values };
}

export function drawTag(element, charts, chart) {
  const colours = readColours();
  const traces = [];
  if (chart.band) {
    const edge = { width: 0 };
    const low = { times_ms: chart.band.times_ms, values: chart.band.low };
    const high = { times_ms: chart.band.times_ms, values: chart.band.high };
    traces.push({ ...makeCurve(low, "low", edge, ""), hoverinfo: "skip", hovertemplate: undefined });
    traces.push({ ...makeCurve(high, "high", edge, ""), fill: "tonexty", fillcolor: colours.band, hoverinfo: "skip", hovertemplate: undefined });
    traces.push(makeCurve({ times_ms: chart.band.times_ms, values: chart.band.expected }, "expected", { color: colours.expected, width: 1.3, dash: "dot" }, chart.unit));
  }
  traces.push(makeCurve(chart.line, "measured", { color: colours.line, width: 1.6 }, chart.unit));
  const layout = makeLayout(element, charts, colours, false, chart.unit, chart.tag);
  if (chart.high !== null) drawFixedLimit(layout, chart, colours);
  show(element, traces, layout);
}

// A limit far away would flatten the curve that matters: it is then named at the edge and not drawn to scale.
function drawFixedLimit(layout, chart, colours) {
  const shown = [chart.line.values, chart.band?.low ?? [], chart.band?.high ?? []].flat().filter((value) => value !== null);
  const [low, top] = shown.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  if (chart.high > top + 0.75 * (top - low)) {
    layout.annotations = [{
      text: `\u2191 fixed limit ${chart.high} ${plain(chart.unit)}`, showarrow: false, font: { color: colours.high, size: 11 },
      xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "top", bgcolor: colours.paper, borderpad: 1,
    }];
    return;
  }
  layout.shapes.push({
    type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: chart.high, y1: chart.high,
    line: { color: colours.high, width: 1.4, dash: "dash" },
  });
  layout.yaxis.autorangeoptions = { include: chart.high + Math.abs(chart.high) * 0.02 };
}
