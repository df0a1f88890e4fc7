// What the model knows: fetched anew now and then, while nobody is about to use it.
import { localiseTimes } from "./times.js";

const EVERY_MS = 20000;

export function followKnowledge(path) {
  setInterval(async () => {
    const shown = document.getElementById("knowledge");
    if (!shown || document.hidden || shown.contains(document.activeElement)) return;
    const response = await fetch(`/machines/${path}/knowledge`).catch(() => null);
    if (!response || !response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("knowledge");
    if (!fresh) return;
    for (const details of shown.querySelectorAll("details")) {
      const same = fresh.querySelector(`[data-details="${details.dataset.details}"]`);
      if (same) same.open = details.open;
    }
    shown.replaceWith(fresh);
    localiseTimes();
  }, EVERY_MS);
}
