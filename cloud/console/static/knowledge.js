// What the model knows: fetched anew now and then, while nobody is about to use it.
import { localiseTimes } from "./times.js";

const EVERY_MS = 20000;

export function followKnowledge(path) {
  setInterval(async () => {
    const shown = document.getElementById("knowledge");
    const held = document.activeElement;
    if (!shown || document.hidden || (shown.contains(held) && held.tagName !== "SUMMARY")) return;
    const response = await fetch(`/machines/${path}/knowledge`).catch(() => null);
    if (!response || !response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("knowledge");
    if (!fresh) return;
    for (const details of shown.querySelectorAll("details")) {
      const same = fresh.querySelector(`[data-details="${details.dataset.details}"]`);
      if (same) same.open = details.open;
    }
    const kept = shown.contains(held) ? `[data-details="${held.parentElement.dataset.details}"] > summary` : null;
    shown.replaceWith(fresh);
    if (kept) fresh.querySelector(kept)?.focus({ preventScroll: true });
    localiseTimes();
  }, EVERY_MS);
}
