// Instants and ages as the reader's own clock says them.
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY_AND_CLOCK = new Intl.DateTimeFormat([], {
  year: "numeric", month: "2-digit", day: "2-digit",
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

const BRIEF = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const DAY_BRIEF = new Intl.DateTimeFormat([], BRIEF);
const YEAR_BRIEF = new Intl.DateTimeFormat([], { ...BRIEF, year: "numeric" });

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

export function sayClock(ms) {
  return CLOCK.format(new Date(ms));
}

export function sayInstant(ms) {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return isToday ? sayClock(ms) : DAY_AND_CLOCK.format(new Date(ms));
}

export function sayBrief(ms) {
  const at = new Date(ms);
  return (at.getFullYear() === new Date().getFullYear() ? DAY_BRIEF : YEAR_BRIEF).format(at);
}

export function saySpan(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  if (left < 60) return `${left} s`;
  const [size, unit, smaller, smallerUnit] =
    left < 3600 ? [60, "min", 1, "s"] : left < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
  const rest = Math.floor((left % size) / smaller);
  return `${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${smallerUnit}` : ""}`;
}

// Reasons are told in UTC by who does not know the reader.
export function localiseWords(words) {
  return words.replace(/(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:Z| UTC)/g, (_, day, clock) => sayInstant(Date.parse(`${day}T${clock}Z`)));
}

export function localiseTimes() {
  for (const element of document.querySelectorAll("[data-words]")) element.textContent = localiseWords(element.textContent);
  for (const element of document.querySelectorAll("[data-between]")) {
    const [first, last] = element.dataset.between.split(" ").map((ms) => sayInstant(Number(ms)));
    element.textContent = element.textContent.replace(/between .*$/s, `between ${first} and ${last}`);
  }
  for (const element of document.querySelectorAll("time[data-ms]")) {
    const ms = Number(element.dataset.ms);
    element.dateTime = new Date(ms).toISOString();
    element.title = `${DAY_AND_CLOCK.format(new Date(ms))} ${ZONE}`;
    element.textContent = "brief" in element.dataset ? sayBrief(ms) : sayInstant(ms);
  }
}

// The server's clock counts: an age must not depend on how the reader's clock is set.
let clockOffsetMs = 0;

export function noteServerTime(ms) {
  clockOffsetMs = ms - Date.now();
}

export function serverNow() {
  return Date.now() + clockOffsetMs;
}
