// What was asked of the node, and how far it has come.

import { follow, get, repeat, send } from "./api.js";
import { action, el, state, table, when } from "./dom.js";

const REFRESH_MS = 3000;
const RUNNING = ["queued", "processing"];

export default async function changes(root, signal) {
  const [list, one] = [el("div"), el("div")];
  root.append(el("h1", {}, "Changes"), one, list);
  await repeat(REFRESH_MS, signal, async () => {
    const found = await get("/changes?includeEnded=true&pageSize=50", signal);
    list.replaceChildren(table(["", "What", "Of", "By", "Status", "Asked for", ""], found.map((change) => [
      String(change.id), change.updateType, change.name === "__PARADROP__" ? "the node" : change.name, change.user?.name ?? "",
      el("span", {}, state(change.status), change.failure ? ` ${change.failure.message}` : change.waiting ? ` ${change.waiting.message}` : ""),
      when(change.create_time),
      el("span", {},
        action("Show", () => { show(one, change.id, signal); }),
        RUNNING.includes(change.status) ? action("Cancel", () => send("POST", `/changes/${change.id}/cancel`)) : null),
    ]), "Nothing has changed yet."));
  });
}

// Shows a change until it ends, and returns how it ended.
export async function show(place, id, signal) {
  const bar = el("progress", { max: 100, value: 0 });
  const step = el("span", {}, "Waiting.");
  const lines = el("pre", { className: "lines" });
  place.replaceChildren(el("section", { className: "change" }, el("p", {}, `Change ${id} `, bar, " ", step), lines));
  const over = new AbortController();
  let end = null;
  try {
    await follow(`/changes/${id}/watch`, AbortSignal.any([signal, over.signal]), ({ progress, change, ended }) => {
      const known = ended ?? change;
      if (progress) {
        lines.append(`${progress.message}\n`);
        lines.scrollTop = lines.scrollHeight;
      }
      if (known) {
        bar.value = known.percent;
        step.replaceChildren(state(known.status), ` ${known.failure?.message ?? known.waiting?.message ?? known.step}`);
      }
      if (ended) {
        end = ended;
        over.abort();
      }
    }, () => lines.replaceChildren());
  } catch (error) {
    if (!over.signal.aborted) throw error;
  }
  return end;
}
