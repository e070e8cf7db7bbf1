// Shows the spectrum live: a waterfall, the levels now and at most, the devices that disturb Wi-Fi.

import { follow, get } from "./api.js";
import { el } from "./dom.js";

const COLUMNS = 256;
const ROWS = 120;
const LOW_DBM = -110;
const HIGH_DBM = -35;
const GRID_DB = 20;
const NOTHING = 0; // Level of a column in which nothing was measured.
const QUALITY_EVERY_MS = 4000;
const SOURCE_KINDS = {
  SOURCE_KIND_HARDWARE: "Radio",
  SOURCE_KIND_RECORDING: "Recording, played again:",
  SOURCE_KIND_SIMULATED: "Simulated, not a radio:",
};
const DEVICES = {
  MICROWAVE: "Microwave oven",
  BLUETOOTH: "Bluetooth",
  BLE: "Bluetooth Low Energy",
  ZIGBEE: "ZigBee",
  ANALOG_PHONE: "Cordless phone, analog",
  FHSS_PHONE: "Cordless phone, hopping",
  ANALOG_VIDEO: "Video sender, analog",
  ANALOG_AUDIO: "Audio sender, analog",
  XBOX: "Game controller",
  CW: "Bare carrier",
  JAMMER: "Broadband jammer",
  UNKNOWN: "Something unknown",
};
// Centre of a Wi-Fi channel in MHz, for the marks below the levels.
const CHANNELS = [
  ...Array.from({ length: 13 }, (_, index) => [index + 1, 2412 + 5 * index]),
  ...[36, 40, 44, 48, 52, 56, 60, 64, 100, 104, 108, 112, 116, 120, 124, 128, 132, 136, 140, 144, 149, 153, 157, 161, 165, 169, 173]
    .map((number) => [number, 5000 + 5 * number]),
];

const find = (id) => document.getElementById(id);
const palette = makePalette([[8, 12, 40], [30, 60, 140], [20, 140, 150], [120, 200, 80], [250, 220, 60], [255, 255, 240]]);
const view = { hears: false, paused: false, pointer: null, now: new Uint8Array(COLUMNS), most: new Uint8Array(COLUMNS), low: 2400, high: 2500 };
const devices = new Map();
let looking = new AbortController();
let qualityTimer = 0;

function makePalette(stops) {
  const colours = new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    const share = Math.min(Math.max((value / 2 - 140 - LOW_DBM) / (HIGH_DBM - LOW_DBM), 0), 1) * (stops.length - 1);
    const at = Math.min(Math.floor(share), stops.length - 2);
    const [red, green, blue] = stops[at].map((from, part) => Math.round(from + (stops[at + 1][part] - from) * (share - at)));
    colours[value] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  colours[NOTHING] = 0;
  return colours;
}

const dbm = (value) => value / 2 - 140;
const text = (id, words) => { find(id).textContent = words; };
const cell = (row, words) => { row.insertCell().textContent = words; };

// ---- the picture

function addTile(tile) {
  const levels = Uint8Array.from(atob(tile.levels), (letter) => letter.charCodeAt(0));
  const canvas = find("waterfall");
  const context = canvas.getContext("2d");
  if (tile.columns !== canvas.width) return;
  const rows = Math.min(tile.rows, ROWS);
  context.globalCompositeOperation = "copy";
  context.drawImage(canvas, 0, rows);
  context.globalCompositeOperation = "source-over";
  const image = context.createImageData(tile.columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row++) {
    // The oldest row comes first and lies lowest.
    const from = (tile.rows - 1 - row) * tile.columns;
    for (let column = 0; column < tile.columns; column++) {
      pixels[row * tile.columns + column] = palette[levels[from + column]];
    }
  }
  context.putImageData(image, 0, 0);
  for (let at = 0; at < levels.length; at++) {
    const column = at % tile.columns;
    // A radio that hops sees each channel now and then: in between, the last level stays.
    if (levels[at] !== NOTHING) view.now[column] = levels[at];
    if (levels[at] > view.most[column]) view.most[column] = levels[at];
  }
  drawLevels();
  showReading();
}

