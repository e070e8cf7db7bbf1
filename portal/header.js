// The line with the pages, the same on all of them.

import { el } from "./dom.js";

const PAGES = [
  ["/#/", "Overview"],
  ["/#/chutes", "Chutes"],
  ["/#/networks", "Networks"],
  ["/spectrum", "Spectrum"],
  ["/#/changes", "Changes"],
  ["/#/log", "Log"],
  ["/#/settings", "Settings"],
  ["/reference", "API"],
];

function mark() {
  const here = location.pathname === "/" ? `/#/${(location.hash.split("/")[1] ?? "")}` : location.pathname;
  for (const link of document.querySelectorAll("header nav a")) {
    link.toggleAttribute("aria-current", link.getAttribute("href") === here);
  }
}

document.querySelector("header").replaceChildren(
  el("nav", { ariaLabel: "Pages" }, PAGES.map(([href, name]) => el("a", { href }, name))),
);
addEventListener("hashchange", mark);
mark();
