// Instants that people write are meant by their own clock: the server gets them in milliseconds.
import { ZONE } from "./times.js";

export function prepareForms() {
  const meant = location.hash && document.querySelector(`details[id="${CSS.escape(location.hash.slice(1))}"]`);
  if (meant) meant.open = true;
  for (const place of document.querySelectorAll("[data-zone]")) place.textContent = ZONE;
  for (const input of document.querySelectorAll("input[data-instant]")) {
    const hidden = document.createElement("input");
    hidden.type = "hidden";
    hidden.name = input.dataset.instant;
    input.form.append(hidden);
    input.form.addEventListener("submit", () => {
      hidden.value = input.value ? String(new Date(input.value).getTime()) : "";
    });
  }
}
