// Keeps the page of a link true while it is looked at: asked again now and then, and whenever it comes into view.
"use strict";
(() => {
  const main = document.querySelector("main[data-waiting]");
  if (!main) return;
  const pace = () => (main.dataset.waiting === "1" ? 10000 : 60000);
  let served = main.cloneNode(true), timer = 0, loading = false;

  const dress = () => {
    for (const link of main.querySelectorAll("[data-again]")) link.hidden = true; // this script looks
    window.kassaLive.localTimes(main);
  };

  const draw = (fresh) => {
    const newer = fresh?.querySelector("main[data-waiting]");
    if (!newer) return false;
    const focused = document.activeElement;
    window.kassaLive.patch(main, served, newer);
    served = newer;
    document.title = fresh.title;
    dress();
    // What was being used is gone: its user goes on where it is said why.
    if (focused && !focused.isConnected) main.querySelector("[data-state]").focus({ preventScroll: true });
    return true;
  };

  const trouble = window.kassaLive.troubles(main.querySelector("[data-trouble]"), (all) => {
    const parts = [...main.querySelectorAll("[data-state], #mine, form")];
    const used = all && parts.some((part) => part.contains(document.activeElement));
    const asks = main.querySelector("form, #mine a.go") !== null;
    for (const part of parts) part.hidden = all && asks;
    return used && asks;
  });

  const next = (pause = pace()) => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (document.hidden) next(); else ask(); }, pause);
  };

  const ask = () => {
    // What was entered and was wrong stays beside the words that say so, and a form for which work is done stays, too.
    if (loading || main.querySelector("[aria-invalid], [data-bits]")) return;
    loading = true;
    window.kassaLive.ask((fresh, notice) => {
      loading = false;
      const well = draw(fresh);
      if (well || notice) trouble.over(notice);
      else trouble.lost();
      next(well ? pace() : window.kassaLive.soon());
    });
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) ask(); });
  window.addEventListener("offline", trouble.lost);
  window.addEventListener("online", ask);
  dress();
  next();
})();
