// The charts of one machine: fetched anew while time goes on, still while somebody looks at a span of the past.
import { sayNumber, showContributions, showTags } from "./cards.js";
import { showGaps } from "./gaps.js";
import { prepareForms } from "./forms.js";
import { followKnowledge } from "./knowledge.js";
import { followPlant } from "./live.js";
import { drawScore, setOnZoom } from "./plots.js";
import { fillRow } from "./rows.js";
import { ZONE, localiseTimes, serverNow } from "./times.js";

const facts = JSON.parse(document.getElementById("facts").textContent);
const verdict = document.getElementById("verdict");
const backToLive = document.getElementById("back-to-live");
const trouble = document.getElementById("chart-trouble");
const POINTS_MIN = 200;
const POINTS_MAX = 1000;

let rangeS = 300;
let zoomed = null;
let isSettled = false;
let timer = 0;
let turn = 0;

function chooseSpan() {
  if (zoomed) return zoomed;
  if (facts.from_ms !== null) return [facts.from_ms, facts.to_ms ?? Math.round(serverNow())];
  const now = Math.round(serverNow());
  return [now - rangeS * 1000, now];
}

function choosePauseMs() {
  if (zoomed || (facts.from_ms !== null && facts.to_ms !== null)) return null;
  return rangeS <= 300 ? 2000 : rangeS <= 3600 ? 10000 : 60000;
}

async function fetchCharts() {
  const [from, to] = chooseSpan();
  // Two points a pixel show every peak; more only cost time.
  const width = document.getElementById("score-plot").clientWidth;
  const points = Math.min(POINTS_MAX, Math.max(POINTS_MIN, width * 2));
  const response = await fetch(`/api/v1/machines/${facts.path}/charts?from=${from}&to=${to}&points=${points}`);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

function showCharts(charts) {
  if (facts.tags && facts.tags.length) {
    const blamed = new Set(facts.tags);
    charts.tags.sort((one, other) => Number(blamed.has(other.tag)) - Number(blamed.has(one.tag)));
  }
  const last = (line) => line.values.findLast((value) => value !== null) ?? null;
  const [score, limit] = [last(charts.score), last(charts.limit)];
  document.getElementById("score-now").textContent =
    score === null ? "not judged in this span" : `${sayNumber(score)} · limit ${sayNumber(limit)}`;
  showContributions(charts);  // first: the score's plot is as high as this list
  drawScore(document.getElementById("score-plot"), charts);
  showTags(charts, isSettled);
  showGaps(charts);
  isSettled = true;
}

async function refresh() {
  clearTimeout(timer);
  turn += 1;
  const mine = turn;
  try {
    const charts = await fetchCharts();
    if (mine !== turn) return;
    showCharts(charts);
    trouble.hidden = true;
  } catch (error) {
    if (mine !== turn) return;
    trouble.textContent = `The charts cannot be brought up to date: ${error.message}`;
    trouble.hidden = false;
  }
  document.body.dataset.charts = "drawn";
  schedule();
}

function schedule() {
  const pauseMs = choosePauseMs();
  if (pauseMs !== null) timer = setTimeout(() => (document.hidden ? schedule() : refresh()), pauseMs);
}

function chooseRange(button) {
  rangeS = Number(button.dataset.rangeS);
  for (const other of document.querySelectorAll("[data-range-s]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  leaveZoom();
}

function leaveZoom() {
  zoomed = null;
  isSettled = false;
  backToLive.hidden = true;
  refresh();
}

for (const button of document.querySelectorAll("[data-range-s]")) {
  button.addEventListener("click", () => chooseRange(button));
}
backToLive.addEventListener("click", leaveZoom);
setOnZoom((from, to) => {
  zoomed = [from, to];
  backToLive.hidden = false;
  backToLive.parentElement.hidden = false;
  refresh();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
document.getElementById("zone").textContent = `times in ${ZONE}`;
localiseTimes();
prepareForms();
if (verdict) followKnowledge(facts.path);
followPlant((change) => {
  const row = change.machines.find((one) => one.path === facts.path);
  if (row && verdict) fillRow(verdict, row);
});
refresh();
