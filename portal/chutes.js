// The chutes, and how to install one.

import { get, repeat, upload } from "./api.js";
import { show } from "./changes.js";
import { el, state, table } from "./dom.js";
import { pack } from "./tar.js";

const REFRESH_MS = 5000;

export default async function chutes(root, signal) {
  const [list, progress] = [el("div"), el("div")];
  const refresh = async () => {
    const found = await get("/chutes/", signal);
    list.replaceChildren(table(["Chute", "State", "Version", "What it is", "Owner"], found.map((chute) => [
      el("a", { href: `#/chutes/${encodeURIComponent(chute.name)}` }, chute.name),
      state(chute.state), String(chute.version ?? ""), chute.description ?? "", chute.owner?.name ?? "",
    ]), "No chute is installed."));
  };
  root.append(el("h1", {}, "Chutes"), list, el("h2", {}, "Install a chute"),
    el("p", { className: "soft" }, "A chute is a folder with a paradrop.yaml in it, or a tar file of one."),
    chooser(progress, signal, "POST", "/chutes/", refresh), progress);
  await repeat(REFRESH_MS, signal, refresh);
}

// Lets somebody choose a folder or a tar file, sends it and shows what comes of it.
export function chooser(progress, signal, method, path, done) {
  const problem = el("p", { role: "alert" });
  const folder = el("input", { type: "file", webkitdirectory: true });
  const file = el("input", { type: "file", accept: ".tar" });
  const take = async (input, tar) => {
    problem.textContent = "";
    try {
      const { change_id: id } = await upload(method, path, tar());
      await show(progress, id, signal);
      await done();
    } catch (error) {
      if (!signal.aborted) problem.textContent = error.message;
    } finally {
      input.value = "";
    }
  };
  folder.onchange = () => take(folder, () => pack(folder.files));
  file.onchange = () => take(file, () => file.files[0]);
  return el("div", { className: "wishes" }, el("label", {}, "Folder ", folder), el("label", {}, "Tar file ", file), problem);
}
