// Without this the page is whole. With it, what is shown comes anew every few seconds.
(() => {
  "use strict";
  const every = 1000 * Number(document.body.dataset.every);
  const pause = document.getElementById("pause");
  const trouble = document.getElementById("trouble");
  let paused = false, asking = false, last = Date.now();

  // What had the focus has it again: links by where they lead, anything else by its id.
  const mark = (e) => {
    if (e.id) return "#" + CSS.escape(e.id);
    if (e.tagName === "SUMMARY" && e.parentElement.id) return "#" + CSS.escape(e.parentElement.id) + " > summary";
    if (e.tagName === "A") return "a[href=" + JSON.stringify(e.getAttribute("href")) + "]";
    return null;
  };

  const take = (old, fresh) => {
    if (!fresh || old.isEqualNode(fresh)) return;
    const selection = getSelection();
    if (!selection.isCollapsed && selection.containsNode(old, true)) return; // somebody copies from it
    const active = old.contains(document.activeElement) ? mark(document.activeElement) : "";
    if (active === null) return;
    const open = [...old.querySelectorAll("details[open][id]")].map((e) => e.id);
    const scrolled = [...old.querySelectorAll(".wide[id]")].map((e) => [e.id, e.scrollLeft]);
    const next = document.adoptNode(fresh);
    for (const e of next.querySelectorAll("details[id]")) e.open = open.includes(e.id);
    old.replaceWith(next);
    for (const [id, left] of scrolled) {
      const e = document.getElementById(id);
      if (e) e.scrollLeft = left;
    }
    if (active) next.querySelector(active)?.focus({ preventScroll: true });
  };

  const refresh = async () => {
    if (paused || asking || document.hidden) return;
    asking = true;
    try {
      // Without a name and a password that somebody may have put into the address.
      const answer = await fetch(location.origin + location.pathname + location.search, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(every) });
      if (!answer.ok) throw new Error("the answer is " + answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("main")) throw new Error("this is another page");
      document.title = fresh.title;
      for (const old of document.querySelectorAll("[data-live][id]")) take(old, fresh.getElementById(old.id));
      trouble.textContent = "";
      last = Date.now();
    } catch {
      const text = "The gateway does not answer: this is what it said last.";
      if (trouble.textContent !== text) trouble.textContent = text;
    }
    asking = false;
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - last > every) refresh();
  });
  setInterval(refresh, every);
})();
