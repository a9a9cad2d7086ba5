// Keeps the page up to date: rates once a second by live events, the rest once a minute. Without it, the numbers don't change.
"use strict";
const units = ["kB", "MB", "GB", "TB", "PB", "EB"];
function size(bytes) {
  if (bytes < 1000) return Math.floor(bytes) + " B";
  let unit = 1;
  for (const name of units) {
    unit *= 1000;
    if (bytes < unit * 999.995 || name === "EB") return (Math.round(bytes / unit * 100) / 100).toFixed(2) + " " + name;
  }
}
const state = document.getElementById("live");
const rates = { receive: [], transmit: [] };

function set(element, text, value) {
  if (element.textContent !== text) element.textContent = text;
  if (value !== undefined) element.value = value;
}

// A sum grows as today's sum does, from both values when the server drew them; after midnight the server draws again.
function follow(element, today) {
  const grown = today - Number(element.dataset.today);
  if (grown >= 0) set(element, size(Number(element.dataset.base) + grown), Number(element.dataset.base) + grown);
}

function tell(account) {
  for (const element of document.querySelectorAll(`[data-account="${CSS.escape(account.kind + ":" + account.name)}"]`)) {
    switch (element.dataset.follows) {
    case "today": follow(element, account.today.total_bytes); break;
    case "today-received": follow(element, account.today.received_bytes); break;
    case "today-transmitted": follow(element, account.today.transmitted_bytes); break;
    }
    switch (element.dataset.field) {
    case "receive": set(element, size(account.receive_bytes_per_second) + "/s"); break;
    case "transmit": set(element, size(account.transmit_bytes_per_second) + "/s"); break;
    case "receive-peak": set(element, size(account.receive_peak_bytes_per_second) + "/s"); break;
    case "transmit-peak": set(element, size(account.transmit_peak_bytes_per_second) + "/s"); break;
    case "today": set(element, size(account.today.total_bytes), account.today.total_bytes); break;
    case "today-received": set(element, size(account.today.received_bytes), account.today.received_bytes); break;
    case "today-transmitted": set(element, size(account.today.transmitted_bytes), account.today.transmitted_bytes); break;
    case "state": set(element, account.up ? "up" : "down"); break;
    }
  }
}

function draw(direction, rate) {
  const svg = document.querySelector(`svg[data-spark="${direction}"]`);
  const seen = rates[direction];
  seen.push(rate);
  if (seen.length > 60) seen.shift();
  const top = Math.max(...seen, 1);
  const points = seen.map((each, place) => `${60 - seen.length + place},${(20 - 19 * each / top).toFixed(1)}`);
  if (svg) svg.firstElementChild.setAttribute("points", points.join(" "));
}

const watched = document.body.dataset.watched;
const feed = new EventSource("api/v1/live");
feed.onmessage = event => {
  const report = JSON.parse(event.data);
  for (const account of report.accounts) {
    tell(account);
    if (account.kind + ":" + account.name === watched) {
      draw("receive", account.receive_bytes_per_second);
      draw("transmit", account.transmit_bytes_per_second);
    }
  }
  const online = document.getElementById("online");
  set(online, report.online ? "online" : "offline");
  online.className = report.online ? "online" : "offline";
  set(document.getElementById("as-of"), report.as_of.slice(0, 19).replace("T", " "));
  set(state, "live");
};
feed.onerror = () => set(state, "connection lost, trying again");

// Replaces parts that changed by what the server draws.
async function refresh() {
  try {
    const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
    if (!answer.ok) return;
    // Only what is shown: style and script are here already.
    const text = await answer.text();
    const fresh = new DOMParser().parseFromString(text.slice(text.indexOf("<main>"), text.indexOf("</main>")), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      // A part that somebody is about to use stays where it is.
      if (!next || part.contains(document.activeElement)) continue;
      const open = part.querySelector("details")?.open;
      if (next.querySelector("details") && open) next.querySelector("details").open = true;
      if (next.outerHTML !== part.outerHTML) part.replaceWith(document.importNode(next, true));
    }
  } catch { /* The feed says that the connection is lost. */ }
}
setInterval(() => { if (!document.hidden) refresh(); }, 60000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
