// Puts what the server says of a machine into the page. Text only: a tag's name is never markup.
import { localiseWords, saySpan, serverNow } from "./times.js";

export function fillRow(element, row) {
  const put = (field, write) => {
    const target = element.querySelector(`[data-field="${field}"]`);
    if (target) write(target);
  };
  const putText = (field, text) => put(field, (target) => {
    if (target.textContent !== text) target.textContent = text;
  });
  element.dataset.attention = row.attention;
  element.dataset.path = row.path;
  const chip = element.querySelector(".chip");
  if (chip) chip.dataset.attention = row.attention;
  put("icon", (target) => target.setAttribute("href", `#icon-${row.attention}`));
  put("link", (target) => target.setAttribute("href", `/machines/${row.path}`));
  put("alert", (target) => {
    target.hidden = row.alert_id === null;
    target.setAttribute("href", `/alerts/${encodeURIComponent(row.alert_id ?? "")}`);
  });
  putText("words", row.words);
  putText("title", row.title);
  putText("path", row.path.split("/").join(" / "));
  putText("reason", localiseWords(row.reason));
  const learns = row.learned !== null;
  const load = element.querySelector(".load");
  if (load) load.dataset.shows = learns ? "learned" : "load";
  putText("load", learns ? row.learned_words : row.load === null ? "no score" : `${row.load.toFixed(2)} × limit`);
  put("spark", (target) => target.setAttribute("d", row.spark));
  put("bar", (target) => { target.style.width = `${learns ? row.learned * 100 : Math.min(100, (row.load ?? 0) * 50)}%`; });
  put("model-alert", (target) => {
    target.hidden = row.model_alert_id === null;
    target.setAttribute("href", `/alerts/${encodeURIComponent(row.model_alert_id ?? "")}`);
  });
  put("age", (target) => { target.dataset.ageMs = row.newest_ms ?? ""; });
}

export function tellAges() {
  for (const element of document.querySelectorAll("[data-age-ms]")) {
    const ms = element.dataset.ageMs;
    element.textContent = ms === "" ? "–" : saySpan((serverNow() - Number(ms)) / 1000);
  }
}
