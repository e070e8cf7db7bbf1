// Shows the page that the address names: /#/chutes/hello and such. A page is a function that fills an element; the
// signal ends what it has begun when another page is opened.

import { el } from "./dom.js";
import changes from "./changes.js";
import chute from "./chute.js";
import chutes from "./chutes.js";
import log from "./log.js";
import networks from "./networks.js";
import overview from "./overview.js";
import settings from "./settings.js";

const PAGES = { "": overview, chutes, networks, changes, log, settings };

let ending = new AbortController();

async function open() {
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  const [, name = "", inner] = location.hash.split("/").map(decodeURIComponent);
  const page = name === "chutes" && inner ? chute : PAGES[name];
  const root = el("div");
  document.querySelector("main").replaceChildren(root);
  document.title = ["Paradrop", inner ?? name].filter(Boolean).join(": ");
  try {
    if (page) await page(root, signal, inner);
    else root.append(el("h1", {}, "No such page"), el("p", {}, "Choose one above."));
  } catch (error) {
    if (!signal.aborted) complain(root, error);
  }
}

function complain(root, error) {
  root.prepend(el("p", { role: "alert" }, error.message));
}

addEventListener("hashchange", open);
open();
