// What runs here, what is wrong, and how busy the node is.

import { follow, get, repeat, send } from "./api.js";
import { action, bytes, duration, el, facts, state } from "./dom.js";

const SERVICES = {
  chutes: "Installs, updates and runs applications.",
  network: "Access points, stations, addresses and firewall.",
  airshark: "Watches the radio spectrum.",
  node: "Identity, load, settings, log, controller.",
  auth: "Users, roles and tokens.",
};
// What only joins containers to the node.
const INNER = /^(lo$|veth|br-[0-9a-f]{12}$)/;
const REFRESH_MS = 5000;
const LOAD_EVERY_S = 2;

export default async function overview(root, signal) {
  const [services, issues, load, about] = ["ul", "div", "div", "div"].map((tag) => el(tag));
  services.className = "cards";
  root.append(el("h1", {}, "Paradrop"), about, services, el("h2", {}, "Issues"), issues, el("h2", {}, "Load"), load);
  await Promise.all([
    showAbout(about, signal),
    repeat(REFRESH_MS, signal, () => showServices(services, signal)),
    repeat(REFRESH_MS, signal, () => showIssues(issues, signal)),
    showLoad(load, signal),
  ]);
}

async function showAbout(place, signal) {
  const [software, hardware, identity, link] = await Promise.all(
    ["/info/software", "/info/hardware", "/config/provision", "/config/controller"].map((path) => get(path, signal)),
  );
  place.append(facts([
    ["Version", software.pdVersion],
    ["System", `${software.osVersion}, ${software.kernelVersion}`],
    ["Machine", [hardware.vendor, hardware.board?.trim(), hardware.cpu].filter(Boolean).join(", ")],
    ["Up for", duration(software.uptime)],
    ["Known to its controller as", identity.routerId],
    ["Link to a controller", link.state?.replace("STATE_", "").toLowerCase()],
  ]));
}

async function showServices(list, signal) {
  let states = {};
  try {
    states = (await (await fetch(`${location.origin}/healthz`, { signal })).json()).services;
  } catch {
    // The node does not answer: no service is up.
  }
  list.replaceChildren(...Object.entries(SERVICES).map(([name, words]) =>
    el("li", {}, el("b", {}, name, " ", state(states[name] ?? "unknown")), words)));
}

async function showIssues(place, signal) {
  const issues = await get("/info/issues", signal);
  if (!issues.length) return place.replaceChildren(el("p", { className: "soft" }, "Nothing is wrong."));
  return place.replaceChildren(el("ul", { className: "issues" }, issues.map((issue) => el("li", {},
    el("b", {}, issue.message), el("p", { className: "soft" }, issue.suggestion),
    issue.fixable ? action("Do that", () => fix(issue, place, signal)) : null))));
}

async function fix(issue, place, signal) {
  await send("POST", `/info/issues/${encodeURIComponent(issue.id)}/fix`);
  await showIssues(place, signal);
}

async function showLoad(place, signal) {
  let before = null;
  await follow(`/info/telemetry/watch?interval_s=${LOAD_EVERY_S}`, signal, ({ report }) => {
    if (!report) return;
    const { system, network } = report;
    const busy = before && system.cpu_times.map((now, index) => share(before.system.cpu_times[index], now));
    const memory = system.virtual_memory;
    place.replaceChildren(el("dl", {},
      (busy ?? []).flatMap((each, index) => meter(`Processor ${index + 1}`, each, `${Math.round(100 * each)} %`)),
      meter("Memory", memory.percent / 100, `${bytes(memory.total - memory.available)} of ${bytes(memory.total)}`),
      system.disk_usage.flatMap(({ mountpoint, used, total }) =>
        meter(`Disk ${mountpoint}`, used / total, `${bytes(used)} of ${bytes(total)}`)),
      network.filter((each) => each.isup && each.io_counters && !INNER.test(each.name)).flatMap((each) => {
        const last = before?.network.find(({ name }) => name === each.name)?.io_counters;
        const seconds = before && report.time - before.time;
        const rate = (key) => (last ? `${bytes((each.io_counters[key] - last[key]) / seconds)}/s` : "");
        return [el("dt", {}, each.name), el("dd", {}, `${rate("bytes_recv")} received, ${rate("bytes_sent")} sent`)];
      })));
    before = report;
  }, () => { before = null; });
}

function meter(name, value, words) {
  const bar = el("meter", { max: 1, low: 0.7, high: 0.9, optimum: 0, value });
  return [el("dt", {}, name), el("dd", {}, bar, ` ${words}`)];
}

// How much of the time a processor did something.
function share(before, now) {
  const sum = (times) => Object.entries(times).reduce((all, [name, value]) => (name.startsWith("guest") ? all : all + value), 0);
  const passed = sum(now) - sum(before);
  const idle = now.idle + now.iowait - before.idle - before.iowait;
  return passed > 0 ? 1 - idle / passed : 0;
}
