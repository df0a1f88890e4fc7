// A page without live parts: its times in the reader's zone, and whether the console still answers.
import { followPlant } from "./live.js";
import { localiseTimes } from "./times.js";

localiseTimes();
followPlant(() => {});
