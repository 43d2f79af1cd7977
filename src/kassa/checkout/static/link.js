// Keeps the page of a link true while it is looked at: asked again now and then, when the link ends, and whenever it
// comes into view.
"use strict";
(() => {
  const main = document.querySelector("main[data-waiting]");
  if (!main) return;
  const pace = () => (main.dataset.waiting === "1" ? 10000 : 60000);
  let served = main.cloneNode(true), timer = 0, loading = false, again = false, asked = 0;

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
    if (!over() && main.querySelector("[aria-invalid], [data-bits]")) return;
    if (loading) { again = true; return; }
    loading = true;
    asked = performance.now();
    window.kassaLive.ask((fresh, notice, came) => {
      loading = false;
      const now = fresh?.querySelector("main")?.dataset.now;
      if (now) window.kassaLive.clock.set(now, asked, came);
      const well = draw(fresh);
      if (well || notice) trouble.over(notice);
      else trouble.lost();
      next(well ? pace() : window.kassaLive.soon());
      if (well && again) ask(); // what came into view meanwhile may be newer than the answer
      again = false;
    });
  };

  const over = (at) => {
    const until = main.querySelector("[data-until]")?.dataset.until;
    return until !== undefined && window.kassaLive.clock.left(until, at) < 0;
  };

  const tick = () => {
    if (document.hidden) return;
    // Until the server's clock, too, says that the link has ended.
    const due = over() && (!over(asked) || performance.now() - asked > 3000);
    if (window.kassaLive.clock.jumped() || due) ask();
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) ask(); });
  window.addEventListener("offline", trouble.lost);
  window.addEventListener("online", ask);
  window.addEventListener("load", () => {
    window.kassaLive.clock.load(main.dataset.now);
    setInterval(tick, 1000);
  });
  dress();
  next();
})();
