// All of the console's script. Without it every page works; what it adds: rows as they come, keys, thresholds that answer at once.
"use strict";

const typing = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea");

function keys(table) {
  const links = () => [...table.querySelectorAll("tr[data-seq] a")];
  document.addEventListener("keydown", (event) => {
    if (typing(event) || !["j", "k"].includes(event.key)) return;
    const all = links();
    const at = all.indexOf(document.activeElement);
    const next = all[Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), all.length - 1)];
    if (next) next.focus();
  });
}

// Rows are held back while somebody points at them, has moved into them, or has paused: what is about to be clicked stays.
function live(body) {
  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");
  const bar = pause.closest(".live");
  const most = Number(body.dataset.most);
  const held = new Map();
  let paused = false, missed = 0, connected = false;
  bar.hidden = false;

  const isHeld = () => paused || body.matches(":hover") || body.contains(document.activeElement);
  const say = () => {
    const n = held.size + missed;
    const text = !connected ? "connecting" : paused ? `paused${n ? `, ${n} new` : ""}` : n ? `${n} new` : "live";
    if (state.textContent !== text) state.textContent = text;
    bar.dataset.state = !connected ? "off" : paused ? "paused" : "on";
  };
  const show = () => {
    for (const [seq, html] of held) {
      const made = document.createElement("template");
      made.innerHTML = html;  // drawn and escaped by the server
      const row = made.content.querySelector("tr");
      const old = body.querySelector(`tr[data-seq="${Number(seq)}"]`);
      if (old) old.replaceWith(row);
      else {
        const after = [...body.rows].find((other) => Number(other.dataset.seq) < seq);
        body.insertBefore(row, after || null);
      }
    }
    while (body.rows.length > most) body.rows[body.rows.length - 1].remove();
    if (body.rows.length) document.getElementById("empty").hidden = true;
    held.clear();
    missed = 0;
  };
  const flush = () => { if (!isHeld()) show(); say(); };

  const source = new EventSource(body.dataset.live);
  source.onopen = () => { connected = true; say(); };
  source.onerror = () => { connected = false; say(); };
  source.onmessage = (event) => {
    const { seq, row } = JSON.parse(event.data);
    held.delete(seq);
    held.set(seq, row);
    if (held.size > most) { held.delete(held.keys().next().value); missed += 1; }
    flush();
  };
  source.addEventListener("missed", (event) => { missed += Number(event.data); flush(); });
  body.addEventListener("mouseleave", flush);
  body.addEventListener("focusout", () => setTimeout(flush));
  const toggle = () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    flush();
  };
  pause.addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => { if (!typing(event) && event.key === "p") toggle(); });
  window.addEventListener("pagehide", () => source.close());
  say();
}

function whatIf(form) {
  const found = form.querySelector(".found");
  const svg = form.querySelector("svg");
  const ranges = [...form.querySelectorAll("input[type=range]")];
  if (!found || !svg) return;
  let waiting = null, latest = 0;
  const width = svg.viewBox.baseVal.width;
  form.querySelector(".submit").hidden = true;
  const reset = form.querySelector("button[type=reset]");
  reset.hidden = false;

  const ask = async () => {
    const mine = ++latest;
    const query = new URLSearchParams(new FormData(form));
    const answer = await fetch(`${form.dataset.whatIf}?${query}`, { headers: { Accept: "text/html" } }).catch(() => null);
    if (mine !== latest) return;
    if (answer && answer.ok) found.innerHTML = await answer.text();  // drawn and escaped by the server
    else found.textContent = "This cannot be computed now; load the page again.";
    found.removeAttribute("aria-busy");
  };
  const moved = () => {
    for (const range of ranges) {
      const x = String(range.value * width);
      const tick = svg.querySelector(`[data-tick="${range.name}"]`);
      tick.setAttribute("x1", x);
      tick.setAttribute("x2", x);
      range.closest("label").querySelector(".value").textContent = range.value;
    }
    found.setAttribute("aria-busy", "true");
    clearTimeout(waiting);
    waiting = setTimeout(ask, 120);
  };
  for (const range of ranges) range.addEventListener("input", moved);
  form.addEventListener("reset", () => setTimeout(moved));
}

function refresh(part) {
  setInterval(async () => {
    if (document.hidden) return;
    const address = new URL(location.href);
    address.searchParams.delete("content");  // only what is refreshed is asked for
    const answer = await fetch(address).catch(() => null);
    if (!answer || !answer.ok || part.contains(document.activeElement)) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(part.id);
    if (fresh && fresh.innerHTML !== part.innerHTML) part.innerHTML = fresh.innerHTML;
  }, Number(part.dataset.refresh) * 1000);
}

// j and k move; u, o, s say something; e marks it as an example to be; x, n, c lead to the exception, the note, the content.
function review(one) {
  const press = {
    j: () => one.querySelector("a[rel=next]"), k: () => one.querySelector("a[rel=prev]"), c: () => one.querySelector("#content"),
    u: () => one.querySelector("button[value=upheld]"), o: () => one.querySelector("button[value=overturned]"),
    e: () => one.querySelector("[name=example]"), s: () => one.querySelector("button[value=unsure]"),
  };
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.repeat) return;
    const details = one.querySelector("#exception");
    if (event.key in press) press[event.key]()?.click();
    else if (event.key === "n") one.querySelector("textarea").focus();
    else if (event.key === "x" && details) { details.open = true; details.querySelector("select").focus(); }
    else return;
    event.preventDefault();
  });
}

for (const table of document.querySelectorAll("table.rows")) keys(table);
for (const body of document.querySelectorAll("[data-live]")) live(body);
for (const form of document.querySelectorAll("[data-what-if]")) whatIf(form);
for (const part of document.querySelectorAll("[data-refresh]")) refresh(part);
for (const one of document.querySelectorAll("[data-review]")) review(one);
