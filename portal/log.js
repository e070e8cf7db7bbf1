// The log of the node, live.

import { follow } from "./api.js";
import { addLines, el } from "./dom.js";

const PAST_LINES = 300;
const LEVELS = ["debug", "info", "warning", "error"];

export default async function log(root, signal) {
  const level = el("select", {}, LEVELS.map((name) => el("option", { selected: name === "info" }, name)));
  const lines = el("pre", { className: "lines log" });
  root.append(el("h1", {}, "Log"), el("p", { className: "wishes" }, el("label", {}, "Least level ", level)), lines);
  let reading = new AbortController();
  const begin = () => {
    reading.abort();
    reading = new AbortController();
    const either = AbortSignal.any([signal, reading.signal]);
    return follow(`/info/logs?tail=${PAST_LINES}&level=${level.value}`, either,
      ({ lines: news }) => addLines(lines, (news?.lines ?? []).map(shown)), () => lines.replaceChildren())
      .catch((error) => { if (!either.aborted) throw error; });
  };
  level.onchange = begin;
  await begin();
}

function shown({ time, service, level, message, fields }) {
  const more = Object.entries(fields).map(([name, value]) => ` ${name}=${value}`).join("");
  const text = `${new Date(time).toLocaleTimeString()} ${service} ${level}: ${message}${more}\n`;
  return el("span", { className: ["error", "critical"].includes(level) ? "bad" : "" }, text);
}
