// Radios, the networks of chutes with who is connected, and the addresses that were leased.

import { get, remove, repeat } from "./api.js";
import { action, bytes, duration, el, facts, table, when } from "./dom.js";

const REFRESH_MS = 5000;

export default async function networks(root, signal) {
  const [radios, chutes, devices] = [el("div"), el("div"), el("div")];
  root.append(el("h1", {}, "Networks"), el("h2", {}, "Radios"), radios, el("h2", {}, "Networks of chutes"), chutes,
    el("h2", {}, "Leased addresses"), devices);
  await repeat(REFRESH_MS, signal, () => Promise.all([
    fill(radios, async () => showRadios(await get("/network/radios", signal))),
    fill(chutes, () => showChutes(signal)),
    fill(devices, async () => showDevices(await get("/network/devices", signal))),
  ]));
}

// What cannot be shown, such as radios without the right to ask the kernel, says why in its own place.
async function fill(place, make) {
  try {
    place.replaceChildren(await make());
  } catch (error) {
    place.replaceChildren(el("p", { role: "alert" }, error.message));
  }
}

function showRadios(radios) {
  return table(["Radio", "Bands", "Modes", "Access points"], radios.map((radio) => [
    radio.name,
    [[0, 3000, "2.4 GHz"], [4900, 5925, "5 GHz"], [5925, 7200, "6 GHz"]]
      .filter(([low, high]) => radio.channels.some(({ frequency_mhz: mhz, usable }) => usable && mhz >= low && mhz < high))
      .map(([, , name]) => name).join(", "),
    radio.modes.join(", "), `at most ${radio.max_access_points}`,
  ]), "This node has no radio.");
}

async function showChutes(signal) {
  const chutes = await get("/chutes/", signal);
  const found = await Promise.all(chutes.map(async ({ name }) => {
    const path = `/chutes/${encodeURIComponent(name)}/networks`;
    return Promise.all((await get(path, signal)).map((network) => showNetwork(name, `${path}/${encodeURIComponent(network.name)}`, network, signal)));
  }));
  const shown = found.flat();
  return shown.length ? el("div", {}, shown) : el("p", { className: "soft" }, "No running chute has a network of its own.");
}

async function showNetwork(chute, path, network, signal) {
  const place = el("section", {}, el("h3", {}, `${chute}: ${network.name}`));
  if (network.type !== "wifi-ap") {
    place.append(facts([["Kind", network.type], ["Interface", network.interface]]));
    return place;
  }
  const stations = el("div");
  const refresh = () => fill(stations, async () => showStations(path, await get(`${path}/associations`, signal), refresh));
  await Promise.all([
    fill(place.appendChild(el("div")), async () => {
      const { ssid, bssid } = await get(`${path}/ssid`, signal);
      return facts([["SSID", ssid], ["BSSID", bssid]]);
    }),
    refresh(),
  ]);
  place.append(stations);
  return place;
}

function showStations(path, { associations }, refresh) {
  return table(["Station", "Name", "Address", "Signal", "Received", "Sent", "Here for", ""], associations.map((station) => [
    station.mac, station.hostname ?? "", station.ip_address ?? "",
    station.signal_dbm === undefined ? "" : `${station.signal_dbm} dBm`,
    bytes(station.rx_bytes ?? 0), bytes(station.tx_bytes ?? 0),
    station.joined_at ? duration((Date.now() - new Date(station.joined_at)) / 1000) : "",
    action("Disconnect", async () => {
      await remove(`${path}/stations/${station.mac}`);
      await refresh();
    }),
  ]), "Nobody is connected.");
}

function showDevices(leases) {
  return table(["Name", "Address", "Station", "Until"], leases.map((lease) => [
    lease.hostname === "*" ? "" : lease.hostname, lease.ip_addr, lease.mac_addr, when(1000 * lease.expires),
  ]), "No address is leased.");
}