function drawLevels() {
  const canvas = find("levels");
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const ink = style.getPropertyValue("--soft");
  const y = (level) => 6 + (HIGH_DBM - level) / (HIGH_DBM - LOW_DBM) * (height - 28);
  const x = (mhz) => (mhz - view.low) / (view.high - view.low) * width;
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = ink;
  context.strokeStyle = style.getPropertyValue("--line");
  context.lineWidth = 1;
  for (let level = Math.ceil(LOW_DBM / GRID_DB) * GRID_DB; level <= HIGH_DBM; level += GRID_DB) {
    context.beginPath();
    context.moveTo(0, y(level));
    context.lineTo(width, y(level));
    context.stroke();
    context.fillText(`${level} dBm`, 4, y(level) - 2);
  }
  context.textAlign = "center";
  for (const [number, mhz] of CHANNELS) {
    if (mhz > view.low && mhz < view.high) context.fillText(number, x(mhz), height - 6);
  }
  drawLine(context, view.most, ink, 1, width, y);
  drawLine(context, view.now, style.getPropertyValue("--mark"), 1.5, width, y);
}

function drawLine(context, levels, colour, thickness, width, y) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.beginPath();
  let drawing = false;
  levels.forEach((value, column) => {
    if (value === NOTHING) {
      drawing = false;
      return;
    }
    const at = [(column + 0.5) / COLUMNS * width, y(Math.max(dbm(value), LOW_DBM))];
    drawing ? context.lineTo(...at) : context.moveTo(...at);
    drawing = true;
  });
  context.stroke();
}

function clear() {
  const canvas = find("waterfall");
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  view.now.fill(NOTHING);
  view.most.fill(NOTHING);
  drawLevels();
}

function point(event) {
  const { left, top, width, height } = event.target.getBoundingClientRect();
  const place = { share: (event.clientX - left) / width, row: Math.floor((event.clientY - top) / height * ROWS) };
  view.pointer = { ...place, inPast: event.target.id === "waterfall" };
  showReading();
}

function showReading() {
  if (!view.pointer) return;
  const { share, row, inPast } = view.pointer;
  const column = Math.min(Math.max(Math.floor(share * COLUMNS), 0), COLUMNS - 1);
  const mhz = view.low + share * (view.high - view.low);
  const say = (value) => (value === NOTHING ? "not measured" : `${dbm(value).toFixed(1)} dBm`);
  const ago = inPast ? ` Here: ${Math.round(row / find("rate").value)} s ago.` : "";
  text("readout", `${mhz.toFixed(1)} MHz: ${say(view.now[column])}, at most ${say(view.most[column])}.${ago}`);
}

// ---- what is said beside it

function showSource(source) {
  const kind = SOURCE_KINDS[source.kind];
  view.hears = Boolean(kind) && source.state !== "STATE_LOST";
  countDevices();
  if (source.state === "STATE_LOST") {
    complain(`The source of samples was lost: ${source.problem}`);
  } else {
    complain("");
  }
  text("source", kind ? `${kind} ${source.description || source.radio}.` : "No radio, recording or simulation is chosen here.");
  if (!kind) complain("Nothing can be shown: choose a source with PUT /api/v1/airshark/source, or see the guide on the spectrum.");
}

