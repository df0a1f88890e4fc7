// The plant overview: follows the live stream, changes rows in place, keeps them in the order of attention.
import { followPlant } from "./live.js";
import { fillRow, tellAges } from "./rows.js";

const list = document.getElementById("machines");
const template = document.getElementById("machine-template");
const COUNT = new Intl.NumberFormat("en", { useGrouping: true });

function findItem(path) {
  return [...list.children].find((item) => item.dataset.path === path);
}

function showPlant(plant) {
  const put = (name, text) => {
    document.querySelector(`[data-plant="${name}"]`).textContent = text;
  };
  const flag = (name, isTrouble) => {
    document.querySelector(`[data-plant-box="${name}"]`).dataset.trouble = isTrouble ? "yes" : "no";
  };
  const count = (number) => COUNT.format(number).replaceAll(",", "\u202f");
  for (const name of ["forewarning_words", "forewarning_terms", "false_words", "false_terms"]) put(name, plant[name]);
  put("machines", count(plant.machines));
  put("needing_attention", count(plant.needing_attention));
  put("gateways", `${plant.gateways_online} of ${plant.gateways_online + plant.gateways_offline}`);
  put("values_stored", count(plant.values_stored));
  put("batches_missing", plant.batches_missing === null ? "–" : count(plant.batches_missing));
  flag("needing_attention", plant.needing_attention > 0);
  flag("gateways", plant.gateways_offline > 0);
  flag("batches_missing", plant.batches_missing > 0);
  document.getElementById("empty").hidden = plant.machines > 0;
  document.getElementById("machines-box").hidden = plant.machines === 0;
}

function sortItems(order) {
  const gone = new Set([...list.children].map((item) => item.dataset.path));
  order.forEach((path, index) => {
    gone.delete(path);
    const item = findItem(path);
    // Moving an item takes the focus away from it: only what stands elsewhere is moved.
    if (item && list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  gone.forEach((path) => findItem(path).remove());
}

function showChange(change) {
  showPlant(change.plant);
  for (const row of change.machines) {
    let item = findItem(row.path);
    if (!item) {
      item = template.content.firstElementChild.cloneNode(true);
      list.append(item);
    }
    fillRow(item, row);
  }
  if (change.order) sortItems(change.order);
  tellAges();
}

followPlant(showChange);
setInterval(tellAges, 1000);
