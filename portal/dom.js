// Makes elements, and texts of values. Whatever comes from the node becomes text, never markup.

const MOST_LINES = 2000;

export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// `rows` are lists of texts and elements.
export function table(head, rows, nothing) {
  if (!rows.length) return el("p", { className: "soft" }, nothing);
  return el("div", { className: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((name) => el("th", {}, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));
}

// `pairs` are names and values; what has no value is left out.
export function facts(pairs) {
  return el("dl", {}, pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export function state(word) {
  const good = ["running", "succeeded", "SERVING"];
  const kind = good.includes(word) ? "up" : ["stopped", "queued", "processing"].includes(word) ? "still" : "down";
  return el("span", { className: `state ${kind}` }, word);
}

// A button with the place where it says why it failed. `question` is asked first, if there is one.
export function action(name, act, question) {
  const problem = el("span", { role: "alert" });
  const press = el("button", { type: "button" }, name);
  press.onclick = async () => {
    if (question && !confirm(question)) return;
    press.disabled = true;
    problem.textContent = "";
    try {
      await act();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      press.disabled = false;
    }
  };
  return el("span", { className: "action" }, press, problem);
}

// Adds lines, texts or elements, to a log: the oldest go when it is long, and it stays at its end if it is there.
export function addLines(log, lines) {
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.append(...lines);
  while (log.childNodes.length > MOST_LINES) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = count > 0 ? Math.min(Math.floor(Math.log10(count) / 3), units.length - 1) : 0;
  return `${(count / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

export function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : `${minutes} min`;
}

export const when = (time) => (time ? new Date(time).toLocaleString() : "");