function showDevice(detection) {
  devices.set(detection.id, detection);
  // What has gone stays in view until a hundred others have come.
  for (const [id, each] of devices) {
    if (devices.size <= 100) break;
    if (!each.active) devices.delete(id);
  }
  const known = [...devices.values()].sort((one, other) => other.active - one.active || other.severity - one.severity);
  const body = find("devices").tBodies[0];
  body.replaceChildren();
  for (const each of known) {
    const row = body.insertRow();
    row.className = each.active ? "" : "gone";
    cell(row, DEVICES[each.device.replace("DEVICE_KIND_", "")] ?? each.device);
    const width = each.bandwidth_mhz >= 1 ? `, ${each.bandwidth_mhz.toFixed(0)} MHz wide` : "";
    cell(row, `${each.center_mhz.toFixed(1)} MHz${width}`);
    cell(row, `${each.rssi_dbm.toFixed(0)} dBm`);
    cell(row, `${(100 * each.duty_cycle).toFixed(0)} %`);
    const meter = el("meter", { max: 100, low: 20, high: 50, optimum: 0, value: each.severity, title: `${each.severity} of 100` });
    row.insertCell().append(meter, ` ${each.severity}`);
    cell(row, `${(100 * each.confidence).toFixed(0)} %`);
    cell(row, each.channels.join(", ") || "none");
    cell(row, new Date(each.first_seen).toLocaleTimeString() + (each.active ? "" : ", gone"));
  }
  find("devices").hidden = !known.length;
  countDevices();
}

function countDevices() {
  const active = [...devices.values()].filter((each) => each.active).length;
  const none = view.hears ? "Nothing disturbs Wi-Fi now." : "Nothing listens, so nothing is known.";
  text("devices-note", active ? `${active} on the air now.` : none);
}

async function showQuality() {
  const { channels, recommended_channel: best } = await get("/airshark/airQuality", looking.signal);
  text("advice", best ? `Of channels 1, 6 and 11, take ${best}.` : "");
  find("quality").replaceChildren(...channels.map((each) => {
    const meter = el("meter", { max: 100, low: 40, high: 75, optimum: 100, value: each.quality });
    const title = `Busy ${(100 * each.busy_share).toFixed(0)} % of the time`;
    return el("li", { title }, `${each.channel} `, meter, ` ${each.quality}`);
  }));
}

function complain(words) {
  text("problem", words);
  find("problem").hidden = !words;
}

// ---- the streams

async function listen(path, handle) {
  const { signal } = looking;
  try {
    await follow(path, signal, handle);
  } catch (error) {
    if (!signal.aborted) complain(error.message);
  }
}

function start() {
  looking.abort();
  looking = new AbortController();
  clearInterval(qualityTimer);
  // Nobody looks: the radio rests.
  if (view.paused || document.hidden) return;
  const rate = Number(find("rate").value);
  const wishes = new URLSearchParams({
    minMhz: view.low, maxMhz: view.high, columns: COLUMNS, rowsPerS: rate, rowsPerTile: Math.max(1, Math.round(rate / 10)),
  });
  listen(`/airshark/waterfall?${wishes}`, ({ tile, source }) => {
    if (tile) addTile(tile);
    if (source) showSource(source);
  });
  listen("/airshark/detections/watch", ({ detection, synced }) => {
    if (detection) showDevice(detection);
    if (!synced) return;
    countDevices();
    // Only now does the analysis begin that the quality of channels comes from; it ends when the source does.
    clearInterval(qualityTimer);
    qualityTimer = setInterval(() => showQuality().catch(() => {}), QUALITY_EVERY_MS);
  });
}

function choose() {
  [view.low, view.high] = find("band").value.split("-").map(Number);
  clear();
  start();
}

find("wishes").addEventListener("submit", (event) => event.preventDefault());
find("band").addEventListener("change", choose);
find("rate").addEventListener("change", choose);
find("forget").addEventListener("click", () => { view.most.fill(NOTHING); drawLevels(); });
find("pause").addEventListener("click", (event) => {
  view.paused = !view.paused;
  event.target.setAttribute("aria-pressed", view.paused);
  event.target.textContent = view.paused ? "Go on" : "Pause";
  start();
});
for (const id of ["levels", "waterfall"]) find(id).addEventListener("pointermove", point);
document.addEventListener("visibilitychange", start);
window.addEventListener("resize", drawLevels);
choose();
