// What was not acquired in the span shown: one row per gap.
import { sayInstant } from "./times.js";

const card = document.getElementById("gaps");
const body = document.getElementById("gap-rows");
const TAGS_SHOWN_MAX = 3;

function sayTags(tags) {
  if (!tags.length) return "all tags";
  const more = tags.length - TAGS_SHOWN_MAX;
  return tags.slice(0, TAGS_SHOWN_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function sayCount(gap) {
  const missing = gap.values_missing === null ? "not known" : gap.values_missing.toLocaleString("en").replaceAll(",", "\u202f");
  return gap.values_filled ? `${missing}; ${gap.values_filled.toLocaleString("en").replaceAll(",", "\u202f")} filled from history` : missing;
}

function makeRow(gap) {
  const row = document.createElement("tr");
  const texts = [`${sayInstant(gap.first_ms)} to ${sayInstant(gap.last_ms)}`, gap.span, gap.words, gap.detail || "–", sayTags(gap.tags), sayCount(gap)];
  for (const [at, text] of texts.entries()) {
    const cell = document.createElement(at ? "td" : "th");
    if (!at) cell.scope = "row";
    cell.textContent = text;
    row.append(cell);
  }
  return row;
}

export function showGaps(charts) {
  card.hidden = charts.gaps.length === 0;
  body.replaceChildren(...charts.gaps.map(makeRow));
}
