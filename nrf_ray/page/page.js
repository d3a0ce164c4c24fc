// A page works without this. With it, tables sort, and the page of a running sweep keeps up with the run.
(() => {
  "use strict";
  const root = document.documentElement;
  const sorted = new Map();
  let paused = false;

  const SECONDS = { d: 86400, h: 3600, min: 60, s: 1 };

  // The value of a cell: the seconds of a time such as "4 min 5 s", a number, or otherwise the text.
  const value = (cell) => {
    const text = cell.textContent.trim();
    const parts = [...text.matchAll(/(\d[\d.]*) (d|h|min|s)(?= |$)/g)];
    if (parts.length && parts.map(([part]) => part).join(" ") === text) {
      return parts.reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0);
    }
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  };

  const order = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => direction * order(value(a.cells[column]), value(b.cells[column])));
    body.append(...rows);
    [...table.tHead.rows[0].cells].forEach((cell, i) => {
      if (i === column) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
  };

  const name = (table) => table.caption.textContent;

  const upgrade = () => {
    for (const table of document.querySelectorAll("table")) {
      [...table.tHead.rows[0].cells].forEach((cell, column) => {
        if (!cell.textContent) return;
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = cell.textContent;
        button.addEventListener("click", () => {
          const direction = cell.getAttribute("aria-sort") === "ascending" ? -1 : 1;
          sorted.set(name(table), [column, direction]);
          sort(table, column, direction);
        });
        cell.replaceChildren(button);
      });
      const before = sorted.get(name(table));
      if (before) sort(table, ...before);
    }
  };

  const opened = () => Object.fromEntries([...document.querySelectorAll("details")].map((d) => [d.id, d.open]));

  const reopen = (states) => {
    for (const details of document.querySelectorAll("details")) {
      if (details.id in states) details.open = states[details.id];
    }
  };

  const seconds = () => Number(root.dataset.refresh || 0);

  const say = () => {
    const place = document.getElementById("refresh");
    if (!seconds()) return place?.replaceChildren();
    const age = (Date.now() - Date.parse(document.querySelector("time").dateTime)) / 1000;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = paused ? "Refresh again" : "Pause";
    button.addEventListener("click", () => {
      paused = !paused;
      say();
    });
    const late = age > 120 ? " Nothing new for minutes: the run may have been killed." : "";
    const state = paused ? "Paused." : `Refreshes every ${seconds()} seconds.`;
    place.replaceChildren(`${state}${late} `, button);
  };

  // A page from a server is fetched and replaced in place. A page opened as a file has to be reloaded; the browser
  // itself restores the scroll position.
  const key = `nrf_ray ${location.pathname}`;

  const refresh = async () => {
    if (!location.protocol.startsWith("http")) {
      sessionStorage.setItem(key, JSON.stringify({ opened: opened(), sorted: [...sorted] }));
      location.reload();
      return;
    }
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const states = opened();
    const held = document.activeElement && document.activeElement.closest("[id]");
    for (const part of ["header", "nav", "main"]) {
      document.querySelector(part).replaceWith(fresh.querySelector(part));
    }
    document.title = fresh.title;
    if (fresh.documentElement.dataset.refresh) root.dataset.refresh = fresh.documentElement.dataset.refresh;
    else delete root.dataset.refresh;
    reopen(states);
    upgrade();
    say();
    const again = held && document.getElementById(held.id);
    if (again) (again.querySelector("summary, button") || again).focus({ preventScroll: true });
  };

  const tick = async () => {
    const busy = paused || document.hidden || !getSelection().isCollapsed;
    if (!busy) await refresh().catch(() => say());
    if (seconds()) setTimeout(tick, 1000 * seconds());
  };

  const kept = JSON.parse(sessionStorage.getItem(key) || "null");
  sessionStorage.removeItem(key);
  if (kept) {
    reopen(kept.opened);
    for (const [table, how] of kept.sorted) sorted.set(table, how);
  }
  upgrade();
  say();
  if (seconds()) setTimeout(tick, 1000 * seconds());
})();
