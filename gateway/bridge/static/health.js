// Marks each service as up or down.
// The origin, since a page opened with user and password in its address may not fetch relative to it.
async function refresh() {
  let services = {};
  try {
    services = (await (await fetch(`${location.origin}/healthz`)).json()).services;
  } catch {
    // The node does not answer: every mark goes out.
  }
  for (const card of document.querySelectorAll("[data-service]")) {
    const state = services[card.dataset.service];
    card.classList.toggle("up", state === "SERVING");
    card.classList.toggle("down", state !== undefined && state !== "SERVING");
  }
}
refresh();
setInterval(refresh, 5000);
