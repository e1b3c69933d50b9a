"use strict";
/* An improvement: every page works without it. Keyboard, partial refresh, choice of columns; nothing is fetched from
   elsewhere. */

(() => {
  const main = document.getElementById("main");
  /* On a phone the bar of pages scrolls: to where the reader is. */
  const bar = document.querySelector(".pages"), here = bar && bar.querySelector("[aria-current]");
  if (here) bar.scrollLeft = here.offsetLeft - bar.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2;

  const isTyping = (target) => target.closest("input, select, textarea, [contenteditable]") !== null;

  /* Keyboard: rows are elements of class `item` inside [data-keys]. */

  const listItems = () => [...document.querySelectorAll("[data-keys] .item")].filter((row) => row.offsetParent !== null);
  let current = -1;

  function choose(index, items = listItems()) {
    if (!items.length) return;
    items.forEach((row) => row.classList.remove("row-focus"));
    current = Math.max(0, Math.min(index, items.length - 1));
    const row = items[current];
    row.classList.add("row-focus");
    row.scrollIntoView({ block: "nearest" });
    const target = row.querySelector("a[href], button, summary") || row;
    if (target === row) row.tabIndex = -1;
    target.focus({ preventScroll: true });
  }

  function findCurrent() {
    const items = listItems();
    const holding = items.findIndex((row) => row.contains(document.activeElement));
    return { items, index: holding >= 0 ? holding : current };
  }

  function press(key) {
    const { items, index } = findCurrent();
    const row = items[index];
    const button = row && row.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!button) return false;
    button.click();
    return true;
  }

  function open() {
    const { items, index } = findCurrent();
    const link = items[index] && items[index].querySelector("a[href]");
    if (!link) return false;
    link.click();
    return true;
  }

  const keys = document.getElementById("keys");

  const answers = {
    j: () => { const { items, index } = findCurrent(); choose(index + 1, items); return items.length > 0; },
    k: () => { const { items, index } = findCurrent(); choose(index < 0 ? 0 : index - 1, items); return items.length > 0; },
    "/": () => { const find = document.getElementById("find"); if (find) { find.focus(); find.select(); } return Boolean(find); },
    "?": () => { if (keys) keys.showModal(); return Boolean(keys); },
    Enter: () => document.activeElement.closest("a, button, summary, label") === null && open(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (event.key === "Escape" && document.activeElement.id === "find") {
      document.activeElement.blur();
      return;
    }
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const answer = answers[event.key];
    const done = answer ? answer() : /^[a-z]$/.test(event.key) && press(event.key);
    if (done) event.preventDefault();
  });

  /* After an act the page comes back: stay at the row that follows. */

  const place = `garrison row ${location.pathname}`;
  document.addEventListener("submit", (event) => {
    if (event.target.getAttribute("method") === "dialog") return;
    const { items } = findCurrent();
    const index = items.findIndex((row) => row.contains(event.target));
    if (index >= 0) sessionStorage.setItem(place, String(index));
    // A second press would act twice: the server refuses it, but nobody needs to read that.
    for (const button of event.target.querySelectorAll("button")) {
      setTimeout(() => { button.disabled = true; });
    }
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("button:disabled").forEach((button) => { button.disabled = false; });
    const kept = sessionStorage.getItem(place);
    if (kept === null) return;
    sessionStorage.removeItem(place);
    choose(Number(kept));
  });

  /* Partial refresh: an element with an id and data-refresh, in seconds, takes its content from the page anew. */

  async function refresh(part) {
    if (document.hidden || part.contains(document.activeElement) && isTyping(document.activeElement)) return;
    if (part.querySelector("details[open], dialog[open]")) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(part.id);
    if (!fresh || fresh.innerHTML === part.innerHTML) return;
    const { index } = findCurrent();
    const wasInside = part.contains(document.activeElement);
    part.replaceChildren(...fresh.childNodes);
    setUpColumns(part);
    if (wasInside && index >= 0) choose(index);
  }

  for (const part of document.querySelectorAll("[id][data-refresh]")) {
    const seconds = Math.max(10, Number(part.dataset.refresh) || 60);
    setInterval(() => { refresh(part).catch(() => {}); }, 1000 * seconds);
  }

  /* Sorting, filtering and paging inside an element with an id and data-partial: only that element is replaced. */

  async function follow(part, address) {
    part.classList.add("busy");
    part.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" }, credentials: "same-origin" });
      if (!answer.ok || answer.redirected) throw new Error("not a page");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(part.id);
      if (!fresh) throw new Error("another page");
      part.replaceChildren(...fresh.childNodes);
      setUpColumns(part);
      current = -1;
      document.title = page.title;
      return true;
    } catch {
      location.assign(address);
      return false;
    } finally {
      part.classList.remove("busy");
      part.removeAttribute("aria-busy");
    }
  }

  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest("[data-partial] a[href]");
    if (!link || link.target || link.hasAttribute("download")) return;
    const address = new URL(link.href, location.href);
    if (address.origin !== location.origin || address.pathname !== location.pathname) return;
    const part = link.closest("[id][data-partial]");
    if (!part) return;
    event.preventDefault();
    const label = link.textContent.trim();
    follow(part, address.href).then((isDone) => {
      if (!isDone) return;
      history.pushState(null, "", address.href);
      const same = [...part.querySelectorAll("a[href]")].find((other) => other.textContent.trim() === label);
      (same || main).focus({ preventScroll: true });
    });
  });
  window.addEventListener("popstate", () => {
    const part = document.querySelector("[id][data-partial]");
    if (part) follow(part, location.href);
  });

  /* Columns: a table with data-columns="name", whose headings and cells have data-column, gets a choice of them. */

  function readHidden(name) {
    try {
      return new Set(JSON.parse(localStorage.getItem(`garrison columns ${name}`) || "[]"));
    } catch {
      return new Set();
    }
  }

  function hideColumns(table, hidden) {
    for (const cell of table.querySelectorAll("[data-column]")) cell.hidden = hidden.has(cell.dataset.column);
  }

  function setUpColumns(root) {
    for (const table of root.querySelectorAll("table[data-columns]")) {
      const name = table.dataset.columns;
      const hidden = readHidden(name);
      hideColumns(table, hidden);
      const chooser = document.createElement("details");
      chooser.className = "no-print";
      const summary = document.createElement("summary");
      summary.textContent = document.body.dataset.columnsWord || "Columns";
      const list = document.createElement("div");
      list.className = "columns";
      for (const heading of table.querySelectorAll("thead [data-column]")) {
        const label = document.createElement("label");
        const box = document.createElement("input");
        box.type = "checkbox";
        box.checked = !hidden.has(heading.dataset.column);
        box.addEventListener("change", () => {
          if (box.checked) hidden.delete(heading.dataset.column);
          else hidden.add(heading.dataset.column);
          localStorage.setItem(`garrison columns ${name}`, JSON.stringify([...hidden]));
          hideColumns(table, hidden);
        });
        label.append(box, ` ${heading.textContent.trim()}`);
        list.append(label);
      }
      chooser.append(summary, list);
      const scroller = table.closest(".scroll") || table;
      scroller.before(chooser);
    }
  }

  setUpColumns(document);
})();
