// One chute: what it does, what it writes, and what can be done with it.

import { follow, get, remove, repeat, send } from "./api.js";
import { show } from "./changes.js";
import { chooser } from "./chutes.js";
import { action, addLines, bytes, el, facts, state, table, when } from "./dom.js";

const REFRESH_MS = 5000;
const PAST_LINES = 200;

export default async function chute(root, signal, name) {
  const path = `/chutes/${encodeURIComponent(name)}`;
  const [about, usage, progress, configuration] = ["div", "div", "div", "pre"].map((tag) => el(tag));
  const lines = el("pre", { className: "lines log" });
  const refresh = async () => showAbout(about, await get(path, signal));
  const change = async (asking) => {
    const { change_id: id } = await asking;
    await show(progress, id, signal);
    await refresh();
  };
  const config = await get(`${path}/config`, signal);
  configuration.textContent = JSON.stringify(config, null, 2);
  root.append(el("h1", {}, name), about,
    el("p", { className: "actions" },
      config.web?.port ? el("a", { href: `/chutes/${encodeURIComponent(name)}/` }, "Open its page") : null,
      action("Start", () => change(send("POST", `${path}/start`))),
      action("Stop", () => change(send("POST", `${path}/stop`))),
      action("Restart", () => change(send("POST", `${path}/restart`))),
      el("a", { href: `/api/v1${path}/export` }, "Download"),
      action("Remove", async () => {
        const { change_id: id } = await remove(path);
        const ended = await show(progress, id, signal);
        if (ended?.status === "succeeded") location.hash = "#/chutes";
      }, `Remove the chute ${name} and its data?`)),
    progress,
    el("h2", {}, "Usage"), usage,
    el("h2", {}, "Log"), lines,
    el("h2", {}, "New version"), chooser(progress, signal, "PUT", path, refresh),
    el("h2", {}, "Configuration"), configuration);
  await Promise.all([
    repeat(REFRESH_MS, signal, refresh),
    follow(`${path}/usage/watch`, signal, (event) => event.usage && showUsage(usage, event.usage)),
    follow(`${path}/logs?follow=true&tail=${PAST_LINES}`, signal,
      ({ lines: news }) => addLines(lines, (news?.lines ?? []).map(({ service, message }) => `${service}: ${message}\n`)),
      () => lines.replaceChildren()),
  ]);
}

function showAbout(place, chute) {
  place.replaceChildren(
    facts([["What it is", chute.description], ["State", state(chute.state)], ["Version", chute.version && String(chute.version)],
      ["Owner", chute.owner?.name], ["Installed", when(chute.create_time)]]),
    table(["Service", "State", "Health", "Ports"], Object.entries(chute.services).map(([service, each]) => [
      service, state(each.state), each.health ?? "",
      (each.ports ?? []).filter((port) => port.host_port).map((port) => `${port.host_port} to ${port.container_port}`).join(", "),
    ]), "It has no services."));
}

function showUsage(place, { total, services }) {
  const row = (name, use) => [
    name, `${use.cpu_percent.toFixed(1)} %`, bytes(use.memory_bytes), bytes(use.network_received_bytes),
    bytes(use.network_sent_bytes), String(use.pid_count),
  ];
  place.replaceChildren(table(["Service", "Processor", "Memory", "Received", "Sent", "Processes"],
    [...Object.entries(services).map(([name, use]) => row(name, use)), row("all", total)], ""));
}
