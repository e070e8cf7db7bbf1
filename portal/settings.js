// Host configuration, controller, users, password, SSH keys, and what ends everything.

import { get, remove, repeat, send } from "./api.js";
import { show } from "./changes.js";
import { action, el, facts, table } from "./dom.js";

const CONFIRM_WITHIN_S = 120;
const ROLES = ["guest", "user", "trusted", "admin"];
const LOOK_EVERY_MS = 1000;

export default async function settings(root, signal) {
  root.append(el("h1", {}, "Settings"));
  const sections = [
    ["Host configuration", hostConfig],
    ["Controller", controller],
    ["Users", users],
    ["Password", password],
    ["SSH keys", sshKeys],
    ["Power and reset", power],
  ].map(([name, fill]) => {
    const place = el("section");
    root.append(el("h2", {}, name), place);
    return fill(place, signal);
  });
  await Promise.all(sections);
}

async function hostConfig(place, signal) {
  const text = el("textarea", { rows: 18, spellcheck: false, ariaLabel: "Host configuration as JSON" });
  const [result, progress, probation] = [el("div"), el("div"), el("div")];
  const load = async () => { text.value = JSON.stringify(await get("/config/hostconfig", signal), null, 2); };
  const document = () => {
    try {
      return JSON.parse(text.value);
    } catch (error) {
      throw new Error(`This is no JSON: ${error.message}`);
    }
  };
  const check = async () => {
    const { plan } = await send("PUT", "/config/hostconfig?dry_run=true", document());
    const steps = plan.steps.map(({ description }) => el("li", {}, description));
    result.replaceChildren(el("p", {}, "It can be applied. What would be done:"), el("ol", {}, steps));
  };
  const apply = async () => {
    result.replaceChildren();
    const query = `confirm_timeout_s=${CONFIRM_WITHIN_S}`;
    const { change_id: id } = await send("PUT", `/config/hostconfig?${query}`, document());
    // The change itself waits until it is confirmed.
    const over = new AbortController();
    repeat(LOOK_EVERY_MS, AbortSignal.any([signal, over.signal]), showProbation).catch(() => {});
    const ended = await show(progress, id, signal).finally(() => over.abort());
    await showProbation();
    if (ended?.status === "succeeded") await load();
  };
  let shown = null;
  const showProbation = async () => {
    const status = await get("/config/hostconfig/status", signal);
    const waits = status.waits_for_confirmation ? status.version : null;
    if (waits === shown) return;
    shown = waits;
    probation.replaceChildren(...(waits === null ? [] : [
      el("p", {}, `Version ${status.version} goes back at ${new Date(status.deadline).toLocaleTimeString()} unless you keep it. `
        + "That you can read this shows that the node can be reached."),
      action("Keep it", () => send("POST", "/config/hostconfig/confirm", { version: status.version })),
    ]));
  };
  place.append(el("p", { className: "soft" }, `An applied document goes back by itself after ${CONFIRM_WITHIN_S} seconds unless you say that it stays.`),
    text, el("p", { className: "actions" }, action("Check", check), action("Apply", apply), action("Load again", load)),
    result, progress, probation);
  await Promise.all([load(), showProbation()]);
}

async function controller(place, signal) {
  const identity = await get("/config/provision", signal);
  const field = (name, value, properties) => el("input", { name, value: value ?? "", ...properties });
  const fields = [
    ["Id of this node", field("routerId", identity.routerId)],
    ["Its token", field("apitoken", "", { type: "password", autocomplete: "off" })],
    ["Controller", field("pdserver", identity.pdserver)],
  ];
  place.append(
    facts([["Provisioned", identity.provisioned ? "yes" : "no"], ["Connected over HTTP", identity.httpConnected ? "yes" : "no"]]),
    el("div", { className: "form" }, fields.map(([name, input]) => el("label", {}, `${name} `, input))),
    action("Provision", async () => {
      await send("POST", "/config/provision", Object.fromEntries(fields.map(([, input]) => [input.name, input.value])));
      place.replaceChildren();
      await controller(place, signal);
    }));
}

async function users(place, signal) {
  const [name, secret] = [el("input", { autocomplete: "off" }), el("input", { type: "password", autocomplete: "new-password" })];
  const role = el("select", {}, ROLES.map((each) => el("option", { value: `ROLE_${each.toUpperCase()}` }, each)));
  const list = el("div");
  const load = async () => {
    const { users: known } = await get("/users", signal);
    list.replaceChildren(table(["User", "Role", ""], known.map((user) => [
      user.username, user.role.replace("ROLE_", "").toLowerCase(), action("Remove", async () => {
        await remove(`/users/${encodeURIComponent(user.username)}`);
        await load();
      }, `Remove the user ${user.username}?`),
    ]), ""));
  };
  place.append(list, el("div", { className: "form" }, el("label", {}, "New user ", name), el("label", {}, "Their password ", secret),
    el("label", {}, "Role ", role)), action("Add user", async () => {
    await send("POST", "/users", { username: name.value, password: secret.value, role: role.value });
    name.value = secret.value = "";
    await load();
  }));
  await load();
}

async function password(place) {
  const [first, again] = [el("input", { type: "password", autocomplete: "new-password" }), el("input", { type: "password", autocomplete: "new-password" })];
  const done = el("p");
  place.append(el("div", { className: "form" }, el("label", {}, "New password ", first), el("label", {}, "Again ", again)),
    action("Change", async () => {
      if (first.value !== again.value) throw new Error("The two differ.");
      await send("POST", "/password/change", { password: first.value });
      first.value = again.value = "";
      done.textContent = "Changed. The browser will ask for it.";
    }), done);
}

async function sshKeys(place, signal) {
  const user = el("input", { value: "root" });
  const key = el("input", { placeholder: "ssh-ed25519 AAAA… name" });
  const list = el("div");
  const path = () => `/config/sshKeys/${encodeURIComponent(user.value)}`;
  const load = async () => {
    const keys = await get(path(), signal);
    list.replaceChildren(table(["Key", ""], keys.map((each) => [
      el("code", {}, each), action("Remove", async () => {
        await remove(`${path()}?key=${encodeURIComponent(each)}`);
        await load();
      }, "Remove this key?"),
    ]), "This user has no keys."));
  };
  place.append(el("div", { className: "form" }, el("label", {}, "User of the system ", user), el("label", {}, "New key ", key)),
    el("p", { className: "actions" }, action("Show keys", load), action("Add", async () => {
      await send("POST", path(), { key: key.value.trim() });
      key.value = "";
      await load();
    })), list);
}

async function power(place, signal) {
  const progress = el("div");
  const ask = (updateType) => async () => {
    const { change_id: id } = await send("POST", "/changes/", { updateClass: "ROUTER", updateType, name: "__PARADROP__" });
    await show(progress, id, signal);
  };
  place.append(el("p", { className: "actions" },
    action("Reboot", ask("reboot"), "Reboot the node now?"),
    action("Shut down", ask("shutdown"), "Shut the node down? Somebody will have to switch it on again."),
    action("Factory reset", async () => {
      const { removed, kept } = await send("POST", "/config/factoryReset?dry_run=true");
      if (!confirm(`This removes:\n- ${removed.join("\n- ")}\n\nThis stays:\n- ${kept.join("\n- ")}`)) return;
      const { change_id: id } = await send("POST", "/config/factoryReset");
      await show(progress, id, signal);
    })), progress);
}
