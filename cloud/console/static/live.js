// The live stream: calls back with every change, and says in the page whether it still stands.
import { noteServerTime, sayClock } from "./times.js";

const SILENCE_MS_MAX = 15000;

export function followPlant(onChange) {
  const state = document.getElementById("link-state");
  const words = document.getElementById("link-words");
  const trouble = document.getElementById("trouble");
  let heardMs = Date.now();
  let source = null;

  function show(name, text) {
    state.dataset.state = name;
    words.textContent = text;
  }

  function open() {
    if (source) source.close();
    source = new EventSource("/api/v1/live");
    source.addEventListener("plant", (event) => {
      const change = JSON.parse(event.data);
      hear(change.at_ms);
      trouble.hidden = !change.trouble;
      trouble.textContent = change.trouble;
      onChange(change);
    });
    source.addEventListener("heartbeat", (event) => hear(Number(event.data)));
    source.addEventListener("error", lose);
  }

  function hear(atMs) {
    heardMs = Date.now();
    noteServerTime(atMs);
    show("live", "live");
  }

  function lose() {
    if (state.dataset.state !== "lost") show("lost", `connection lost since ${sayClock(heardMs)}`);
  }

  // A connection can die without a word (a cable, a sleeping laptop): silence counts as loss.
  setInterval(() => {
    const isClosed = source.readyState === EventSource.CLOSED;
    if (Date.now() - heardMs > SILENCE_MS_MAX || isClosed) {
      lose();
      if (isClosed || Date.now() - heardMs > 2 * SILENCE_MS_MAX) open();
    }
  }, 3000);
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  open();
}
