// The cards below the score: one per tag, and the bars that say what stands out.
import { drawTag, dropPlot } from "./plots.js";

const SIGMAS_SHOWN_MAX = 10;
const SIGMAS_STRANGE = 3;
const BARS_MAX = 8;

const box = document.getElementById("charts");
const cards = new Map();
const due = new Map();

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = [...cards.values()].find((one) => one.root === entry.target);
    if (card) card.isVisible = entry.isIntersecting;
  }
  drawDue();
}, { rootMargin: "300px" });

function make(tag, name) {
  const element = document.createElement(tag);
  element.className = name;
  return element;
}

function makeCard(index) {
  const root = make("section", "card chart-card");
  const title = make("h2", "");
  title.id = `tag-${index}`;
  root.setAttribute("aria-labelledby", title.id);
  const name = make("span", "chart-name");
  const now = make("span", "now");
  const badge = make("span", "sigma");
  const fault = make("p", "fault");
  const plot = make("div", "plot");
  plot.setAttribute("role", "img");
  title.append(name, now, badge);
  root.append(title, fault, plot);
  return { root, name, now, badge, fault, plot, isVisible: false };
}

export function sayNumber(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (size && (size >= 1e9 || size < 1e-4)) return value.toPrecision(3);
  if (size >= 1000) return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
  return String(Number(size >= 100 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toPrecision(3)));
}

export function saySigma(sigma) {
  const size = Math.abs(sigma).toFixed(1);
  return `${sigma < 0 && size !== "0.0" ? "\u2212" : "+"}${size} σ`;
}

function isStrange(sigma) {
  return sigma !== null && Math.abs(sigma) >= SIGMAS_STRANGE;
}

function fillCard(card, chart) {
  card.name.textContent = chart.title;
  const expected = chart.expected === null ? "" : ` · expected ${sayNumber(chart.expected)}`;
  card.now.textContent = `${sayNumber(chart.value)} ${chart.unit}${expected}`;
  card.badge.hidden = chart.sigma === null;
  card.badge.textContent = chart.sigma === null ? "" : saySigma(chart.sigma);
  card.badge.dataset.strange = isStrange(chart.sigma) ? "yes" : "no";
  card.fault.hidden = !chart.fault;
  card.fault.textContent = chart.fault ? `Sensor fault: ${chart.fault}` : "";
  card.plot.setAttribute("aria-label", `${chart.title} over time, with what is normal`);
}

export function showTags(charts, isSettled) {
  const known = new Set(charts.tags.map((chart) => chart.tag));
  for (const [tag, card] of cards) {
    if (known.has(tag)) continue;
    watcher.unobserve(card.root);
    dropPlot(card.plot);
    card.root.remove();
    cards.delete(tag);
  }
  for (const chart of charts.tags) {
    let card = cards.get(chart.tag);
    if (!card) {
      card = makeCard(cards.size);
      cards.set(chart.tag, card);
      box.append(card.root);
      watcher.observe(card.root);
    }
    fillCard(card, chart);
    due.set(chart.tag, [charts, chart]);
  }
  // Under a reader's eyes nothing changes its place: the order is settled when a span is opened.
  if (!isSettled) charts.tags.forEach((chart) => box.append(cards.get(chart.tag).root));
  document.getElementById("no-charts").hidden = charts.tags.length > 0;
  drawDue();
}

// Only what is on the screen is drawn: forty tags cost no more than those in view.
function drawDue() {
  for (const [tag, [charts, chart]] of due) {
    const card = cards.get(tag);
    if (!card || !card.isVisible) continue;
    due.delete(tag);
    drawTag(card.plot, charts, chart);
  }
}

export function showContributions(charts) {
  const list = document.getElementById("contributions");
  const strongest = charts.tags.filter((chart) => chart.sigma !== null)
    .sort((one, other) => Math.abs(other.sigma) - Math.abs(one.sigma)).slice(0, BARS_MAX);
  document.getElementById("no-contributions").hidden = strongest.length > 0;
  list.replaceChildren(...strongest.map((chart) => {
    const item = make("li", "");
    const name = make("span", "contribution-name");
    name.textContent = chart.title;
    const track = make("span", "contribution-track");
    const bar = make("span", "contribution-bar");
    bar.style.width = `${(Math.min(Math.abs(chart.sigma), SIGMAS_SHOWN_MAX) / SIGMAS_SHOWN_MAX) * 50}%`;
    bar.dataset.side = chart.sigma < 0 ? "low" : "high";
    bar.dataset.strange = isStrange(chart.sigma) ? "yes" : "no";
    track.append(bar);
    const sigma = make("span", "contribution-sigma");
    sigma.textContent = saySigma(chart.sigma);
    item.append(name, track, sigma);
    return item;
  }));
}
