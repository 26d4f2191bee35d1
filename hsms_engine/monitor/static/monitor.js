"use strict";

// Nothing that comes from the server is ever read as markup: text goes into the page by `textContent`
// alone, and of pictures only known elements with known attributes are copied.

const SVG = "http://www.w3.org/2000/svg";
const PAGE = 100;
const MOST_ITEMS = 2000;

const $ = (id) => document.getElementById(id);

/* Elements */

function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((each) => each !== null));
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/* Times and numbers */

const two = (number) => String(number).padStart(2, "0");

function clock(wall, digits = 3) {
  const date = new Date(wall * 1000);
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return digits ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

function day(wall) {
  const date = new Date(wall * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

const moment = (wall, digits = 3) => `${day(wall)} ${clock(wall, digits)}`;

// With the day when that is another one.
const near = (wall, now, digits = 3) => (day(wall) === day(now) ? clock : moment)(wall, digits);

function timeTag(wall, text = clock(wall)) {
  const tag = make("time", { title: moment(wall) });
  tag.textContent = text;
  return tag;
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const first = UNITS.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  const [size, unit] = UNITS[first];
  const text = `${Math.floor(whole / size)} ${unit}`;
  if (first === UNITS.length - 1) return text;
  const [smaller, name] = UNITS[first + 1];
  const rest = Math.floor((whole % size) / smaller);
  return rest ? `${text} ${rest} ${name}` : text;
}

function span(seconds) {
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
  return seconds < 100 ? `${seconds.toFixed(seconds < 10 ? 2 : 1)} s` : duration(seconds);
}

const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

const spaced = (name) => name.replaceAll("_", " ");

/* The server */

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

class Unreachable extends Error {}

async function fetched(path, options = {}) {
  const request = { credentials: "same-origin", cache: "no-store", ...options };
  const answer = await fetch(path, request).catch((error) => {
    throw new Unreachable(error.message);
  });
  const text = await answer.text().catch((error) => {
    throw new Unreachable(error.message);
  });
  if (answer.ok) return text;
  throw new Refused(answer.status, errorIn(text) ?? `the server answered ${answer.status}`);
}

function errorIn(text) {
  try {
    return String(JSON.parse(text).error);
  } catch {
    return null;
  }
}

async function asked(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return JSON.parse(await fetched(text ? `${path}?${text}` : path));
}

const ofLink = (part = "") => `/api/link/${encodeURIComponent(place.link)}${part}`;

// One call at a time; calls made while it runs become one more after it.
function oneAtATime(work) {
  let runs = false;
  let again = false;
  return async function run() {
    if (runs) {
      again = true;
      return;
    }
    runs = true;
    try {
      do {
        again = false;
        await work();
      } while (again);
    } catch (error) {
      failed(error);
    } finally {
      runs = false;
    }
  };
}

function failed(error) {
  if (error instanceof Unreachable) {
    // It is known already while the page waits to connect again.
    if (stream !== null) lose();
  } else if (!(error instanceof Refused)) throw error;
  else if (error.status === 401) askForToken();
  else if (error.status === 404) showMissing(error.message);
  else showProblem(error.message);
}

function showProblem(text) {
  $("problem").hidden = text === "";
  say($("problem"), text);
}

/* Where one is: kept in the address, so that a reload comes back to it */

const place = { link: null, at: null, tab: "messages", span: null };

function readPlace() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const number = (name) => {
    const value = Number.parseFloat(hash.get(name) ?? "");
    return Number.isFinite(value) ? value : null;
  };
  place.link = hash.get("link");
  place.at = number("at");
  place.span = number("span");
  place.tab = TABS.includes(hash.get("tab")) ? hash.get("tab") : "messages";
}

function addressOf(link) {
  const hash = new URLSearchParams({ link });
  return `#${hash}`;
}

function writePlace() {
  if (place.link === null) return;
  const hash = new URLSearchParams({ link: place.link });
  // Whole: a step may be a microsecond later.
  if (place.at !== null) hash.set("at", String(place.at));
  if (place.span !== null) hash.set("span", place.span.toFixed(3));
  if (place.tab !== "messages") hash.set("tab", place.tab);
  history.replaceState(null, "", `#${hash}`);
}

/* The connection to the server */

let stream = null;
let retry = null;
let wait = 1;
let offset = 0;

const serverNow = () => Date.now() / 1000 + offset;

function tell(state, text) {
  $("connection").dataset.state = state;
  say($("connection"), text);
}

function hangUp() {
  clearTimeout(retry);
  stream?.close();
  stream = null;
}

function listen() {
  hangUp();
  const path = place.link === null ? "" : `?link=${encodeURIComponent(place.link)}`;
  const opened = new EventSource(`/api/events${path}`);
  stream = opened;
  opened.addEventListener("open", () => {
    wait = 1;
    tell("connected", "connected");
  });
  opened.addEventListener("links", (event) => takeLinks(JSON.parse(event.data)));
  opened.addEventListener("link", (event) => takeDetail(JSON.parse(event.data)));
  opened.addEventListener("error", () => {
    if (stream === opened) lose();
  });
}

function lose() {
  hangUp();
  tell("away", "The connection to the server is lost; connecting again");
  retry = setTimeout(comeBack, wait * 1000);
  wait = Math.min(5, wait * 1.5);
}

async function comeBack() {
  try {
    await begin();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForToken();
    else lose();
  }
}

// Asked for before the stream, which does not tell why it was refused.
async function begin() {
  const all = await asked("/api/links");
  rows.clear();
  sources.clear();
  takeLinks(all);
  $("enter").hidden = true;
  await showPlace();
}

function askForToken() {
  hangUp();
  detail = null;
  tell("away", "A token is needed");
  for (const id of ["overview", "link"]) $(id).hidden = true;
  if (!$("enter").hidden) return;
  $("enter").hidden = false;
  $("token").focus();
}

async function enterWith(token) {
  say($("enter-error"), "");
  try {
    await fetched("/enter", { method: "POST", body: token, headers: { "Content-Type": "text/plain" } });
  } catch (error) {
    return notEntered(error instanceof Refused ? error.message : "The server is not there.");
  }
  $("token").value = "";
  await comeBack();
}

// Who opens the same address again has been let in before.
async function notEntered(why) {
  try {
    await begin();
  } catch {
    askForToken();
    say($("enter-error"), why);
  }
}

/* All links */

const rows = new Map();
const shown = new Map();
const sources = new Map();
let sorted = { by: "name", up: true };
let phase = null;

const compare = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;

const nowOf = (row) => (isLive(row) && !row.is_gone ? serverNow() : row.wall);
const isLive = (row) => sources.get(row.source)?.kind === "live";
const stateOf = (row) => row.phase ?? row.state ?? "unknown";

const COLUMNS = [
  { is: "name", label: "Link", key: (row) => row.name, fill: fillName },
  { is: "state", label: "State", key: (row) => stateOf(row), fill: fillState },
  { is: "since", label: "Since", key: (row) => (row.since === null ? null : -row.since), number: true, text: (row) => (row.since === null ? "" : duration(nowOf(row) - row.since)), title: (row) => (row.since === null ? "" : moment(row.since)) },
  { is: "breaker", label: "Breaker", key: (row) => row.breaker ?? "", text: (row) => breakerName(row.breaker) },
  { is: "owner", label: "Owner", key: (row) => (row.lease === null ? null : ownerOf(row)), text: ownerAndSince, title: aboutLease },
  { is: "next_attempt", label: "Next attempt", key: (row) => row.next_attempt, number: true, text: nextAttempt, title: (row) => (row.next_attempt === null ? "" : moment(row.next_attempt)) },
  { is: "round_trip", label: "Round trip", key: (row) => row.round_trip, number: true, text: (row) => (row.round_trip === null ? "" : span(row.round_trip)) },
  { is: "recovery_bound", label: "Back within", key: (row) => row.recovery_bound, number: true, text: (row) => (row.recovery_bound === null ? "" : span(row.recovery_bound)), title: (row) => row.recovery_condition ?? "" },
  { is: "last_error", label: "Last error", key: (row) => (row.last_error === null ? null : -row.last_error.wall), fill: fillError },
];

// The columns whose texts change as time passes.
const TICKING = ["since", "owner", "next_attempt"];

// A name is isolated, because it may be written in the other direction.
function ownerOf({ lease: { state, owner } }) {
  const name = owner ? ` \u2068${owner}\u2069` : "";
  if (state === "owner") return `this process${name}`;
  if (state === "standby") return name ? `standby of${name}` : "standby";
  return spaced(state);
}

function ownerAndSince(row) {
  return row.lease === null ? "" : `${ownerOf(row)}, ${duration(nowOf(row) - row.lease.since)}`;
}

function aboutLease(row) {
  return row.lease === null ? "" : `since ${moment(row.lease.since)}, epoch ${row.lease.lease_epoch}`;
}

function nextAttempt(row) {
  if (row.next_attempt === null) return "";
  const left = row.next_attempt - nowOf(row);
  return left > 0 ? `in ${duration(Math.ceil(left))}` : "now";
}

// The states of the breaker have its name in them where another chart has a state like it.
const breakerName = (leaf) => (leaf === null ? "" : leafName(leaf));
const leafName = (leaf) => spaced(leaf).replace(/^breaker /, "");

const classOf = (name) => `is-${(name ?? "unknown").replaceAll(/[^a-z]+/g, "-")}`;

function swatch(name) {
  const element = make("span", { class: `swatch ${classOf(name)}`, "aria-hidden": "true" });
  element.style.setProperty("--height", `${100 * heightOf(name)}%`);
  return element;
}

function fillName(cell, row) {
  const link = make("a", { href: addressOf(row.key) });
  link.append(make("bdi"));
  link.firstChild.textContent = row.name;
  const peer = make("span", { class: "peer" });
  peer.textContent = whatIs(row);
  cell.replaceChildren(link, peer);
}

function whatIs(row) {
  const parts = [row.role, row.peer === row.name ? null : row.peer, row.server && `server ${row.server}`];
  if (sources.size > 1) parts.push(sources.get(row.source)?.name);
  if (row.is_gone) parts.push("gone");
  return parts.filter(Boolean).join(" · ");
}

function stateParts(row) {
  const name = stateOf(row);
  const parts = [swatch(row.phase), document.createTextNode(spaced(name))];
  if (row.state !== null && row.state !== stateOf(row)) {
    const leaf = make("span", { class: "when" });
    leaf.textContent = ` ${spaced(row.state)}`;
    parts.push(leaf);
  }
  return parts;
}

function fillState(cell, row) {
  cell.replaceChildren(...stateParts(row));
}

function fillError(cell, row) {
  if (row.last_error === null) return cell.replaceChildren();
  const { error, text, wall } = row.last_error;
  const when = make("span", { class: "when number" });
  when.append(timeTag(wall, `${near(wall, nowOf(row), 0)} `));
  const what = make("span", { title: error });
  what.textContent = text || error;
  cell.replaceChildren(when, what);
}

function fillCell(cell, column, row) {
  if (column.fill) return column.fill(cell, row);
  say(cell, column.text(row));
  const title = column.title?.(row);
  if (title) cell.title = title;
  else cell.removeAttribute("title");
}

function rowElement(row) {
  const cells = COLUMNS.map((column) =>
    make("td", { role: "cell", "data-is": column.is, "data-label": column.label, class: column.number ? "is-number" : null }),
  );
  const element = make("tr", { role: "row" }, ...cells);
  fillRow(element, row);
  return element;
}

function fillRow(element, row) {
  byElement.set(element, row);
  element.classList.toggle("is-gone", row.is_gone);
  COLUMNS.forEach((column, place) => fillCell(element.cells[place], column, row));
}

function takeLinks({ now, sources: read, counts, links, gone = [] }) {
  offset = now - Date.now() / 1000;
  for (const source of read) sources.set(source.source, source);
  showSources(counts);
  for (const row of links) {
    rows.set(row.key, row);
    const element = shown.get(row.key);
    if (element !== undefined && !isSame(byElement.get(element), row)) fillRow(element, row);
  }
  for (const key of gone) {
    rows.delete(key);
    shown.delete(key);
  }
  if (!$("overview").hidden) orderRows();
}

// The first event of a stream has them all, and most of them are there already.
const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function matches(row, words) {
  if (phase !== null && stateOf(row) !== phase) return false;
  if (words.length === 0) return true;
  const parts = [row.name, row.peer, row.server, stateOf(row), row.state, breakerName(row.breaker), row.lease?.state, row.lease?.owner, row.last_error?.text, row.last_error?.error];
  const text = parts.filter(Boolean).join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// Empty cells come last, whichever way it is sorted.
function inOrder(one, other) {
  const column = COLUMNS.find((each) => each.is === sorted.by);
  const [a, b] = [column.key(one), column.key(other)];
  if (a === b) return compare(one.name, other.name);
  if (a === null || b === null) return a === null ? 1 : -1;
  const order = typeof a === "string" ? compare(a, b) : a - b;
  return (sorted.up ? order : -order) || compare(one.name, other.name);
}

function orderRows() {
  const words = $("links-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [...rows.values()].filter((row) => matches(row, words)).sort(inOrder);
  const elements = found.map((row) => {
    if (!shown.has(row.key)) shown.set(row.key, rowElement(row));
    return shown.get(row.key);
  });
  putInOrder($("links-body"), elements);
  showPhases();
  $("overview").classList.toggle("has-leases", [...rows.values()].some((row) => row.lease !== null));
  say($("links-count"), found.length === rows.size ? many(rows.size, "link") : `${found.length} of ${many(rows.size, "link")}`);
  $("links-none").hidden = found.length > 0;
  say($("links-none"), rows.size ? "No link is like this." : "There is no link yet.");
}

// Only those that stand wrong are moved: an element that is moved loses the focus.
function putInOrder(parent, elements) {
  const focused = document.activeElement;
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

function showPhases() {
  const counts = new Map();
  for (const row of rows.values()) counts.set(stateOf(row), (counts.get(stateOf(row)) ?? 0) + 1);
  if (phase !== null && !counts.has(phase)) counts.set(phase, 0);
  const box = $("phases");
  const known = new Map([...box.children].map((each) => [each.dataset.phase, each]));
  const names = [...counts.keys()].sort((a, b) => heightOf(b) - heightOf(a));
  for (const name of names) {
    if (known.has(name)) continue;
    const button = make("button", { type: "button", "data-phase": name }, swatch(name), make("span"));
    button.addEventListener("click", () => {
      phase = phase === name ? null : name;
      orderRows();
    });
    known.set(name, button);
  }
  putInOrder(box, names.map((name) => known.get(name)));
  for (const name of names) {
    const button = known.get(name);
    button.setAttribute("aria-pressed", String(phase === name));
    say(button.lastChild, `${counts.get(name)} ${spaced(name)}`);
  }
}

function showSources(counts) {
  const names = [...sources.values()].map((source) => {
    const item = make("li");
    const read = source.read < 1 ? ` (${Math.floor(source.read * 100)} % read)` : "";
    item.textContent = `${source.name}${read}`;
    return item;
  });
  $("sources").replaceChildren(...names);
  const notes = [...sources.values()].flatMap((source) => source.notes);
  const told = [
    [counts.lost, "records are missing: they came faster than they were taken"],
    [counts.unread, "lines could not be read"],
    [counts.forgotten, "records are no longer kept: they were the oldest"],
    [counts.late, "steps came late and changed no state"],
  ];
  for (const [count, text] of told) if (count) notes.push(`${count} ${text}`);
  showNotes(notes);
}

// A file can have many that are alike: they are not to take the room of the links.
function showNotes(notes) {
  const told = notes.join("\n");
  if ($("notes").dataset.told === told) return;
  $("notes").dataset.told = told;
  const item = (text) => Object.assign(make("li"), { textContent: text });
  const [first, rest] = notes.length > 3 ? [notes.slice(0, 2), notes.slice(2)] : [notes, []];
  const items = first.map(item);
  if (rest.length) {
    const summary = Object.assign(make("summary"), { textContent: `${rest.length} more` });
    items.push(make("li", {}, make("details", {}, summary, make("ul", {}, ...rest.map(item)))));
  }
  $("notes").replaceChildren(...items);
}

function showHead() {
  const heads = COLUMNS.map((column) => {
    const button = make("button", { type: "button" });
    button.textContent = column.label;
    button.addEventListener("click", () => sortBy(column.is));
    return make("th", { role: "columnheader", scope: "col", "data-is": column.is, class: column.number ? "is-number" : null }, button);
  });
  $("links-head").replaceChildren(...heads);
  for (const column of COLUMNS) {
    const option = make("option", { value: column.is });
    option.textContent = column.label;
    $("links-sort").append(option);
  }
  markHead();
}

function sortBy(name) {
  sorted = { by: name, up: sorted.by === name ? !sorted.up : true };
  markHead();
  orderRows();
}

function markHead() {
  for (const head of $("links-head").cells) {
    const way = sorted.up ? "ascending" : "descending";
    head.setAttribute("aria-sort", head.dataset.is === sorted.by ? way : "none");
  }
  $("links-sort").value = sorted.by;
}

/* Phases */

// How high the band of a phase, or of a state of the breaker or the lease, is: they are told apart without colours.
const HEIGHTS = {
  selected: 1, "not selected": 0.8, selecting: 0.68, separating: 0.6, connecting: 0.52, listening: 0.44,
  asking: 0.4, waiting: 0.34, blocked: 0.28, idle: 0.2, closed: 0.12,
  breaker_open: 1, isolated: 1, ready: 0.6, probing: 0.6, breaker_closed: 0.3,
  owner: 1, doubtful: 0.8, draining: 0.6, standby: 0.4, withdrawn: 0.2, ended: 0.1,
};
const heightOf = (name) => HEIGHTS[name] ?? 0.1;

/* One link */

let detail = null;
let received = 0;

async function showPlace() {
  const isLink = place.link !== null;
  $("overview").hidden = isLink;
  $("link").hidden = !isLink;
  if (isLink) await showLink();
  else showOverview();
  listen();
}

function showOverview() {
  document.title = "HSMS links";
  detail = null;
  orderRows();
}

async function showLink() {
  showMissing("");
  if (detail?.row.key !== place.link) clearLink();
  showTab(place.tab);
  try {
    await travel();
  } catch (error) {
    if (error instanceof Refused && error.status === 404) showMissing(error.message);
    else throw error;
  }
}

function clearLink() {
  detail = null;
  view.from = view.to = null;
  line = null;
  for (const id of ["charts", "others", "messages", "events", "sequence", "timers", "facts", "settings", "timeline"]) {
    $(id).replaceChildren();
  }
  for (const list of [messages, events]) list.clear();
  pictures.shown.clear();
  say($("link-name"), "");
  $("link-state").replaceChildren();
  say($("link-what"), "");
}

function showMissing(text) {
  $("link-missing").hidden = text === "";
  $("link").classList.toggle("is-missing", text !== "");
  say($("link-missing"), text);
}

// In the past the stream only tells that the link goes on.
function takeDetail(found) {
  if (found.row.key !== place.link) return;
  const grew = detail === null || found.records !== detail.records;
  if (place.at === null) showDetail(found);
  else if (detail !== null) detail.last = found.last;
  if (grew && place.at === null) refreshSoon();
}

async function travel() {
  const at = place.at;
  const found = await asked(ofLink(), { at });
  if (at !== place.at) return;
  showDetail(found);
  await refresh();
}

const travelSoon = oneAtATime(async () => {
  if (place.link !== null) await travel();
});

function goTo(at) {
  place.at = at === null ? null : Math.min(Math.max(at, detail.first), endOf());
  writePlace();
  showCursor();
  travelSoon();
}

function showDetail(found) {
  const before = detail;
  detail = found;
  received = performance.now() / 1000;
  const row = found.row;
  document.title = `${row.name}: ${spaced(stateOf(row))}`;
  say($("link-name"), row.name);
  $("link-state").replaceChildren(...stateParts(row));
  say($("link-what"), whatIs(row));
  if (before !== null && before.row.state !== row.state) {
    say($("announce"), `${row.name} is ${spaced(stateOf(row))}`);
  }
  showFacts(row);
  showTimers();
  showStep(found.last_step);
  showCharts(found);
  showSettings(found.settings);
  showCursor();
}

function fact(label, text, title = "", kind = null) {
  const value = make("dd", { title: title || null });
  value.textContent = text;
  const name = make("dt");
  name.textContent = label;
  return make("div", { class: kind }, name, value);
}

function showFacts(row) {
  const now = place.at ?? nowOf(row);
  const list = [
    row.since === null ? fact("Since", "–") : fact("Since", `${near(row.since, now, 0)} (${duration(now - row.since)})`, moment(row.since)),
    fact("Connection", String(detail.epoch)),
    fact("Breaker", breakerName(row.breaker) || "none"),
    ...(row.lease === null ? [] : [fact("Owner", `${ownerOf(row)} (${duration(now - row.lease.since)})`, aboutLease(row))]),
    fact("Round trip", row.round_trip === null ? "–" : span(row.round_trip)),
    fact("Back within", row.recovery_bound === null ? "–" : span(row.recovery_bound), row.recovery_condition ?? ""),
    fact("Next attempt", row.next_attempt === null ? "–" : nextAt(row.next_attempt - now), row.next_attempt === null ? "" : moment(row.next_attempt)),
  ];
  if (row.last_error !== null) {
    const { error, text, wall } = row.last_error;
    list.push(fact("Last error", `${near(wall, now)}  ${error}: ${text}`, moment(wall), "is-wide"));
  }
  const texts = list.map((each) => each.textContent).join("\n");
  if (texts !== [...$("facts").children].map((each) => each.textContent).join("\n")) $("facts").replaceChildren(...list);
}

const nextAt = (left) => (left > 0 ? `in ${duration(Math.ceil(left))}` : "now");

function showSettings(settings) {
  const list = Object.entries(settings).sort(([a], [b]) => compare(a, b));
  const items = list.map(([name, value]) => fact(spaced(name), typeof value === "string" ? value : JSON.stringify(value)));
  $("settings").replaceChildren(...items);
}

/* Timers */

function showTimers() {
  const items = new Map([...$("timers").children].map((item) => [item.dataset.timer, item]));
  const list = detail.timers.map((timer) => items.get(timer.timer) ?? timerItem(timer.timer));
  putInOrder($("timers"), list);
  countDown();
}

function timerItem(name) {
  const item = make("li", { "data-timer": name }, make("span"), make("span", { class: "left" }), make("progress", { max: 1, "aria-hidden": "true" }));
  item.firstChild.textContent = spaced(name);
  return item;
}

const runsNow = () => detail !== null && place.at === null && isLive(detail.row) && !detail.row.is_gone && stream !== null;

function countDown() {
  if (detail === null) return;
  const gone = runsNow() ? performance.now() / 1000 - received : 0;
  detail.timers.forEach((timer, index) => {
    const [, text, bar] = $("timers").children[index].children;
    const left = timer.left === null ? null : Math.max(0, timer.left - gone);
    say(text, left === null ? "waits" : `${left.toFixed(1)} s`);
    bar.hidden = left === null || timer.of === null;
    if (!bar.hidden) bar.value = timer.of > 0 ? Math.min(1, left / timer.of) : 0;
  });
}

function everySecond() {
  if (document.hidden) return;
  if (!$("overview").hidden) {
    for (const element of $("links-body").rows) tickRow(element);
  } else if (detail !== null) {
    showFacts(detail.row);
    if (runsNow()) lineSoon();
  }
}

const byElement = new WeakMap();

function tickRow(element) {
  const row = byElement.get(element);
  if (!row || !isLive(row)) return;
  COLUMNS.forEach((column, place) => {
    if (TICKING.includes(column.is)) say(element.cells[place], column.text(row));
  });
}

/* The pictures of the charts */

const ELEMENTS = new Set(["svg", "g", "title", "path", "polygon", "polyline", "ellipse", "text", "tspan"]);
const ATTRIBUTES = new Set([
  "viewBox", "class", "transform", "d", "points", "x", "y", "cx", "cy", "rx", "ry", "fill", "stroke", "stroke-width",
  "stroke-dasharray", "text-anchor", "font-family", "font-weight", "font-style", "font-size",
]);

// A connection has an overview, and a page for each of its larger states.
const PAGES = {
  connection_active: { connection_active_not_connected: "not connected", connection_active_not_selected: "not selected", connection_active_selected: "selected" },
  connection_passive: { connection_passive_not_selected: "not selected", connection_passive_selected: "selected" },
};

const pictures = { all: new Map(), shown: new Map() };

function copied(source) {
  if (source.namespaceURI !== SVG || !ELEMENTS.has(source.localName)) return null;
  const copy = draw(source.localName);
  for (const { name, value } of source.attributes) {
    if (ATTRIBUTES.has(name)) copy.setAttribute(name, value);
  }
  for (const child of source.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) copy.append(child.data);
    else if (child.nodeType === Node.ELEMENT_NODE) {
      const inner = copied(child);
      if (inner !== null) copy.append(inner);
    }
  }
  return copy;
}

async function picture(name) {
  if (!pictures.all.has(name)) pictures.all.set(name, loadPicture(name));
  try {
    return await pictures.all.get(name);
  } catch (error) {
    pictures.all.delete(name);
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

async function loadPicture(name) {
  const text = await fetched(`/pictures/${encodeURIComponent(name)}.svg`, { cache: "default" });
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  const svg = copied(parsed.documentElement);
  return svg === null ? null : { svg, ...partsOf(svg) };
}

// What a picture is made of, by the titles that dot gives.
function partsOf(svg) {
  const nodes = new Map();
  const clusters = new Map();
  const edges = [];
  for (const group of svg.querySelectorAll("g")) {
    const title = group.querySelector(":scope > title");
    if (title === null) continue;
    const name = title.textContent;
    const kind = group.getAttribute("class");
    const shape = group.querySelector(":scope > path, :scope > polygon, :scope > ellipse");
    if (kind === "node" || kind === "cluster") shape?.setAttribute("class", "shape");
    if (kind === "node" && !/^(text|start)_/.test(name)) nodes.set(name, { group, box: boxOf(shape) });
    else if (kind === "cluster") clusters.set(name.replace(/^cluster_/, ""), { group, box: boxOf(shape) });
    else if (kind === "edge") edges.push({ group, ends: name.split("->") });
    // A browser shows a title when the mouse rests on it; these are for programs.
    title.remove();
    group.setAttribute("data-name", name);
  }
  return { nodes, clusters, edges };
}

function boxOf(shape) {
  const text = shape?.getAttribute("d") ?? shape?.getAttribute("points");
  if (!text) return null;
  const numbers = text.match(/-?\d+(\.\d+)?/g).map(Number);
  const xs = numbers.filter((_, index) => index % 2 === 0);
  const ys = numbers.filter((_, index) => index % 2 === 1);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

const holds = (outer, inner) =>
  outer !== null && inner !== null && outer[0] <= inner[0] && outer[1] <= inner[1] && outer[2] >= inner[2] && outer[3] >= inner[3];

const pagesOf = (chart) => [chart, ...Object.keys(PAGES[chart] ?? {})];

// The states that hold a leaf, and the leaf: a closed box of one page is a cluster of another.
function chainOf(leaf, pages) {
  const chain = new Set([leaf]);
  for (const { nodes, clusters } of pages) {
    const node = nodes.get(leaf);
    if (node === undefined) continue;
    for (const [name, cluster] of clusters) if (holds(cluster.box, node.box)) chain.add(name);
  }
  return chain;
}

const depth = (chain, name) => (name === [...chain][0] ? 1 : 0);

// A label stands on the way from one state to another: a__b, which may be of states that hold them.
function labelOf(page, hop, chainFrom, chainTo) {
  const words = spaced(hop.event).toLowerCase();
  const found = [];
  for (const [name, node] of page.nodes) {
    const [from, to, ...more] = name.split("__");
    if (to === undefined || more.length || !chainFrom.has(from) || !chainTo.has(to)) continue;
    const isNamed = node.group.textContent.toLowerCase().replaceAll(/\s+/g, " ").includes(words);
    found.push({ name, node, rank: (isNamed ? 4 : 0) + 2 * depth(chainFrom, from) + depth(chainTo, to) });
  }
  return found.sort((a, b) => b.rank - a.rank)[0] ?? null;
}

function mark(page, pages, chart, step) {
  for (const { group } of [...page.nodes.values(), ...page.clusters.values(), ...page.edges]) {
    group.classList.remove("lit", "holds", "last");
  }
  for (const leaf of chart.leaves) {
    const chain = chainOf(leaf, pages);
    for (const name of chain) {
      page.clusters.get(name)?.group.classList.add("holds");
      page.nodes.get(name)?.group.classList.add("lit");
    }
  }
  for (const hop of step?.hops ?? []) if (hop.chart === chart.chart) markHop(page, pages, hop);
}

function markHop(page, pages, hop) {
  const chain = (leaves) => new Set(leaves.flatMap((leaf) => [...chainOf(leaf, pages)]));
  const label = labelOf(page, hop, chain(hop.from), chain(hop.to));
  if (label === null) return;
  label.node.group.classList.add("last");
  for (const edge of page.edges) if (edge.ends.includes(label.name)) edge.group.classList.add("last");
}

const MAIN = ["connection_active", "connection_passive", "breaker", "lease"];

const showCharts = (() => {
  const run = oneAtATime(async () => {
    if (detail !== null) await drawCharts(detail);
  });
  return () => void run();
})();

async function drawCharts(found) {
  const main = found.charts.filter((chart) => MAIN.includes(chart.chart));
  const others = found.charts.filter((chart) => !MAIN.includes(chart.chart));
  main.sort((a, b) => MAIN.indexOf(a.chart) - MAIN.indexOf(b.chart));
  for (const chart of main) await showChart($("charts"), chart, found, mainBox);
  for (const chart of others) await showChart($("others"), chart, found, otherBox);
}

async function showChart(parent, chart, found, makeBox) {
  // One may have gone on to another link while pictures came.
  if (found.row.key !== place.link) return;
  let box = pictures.shown.get(chart.chart);
  if (box === undefined) {
    box = makeBox(chart.chart);
    pictures.shown.set(chart.chart, box);
    parent.append(box.element);
  }
  say(box.said, `${chart.leaves.map(leafName).join(", ")}, since ${near(chart.since, found.at, 0)}`);
  say(box.values, Object.entries(chart.values).map(([name, value]) => `${spaced(name)} ${value}`).join(", "));
  box.now = { chart, step: found.last_step };
  await paint(box);
}

async function paint(box) {
  if (!box.isOpen()) return;
  const { chart, step } = box.now;
  const names = chart.is_known ? pagesOf(chart.chart) : [];
  // Copies of its own: a picture can be shown at one place of the page only.
  const pages = (await Promise.all(names.map(picture))).filter((each) => each !== null);
  const page = pageFor(box, chart, names, pages);
  if (page === undefined) {
    const none = make("p", { class: "quiet" });
    none.textContent = chart.is_known ? "There is no picture of this chart." : "This chart is another version's: there is no picture of it.";
    box.picture.replaceChildren(none);
    return;
  }
  mark(page, pages, chart, step);
  const told = `${spaced(chart.chart)}: in ${chart.leaves.map(leafName).join(", ")}`;
  page.svg.setAttribute("role", "img");
  page.svg.setAttribute("aria-label", told);
  if (box.picture.firstElementChild !== page.svg) box.picture.replaceChildren(page.svg);
}

function pageFor(box, chart, names, pages) {
  const wanted = box.choice?.value ?? "follow";
  if (wanted !== "follow") return pages[names.indexOf(wanted)];
  const has = (page) => chart.leaves.some((leaf) => page.nodes.has(leaf));
  return pages.slice(1).find((page) => has(page)) ?? pages[0];
}

const shortName = (chart) => (chart.startsWith("connection_") ? "connection" : spaced(chart));

function boxParts(name) {
  const title = make("b");
  title.textContent = shortName(name);
  return { title, said: make("span"), values: make("span", { class: "quiet" }), picture: make("div", { class: "picture" }) };
}

function mainBox(name) {
  const { title, said, values, picture } = boxParts(name);
  const box = { said, values, picture, isOpen: () => true, choice: null };
  const head = make("div", { class: "chart-head" }, title, said, values);
  if (PAGES[name]) {
    box.choice = make("select", { "aria-label": `Picture of the ${title.textContent}` });
    const choices = { follow: "where it is", [name]: "overview", ...PAGES[name] };
    for (const [value, text] of Object.entries(choices)) {
      const option = make("option", { value });
      option.textContent = text;
      box.choice.append(option);
    }
    box.choice.addEventListener("change", () => void paint(box).catch(failed));
    head.append(box.choice);
  }
  box.element = make("div", { "data-chart": name }, head, picture);
  return box;
}

function otherBox(name) {
  const { title, said, values, picture } = boxParts(name);
  const element = make("details", { "data-chart": name }, make("summary", {}, title, " ", said, " ", values), picture);
  const box = { said, values, picture, element, choice: null, isOpen: () => element.open };
  element.addEventListener("toggle", () => void paint(box).catch(failed));
  return box;
}

function showLarger() {
  const isLarger = document.querySelector(".halves").classList.toggle("is-larger");
  $("larger").setAttribute("aria-pressed", String(isLarger));
}

function showStep(step) {
  if (step === null) {
    say($("last-step"), "No step yet.");
    return;
  }
  const text = step.hops
    .filter((hop) => hop.from.join() !== hop.to.join())
    .map((hop) => `${shortName(hop.chart)} ${hop.from.map(leafName).join(", ")} → ${hop.to.map(leafName).join(", ")}`)
    .join("; ");
  const event = make("b");
  event.textContent = spaced(step.event);
  const effects = make("span", { class: "quiet" });
  effects.textContent = step.effects.length ? ` / ${step.effects.map(spaced).join(", ")}` : "";
  $("last-step").replaceChildren("Last step ", timeTag(step.wall), " ", event, text ? `: ${text}` : "", effects);
}

/* The time line */

const view = { from: null, to: null };
let line = null;
const WITHOUT_LEASE = { bands: [4, 56], breaker: [62, 16], ticks: [80, 22] };
const WITH_LEASE = { bands: [4, 40], lease: [46, 16], breaker: [64, 14], ticks: [80, 22] };
let high = WITHOUT_LEASE;
let wide = 800;

const seconds = () => view.to - view.from;
const x = (wall) => ((wall - view.from) / (seconds() || 1)) * wide;

// A link that goes on is in its state until now, also when it is silent.
const goesOn = () => isLive(detail.row) && !detail.row.is_gone;
const endOf = () => (goesOn() ? Math.max(detail.last, serverNow()) : detail.last);

// Without a span the whole is shown. Live, its end goes on with the link.
function setView() {
  const [first, last] = [detail.first, endOf()];
  const whole = Math.max(last - first, 0.001);
  if (place.span === null || place.span >= whole) {
    [view.from, view.to] = [first, first + whole];
    return;
  }
  const isIn = place.at === null ? false : place.at >= view.from && place.at <= view.to && Math.abs(seconds() - place.span) < 0.001;
  if (view.from !== null && isIn) return;
  const middle = place.at === null ? last - place.span / 2 : place.at;
  const from = Math.min(Math.max(middle - place.span / 2, first), last - place.span);
  [view.from, view.to] = [from, from + place.span];
}

async function loadTimeline() {
  setView();
  wide = Math.max(200, Math.round($("time").clientWidth));
  const [key, from, to] = [place.link, view.from, view.to];
  const found = await asked(ofLink("/timeline"), { from, to, width: wide });
  if (key !== place.link || from !== view.from || to !== view.to) return;
  line = found;
  drawTimeline();
}

function drawTimeline() {
  const svg = $("timeline");
  high = line.lease.length ? WITH_LEASE : WITHOUT_LEASE;
  svg.setAttribute("viewBox", `0 0 ${wide} 104`);
  svg.replaceChildren(
    draw("rect", { class: "ground", x: 0, y: high.bands[0], width: wide, height: high.bands[1] }),
    ...line.bands.map((band) => bandShape(band, high.bands, band.phase)),
    ...line.lease.map((band) => bandShape(band, high.lease, band.state)),
    ...line.breaker.map((band) => bandShape(band, high.breaker, band.state)),
    ...line.bands.map((band) => bandText(band)),
    ...tickShapes(),
    draw("rect", { id: "cursor", class: "cursor", y: 0, width: 2, height: 104 }),
  );
  say($("time-from"), moment(view.from));
  say($("time-to"), near(view.to, view.from));
  showLegend();
  tellTimeline();
  showCursor();
}

function bandShape(band, [top, height], name) {
  const part = heightOf(name);
  const left = Math.max(0, x(band.from));
  const width = Math.max(0.8, Math.min(wide, x(band.to)) - left);
  const shape = draw("rect", { class: `band ${classOf(name)}${band.is_mixed ? " is-mixed" : ""}`, x: left, y: top + height * (1 - part), width, height: height * part });
  shape.append(draw("title"));
  shape.firstChild.textContent = `${spaced(band.state)}${band.is_mixed ? " and others" : ""}, ${clock(band.from)} to ${clock(band.to)} (${span(band.to - band.from)})`;
  return shape;
}

// Where there is room for it.
function bandText(band) {
  const name = spaced(band.phase ?? band.state);
  const [left, right] = [Math.max(0, x(band.from)), Math.min(wide, x(band.to))];
  const [top, height] = high.bands;
  const part = heightOf(band.phase);
  if (band.is_mixed || right - left < 12 + 7 * name.length || height * part < 14) return "";
  const text = draw("text", { class: `band-text ${classOf(band.phase)}`, x: (left + right) / 2, y: top + height * (1 - part / 2) + 4, "text-anchor": "middle" });
  text.textContent = name;
  return text;
}

function tickShapes() {
  const most = Math.max(1, ...line.ticks.flatMap((tick) => [tick.sent, tick.received]));
  const [top, height] = high.ticks;
  const half = height / 2;
  const size = (count) => (count ? 2 + (half - 2) * (Math.log1p(count) / Math.log1p(most)) : 0);
  return line.ticks.flatMap((tick) => [
    draw("rect", { class: "tick-sent", x: x(tick.wall), y: top + half - size(tick.sent), width: 1.4, height: size(tick.sent) }),
    draw("rect", { class: "tick-received", x: x(tick.wall), y: top + half, width: 1.4, height: size(tick.received) }),
  ]);
}

function showLegend() {
  const phases = [...new Set(line.bands.map((band) => band.phase ?? band.state))].sort((a, b) => heightOf(b) - heightOf(a));
  const breakers = [...new Set(line.breaker.map((band) => band.state))];
  const items = [
    ...phases.map((name) => [name, spaced(name)]),
    ...[...new Set(line.lease.map((band) => band.state))].map((name) => [name, `lease ${spaced(name)}`]),
    ...breakers.map((name) => [name, `breaker ${breakerName(name)}`]),
  ].map(([name, text]) => make("li", {}, swatch(name), text));
  if (line.ticks.length) items.push(make("li", {}, "ticks: above sent, below received"));
  $("legend").replaceChildren(...items);
}

function tellTimeline() {
  const parts = line.bands.slice(-12).map((band) => `${spaced(band.phase ?? band.state)} for ${span(band.to - band.from)}`);
  const told = parts.length ? `, the last: ${parts.join(", ")}` : ": none is recorded";
  say($("timeline-text"), `States from ${moment(view.from, 0)} to ${moment(view.to, 0)}${told}.`);
}

function showCursor() {
  if (detail === null || view.from === null) return;
  const at = place.at ?? endOf();
  const part = Math.min(1, Math.max(0, (at - view.from) / (seconds() || 1)));
  $("cursor")?.setAttribute("x", part * wide - 1);
  const slider = $("slider");
  const value = String(Math.round(part * 1000));
  if (slider.value !== value) slider.value = value;
  const isLiveNow = place.at === null;
  const live = goesOn();
  slider.setAttribute("aria-valuetext", isLiveNow ? (live ? "live" : "the end") : moment(at));
  $("live").setAttribute("aria-pressed", String(isLiveNow));
  say($("live"), live ? "Live" : "End");
  say($("time-now"), isLiveNow && live ? "live" : moment(at));
}

function slide() {
  if (detail === null || view.from === null) return;
  const value = Number($("slider").value);
  const at = view.from + (value / 1000) * seconds();
  const isEnd = value === 1000 && (goesOn() ? place.at === null || at >= detail.last : at >= detail.last - 0.001);
  goTo(isEnd ? null : at);
}

function zoom(factor) {
  if (detail === null) return;
  const whole = endOf() - detail.first;
  const wanted = Math.max(0.02, (place.span ?? whole) * factor);
  place.span = wanted >= whole ? null : wanted;
  view.from = null;
  writePlace();
  refreshSoon();
}

function pan(part) {
  if (detail === null || place.span === null) return;
  const [first, last] = [detail.first, endOf()];
  const at = (place.at ?? last - place.span / 2) + part * place.span;
  const kept = Math.min(Math.max(at, first + place.span / 2), last - place.span / 2);
  view.from = null;
  goTo(kept);
}

// When the connection, the breaker or the lease came to where it is; all of what is given. To renew a lease is no change.
function changesIn(found) {
  const charts = found.charts.filter((chart) => chart.chart !== "lease" && MAIN.includes(chart.chart));
  const since = charts.map((chart) => chart.since);
  return found.row.lease === null ? since : [...since, found.row.lease.since];
}

async function earlier() {
  const at = place.at ?? endOf();
  const found = await asked(ofLink(), { at: at - 1e-6 });
  goTo(Math.max(...changesIn(found).filter((since) => since < at), found.first));
}

// A band begins up to two parts of the time line before the change that it shows.
async function later() {
  const at = place.at ?? endOf();
  const part = (2 * (line.to - line.from)) / 512;
  const edges = [...line.bands, ...line.lease, ...line.breaker].map((band) => band.from + part).sort((a, b) => a - b);
  for (const edge of edges.filter((each) => each > at)) {
    const changes = changesIn(await asked(ofLink(), { at: edge })).filter((since) => since > at);
    if (changes.length) return goTo(Math.min(...changes));
  }
  goTo(null);
}

// One after the other: each press is one change.
let jumps = Promise.resolve();

function jump(to) {
  jumps = jumps.then(async () => {
    if (line !== null && detail !== null) await to();
  }).catch(failed);
}

/* Messages and events: lists, newest first, of which more can be asked for */

function listOf(id, load, makeItem) {
  return { id, load, makeItem, items: new Map(), older: null, asked: 0, clear() {
    this.items.clear();
    this.older = null;
    $(id).replaceChildren();
    $(`${id}-older`).hidden = true;
    say($(`${id}-none`), "");
  } };
}

const messages = listOf("messages", loadMessages, messageItem);
const events = listOf("events", loadEvents, eventItem);

async function loadMessages(before) {
  const found = await asked(ofLink("/messages"), {
    filter: $("filter-name").value.trim(),
    direction: $("filter-direction").value,
    text: $("filter-text").value,
    until: place.at,
    before,
    count: PAGE,
  });
  return { entries: found.messages, ...found };
}

async function loadEvents(before) {
  const found = await asked(ofLink("/events"), { until: place.at, before, count: PAGE });
  return { entries: found.events, ...found };
}

// The newest are asked for again; where they do not reach those that are shown, they replace them.
async function renew(list, startsAnew = false) {
  const turn = ++list.asked;
  const found = await list.load(null);
  if (turn !== list.asked || place.link === null) return;
  const joins = !startsAnew && place.at === null && found.entries.some((entry) => list.items.has(entry.id));
  const kept = joins ? [...list.items.values()].map((item) => item.entry) : [];
  const fresh = new Set(found.entries.map((entry) => entry.id));
  const all = [...found.entries, ...kept.filter((entry) => !fresh.has(entry.id))];
  if (!joins || all.length > MOST_ITEMS) list.older = found.older;
  show(list, all.length > MOST_ITEMS ? found.entries : all, found);
}

async function more(list) {
  const turn = ++list.asked;
  const found = await list.load(list.older);
  if (turn !== list.asked) return;
  list.older = found.older;
  const known = [...list.items.values()].map((item) => item.entry);
  show(list, [...known, ...found.entries], found);
}

function show(list, entries, found) {
  const items = new Map();
  for (const entry of entries) {
    const item = list.items.get(entry.id);
    if (item && isSame(item.entry, entry)) items.set(entry.id, item);
    else items.set(entry.id, { entry, element: list.makeItem(entry, item?.element) });
  }
  list.items = items;
  putInOrder($(list.id), [...items.values()].map((item) => item.element));
  $(`${list.id}-older`).hidden = list.older === null;
  const none = list.older === null ? "Nothing is kept that is like this." : `Nothing found back to ${moment(found.searched, 0)}.`;
  say($(`${list.id}-none`), items.size ? "" : none);
}

function textSpan(kind, text, title = null) {
  const element = make("span", { class: kind, title });
  element.textContent = text;
  return element;
}

function messageItem(message, before) {
  const way = message.sent ? "sent" : "received";
  const name = `${message.name}${message.w ? " W" : ""}`;
  const more = make("span", { class: "more" });
  if (message.tied) more.append(tieButton(message));
  more.append(` ${message.length} B`);
  const parts = make("div", { class: "line" }, timeTag(message.wall), textSpan("way", message.sent ? "→ sent" : "← received"), textSpan("name", name, `session ${message.session}, system bytes ${message.system}`), more);
  const item = make("li", { class: way, "data-name": message.name, "data-wall": message.wall }, parts);
  for (const text of [message.passed_over, ...message.tolerated]) {
    if (text) item.append(textSpan("is-wrong", text));
  }
  if (message.sml) item.append(foldedSml(message, before?.querySelector("details")?.open));
  else if (message.body) item.append(textSpan("quiet", `body ${message.body}`));
  return item;
}

function foldedSml(message, isOpen) {
  const summary = make("summary");
  const pre = make("pre", { tabindex: "0" });
  const text = message.sml.trim();
  const short = text.replaceAll(/\s+/g, " ");
  summary.textContent = short.length > 120 ? `${short.slice(0, 120)}…` : short;
  const details = make("details", { open: isOpen ?? $("unfold").getAttribute("aria-pressed") === "true" }, summary, pre);
  const fill = () => {
    if (details.open) say(pre, message.is_cut ? `${text}\n… the rest is not shown` : text);
  };
  details.addEventListener("toggle", fill);
  fill();
  return details;
}

function tieButton(message) {
  const { name, wall, seconds: time } = message.tied;
  const isReply = wall <= message.wall;
  const button = make("button", { type: "button", class: "tie", title: `${isReply ? "to" : "answered by"} ${name} of ${moment(wall)}` });
  const after = time === null ? "" : ` after ${span(time)}`;
  button.textContent = isReply ? `↩ ${name}${after}` : `↪ ${name}${after}`;
  button.addEventListener("click", () => goToTied(message));
  return button;
}

function goToTied(message) {
  for (const item of $("messages").children) item.classList.remove("is-tied");
  const { name, wall } = message.tied;
  const tied = [...messages.items.values()].find(({ entry }) => entry.name === name && Math.abs(entry.wall - wall) < 0.0005 && entry.sent !== message.sent);
  if (tied === undefined) return goTo(wall);
  for (const item of [tied, messages.items.get(message.id)]) item?.element.classList.add("is-tied");
  tied.element.scrollIntoView({ block: "nearest" });
  tied.element.querySelector("button, summary")?.focus();
}

// Also what happened because of an error, such as Waiting.
const isTrouble = (event) => event.kind === "error" || /(^|, )error: (?!none$)/.test(event.text);

function eventItem(event) {
  const kind = isTrouble(event) ? "is-wrong" : null;
  const label = event.kind === "error" ? `error ${event.name}` : event.name;
  const parts = make("div", { class: "line" }, timeTag(event.wall), textSpan(kind, label), textSpan("quiet", event.text));
  return make("li", { class: `kind-${event.kind}` }, parts);
}

function unfoldAll() {
  const isOn = $("unfold").getAttribute("aria-pressed") !== "true";
  $("unfold").setAttribute("aria-pressed", String(isOn));
  for (const details of $("messages").querySelectorAll("details")) details.open = isOn;
}

/* The sequence diagram of the stretch in view */

const SEEN = { local: 140, remote: 470, width: 620, row: 26, top: 46 };

async function loadSequence() {
  const [from, to] = [view.from, Math.min(view.to, place.at ?? view.to)];
  const key = place.link;
  const found = await asked(ofLink("/stretch"), { from, to, count: 300 });
  if (key !== place.link) return;
  const svg = sequenceOf(found);
  $("sequence").replaceChildren(svg);
  $("sequence-save").disabled = found.entries.length === 0;
  const cut = found.is_cut ? ", the first of them: zoom in to see all" : "";
  say($("sequence-said"), `${many(found.entries.length, "record")} from ${clock(from)} to ${clock(to)}${cut}`);
}

function sequenceOf(found) {
  const entries = found.entries.filter(isDrawn);
  const height = SEEN.top + (entries.length + 1) * SEEN.row;
  const svg = draw("svg", { xmlns: SVG, viewBox: `0 0 ${SEEN.width} ${height}`, width: SEEN.width, height, "font-family": "DejaVu Sans, Verdana, sans-serif", "font-size": 11 });
  svg.append(draw("rect", { x: 0, y: 0, width: SEEN.width, height, fill: "#ffffff" }));
  for (const [at, name] of [[SEEN.local, found.local], [SEEN.remote, found.remote]]) {
    svg.append(words(at, 22, short(name, 34), { "text-anchor": "middle", "font-weight": "bold", "font-size": 12 }));
    svg.append(draw("path", { d: `M${at},32V${height - 8}`, stroke: "#98a4b0", "stroke-dasharray": "3 3", fill: "none" }));
  }
  entries.forEach((entry, index) => svg.append(...shapesOf(entry, SEEN.top + (index + 0.6) * SEEN.row)));
  return svg;
}

const short = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);

// A step that moves no chart says nothing here.
function isDrawn(entry) {
  return entry.kind !== "step" || entry.hops.some((hop) => hop.from.join() !== hop.to.join());
}

function words(at, y, text, more = {}) {
  const element = draw("text", { x: at, y, fill: "#1f2933", ...more });
  element.textContent = text;
  return element;
}

function shapesOf(entry, y) {
  const time = words(8, y + 4, clock(entry.wall), { fill: "#52606d", "font-size": 10 });
  if (entry.kind === "frame") return [time, ...arrow(entry, y)];
  if (entry.kind === "step") return [time, ...change(entry, y)];
  const isWrong = isTrouble(entry);
  const text = short(`${isWrong ? "! " : ""}${entry.name} ${entry.text}`, 80);
  return [time, words(SEEN.local + 10, y + 4, text, { fill: isWrong ? "#a33600" : "#52606d", "font-size": 10 })];
}

function arrow(message, y) {
  const { local, remote } = SEEN;
  const [from, to] = message.sent ? [local, remote] : [remote, local];
  const way = message.sent ? -1 : 1;
  const head = `${to},${y} ${to + way * 8},${y - 3.5} ${to + way * 8},${y + 3.5}`;
  const isReply = message.tied && message.tied.wall <= message.wall;
  const seconds = isReply && message.tied.seconds !== null ? `  ${span(message.tied.seconds)}` : "";
  return [
    draw("path", { d: `M${from},${y}H${to}`, stroke: "#1f2933", fill: "none" }),
    draw("polygon", { points: head, fill: "#1f2933" }),
    words((local + remote) / 2, y - 4, `${message.name}${message.w ? " W" : ""}${seconds}`, { "text-anchor": "middle" }),
  ];
}

function change(step, y) {
  const hops = step.hops.filter((hop) => hop.from.join() !== hop.to.join());
  const main = hops.findLast((hop) => hop.chart.startsWith("connection_")) ?? hops.at(-1);
  const name = main.chart.startsWith("connection_") ? "" : `${spaced(main.chart)}: `;
  const text = short(`${name}${main.to.map(leafName).join(", ")}`, 26);
  const width = 20 + text.length * 6.6;
  // Beside the time, which stands left of it.
  const middle = Math.max(SEEN.local, 78 + width / 2);
  return [
    draw("rect", { x: middle - width / 2, y: y - 9, width, height: 18, rx: 9, fill: "#e9eef4", stroke: "#1f2933" }),
    words(middle, y + 4, text, { "text-anchor": "middle" }),
    words(middle + width / 2 + 8, y + 4, short(spaced(step.event), 40), { fill: "#52606d", "font-size": 10, "font-style": "italic" }),
  ];
}

function saveSequence() {
  const svg = $("sequence").querySelector("svg");
  if (svg === null) return;
  const blob = new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
  const url = URL.createObjectURL(blob);
  const name = detail.row.name.replaceAll(/[^\w.-]+/g, "-");
  make("a", { href: url, download: `${name}-${clock(view.from, 0).replaceAll(":", "")}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/* What is shown of a link is asked for again when it changed */

async function refresh(startsAnew = false) {
  if (place.link === null || detail === null) return;
  await loadTimeline();
  if (place.tab === "messages") await renew(messages, startsAnew);
  else if (place.tab === "events") await renew(events, startsAnew);
  else if (place.tab === "sequence") await loadSequence();
  showProblem("");
}

const refreshSoon = oneAtATime(async () => {
  await refresh();
  // Live, twice a second is enough for eyes.
  await new Promise((done) => setTimeout(done, 500));
});

const lineSoon = oneAtATime(async () => {
  if (detail !== null) await loadTimeline();
});

const filterSoon = oneAtATime(async () => {
  if (place.link === null) return;
  await renew(messages, true);
  showProblem("");
});

/* Tabs */

const TABS = ["messages", "events", "sequence", "settings"];

function showTab(name) {
  place.tab = name;
  for (const each of TABS) {
    const tab = $(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
    $(`panel-${each}`).hidden = each !== name;
  }
}

function pickTab(name) {
  showTab(name);
  writePlace();
  refreshSoon();
}

function tabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const ends = { Home: 0, End: TABS.length - 1 };
  const now = TABS.indexOf(place.tab);
  const next = step === undefined ? ends[event.key] : (now + step + TABS.length) % TABS.length;
  if (next === undefined) return;
  event.preventDefault();
  pickTab(TABS[next]);
  $(`tab-${TABS[next]}`).focus();
}

/* What is pressed */

const PRESSED = {
  live: () => goTo(null),
  earlier: () => jump(earlier),
  later: () => jump(later),
  left: () => pan(-0.5),
  right: () => pan(0.5),
  closer: () => zoom(0.5),
  wider: () => zoom(2),
  whole: () => zoom(Infinity),
  unfold: unfoldAll,
  larger: showLarger,
  "sequence-save": saveSequence,
  "messages-older": () => void more(messages).catch(failed),
  "events-older": () => void more(events).catch(failed),
};

function pointTo(event) {
  if (event.buttons !== 1 || detail === null) return;
  const box = $("timeline").getBoundingClientRect();
  const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  $("slider").value = String(Math.round(part * 1000));
  slide();
}

function setUp() {
  showHead();
  for (const [id, action] of Object.entries(PRESSED)) $(id).addEventListener("click", action);
  for (const name of TABS) $(`tab-${name}`).addEventListener("click", () => pickTab(name));
  document.querySelector(".tabs").addEventListener("keydown", tabKey);
  $("links-filter").addEventListener("input", orderRows);
  $("links-sort").addEventListener("change", (event) => sortBy(event.target.value));
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter").addEventListener("input", filterSoon);
  $("slider").addEventListener("input", slide);
  for (const kind of ["pointerdown", "pointermove"]) $("timeline").addEventListener(kind, pointTo);
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("main").focus();
  });
  $("enter-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void enterWith($("token").value.trim());
  });
  window.addEventListener("hashchange", moved);
  new ResizeObserver(() => {
    if (line !== null && Math.round($("time").clientWidth) !== wide) refreshSoon();
  }).observe($("time"));
  setInterval(countDown, 100);
  setInterval(everySecond, 1000);
}

async function moved() {
  const token = tokenInAddress();
  if (token !== null) return enterWith(token);
  readPlace();
  try {
    await showPlace();
    if (place.link !== null) $("link-name").focus();
    else $("main").focus();
  } catch (error) {
    failed(error);
  }
}

// It is not to stay in the address, nor in the history of the browser.
function tokenInAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname);
  return token;
}

async function start() {
  setUp();
  const token = tokenInAddress();
  readPlace();
  if (token !== null) await enterWith(token);
  else await comeBack();
}

void start();
