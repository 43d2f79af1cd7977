// Keeps a page true while it is open: news from the server's stream, the page itself asked again whenever there are any.
"use strict";
(() => {
  const main = document.querySelector("main[data-invoice]");
  if (!main) return;
  const words = JSON.parse(main.dataset.words);
  const parent = main.dataset.embed && window.parent !== window ? main.dataset.embed : null;
  const served = new Map(); // each part as the server sent it last
  let loading = false, again = false, stream = null, polling = 0, silent = 0, reopening = 0, heard = 0;

  const tell = (type) => {
    if (parent) window.parent.postMessage({ kassa: 1, type, invoice: main.dataset.invoice, status: main.dataset.status }, parent);
  };

  const trouble = window.kassaLive.troubles(main.querySelector("[data-trouble]"), (all) => {
    const [state, pay] = ["state", "pay"].map((name) => main.querySelector(`[data-part=${name}]`));
    const used = all && pay.contains(document.activeElement);
    state.hidden = pay.hidden = all && pay.childElementCount > 0;
    return used;
  });

  // ---- what only a script can do

  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const shown = button.parentElement.querySelector(".copy, .whole");
      getSelection().selectAllChildren(shown);
      if (!document.execCommand("copy")) return;
    }
    if ("copied" in button.dataset) return;
    const before = [...button.childNodes], aloud = main.querySelector("p[data-copied]");
    button.dataset.copied = "";
    for (const shown of [button, aloud]) shown.replaceChildren(words.copied);
    setTimeout(() => { delete button.dataset.copied; button.replaceChildren(...before); aloud.replaceChildren(); }, 2000);
  };

  const tick = () => {
    if (window.kassaLive.clock.jumped()) refresh();
    // The server is never silent for so long: a connection that was forgotten on the way looks open for ever.
    if (stream && stream.readyState !== EventSource.CLOSED && performance.now() - heard > 40000) anew();
    const line = main.querySelector("[data-until]");
    if (!line) return;
    const left = window.kassaLive.clock.left(line.dataset.until);
    const [hours, minutes, seconds] = [left / 3600, (left / 60) % 60, left % 60].map(Math.floor);
    const clock = [minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":");
    line.hidden = left < 0;
    line.textContent = hours > 0 ? `${hours}:${clock}` : clock;
    // Until the server's clock, too, says that the time is over.
    if (left % 10 === -1) refresh();
  };

  const dress = () => {
    const usable = `[data-copy], [data-print]${parent ? ", [data-close]" : ""}`;
    for (const button of main.querySelectorAll(usable)) button.hidden = false;
    window.kassaLive.localTimes(main);
    tick();
    window.kassaWallets?.(main, words);
  };

  main.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    else if (button && "print" in button.dataset) window.print();
    else if (button && "close" in button.dataset) tell("close");
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tell("close"); });

  // ---- asking the page again: its words are made in one place, the server

  const parts = (root) => root.querySelectorAll("[data-part]");
  main.querySelector("[data-again]")?.remove(); // this script looks
  for (const part of parts(main)) served.set(part.dataset.part, part.cloneNode(true));

  const draw = (fresh) => {
    const newer = fresh?.querySelector("main[data-invoice]");
    if (!newer || newer.dataset.invoice !== main.dataset.invoice) return false;
    const focused = document.activeElement;
    for (const part of parts(newer)) {
      const name = part.dataset.part;
      window.kassaLive.patch(main.querySelector(`[data-part="${name}"]`), served.get(name), part);
      served.set(name, part);
    }
    // What was being used is gone: its user goes on where it is said why, not at the top of the page.
    if (focused && !focused.isConnected) main.querySelector("[data-part=state]").focus({ preventScroll: true });
    const changed = main.dataset.status !== newer.dataset.status;
    for (const name of ["status", "version", "waiting"]) main.dataset[name] = newer.dataset[name];
    document.title = fresh.title;
    dress();
    if (changed) tell("status");
    return true;
  };

  const refresh = () => {
    if (loading) { again = true; return; }
    loading = true;
    const asked = performance.now();
    window.kassaLive.ask((fresh, notice, came) => {
      loading = false;
      const now = fresh?.querySelector("main")?.dataset.now;
      if (now) window.kassaLive.clock.set(now, asked, came);
      const well = draw(fresh);
      if (well || notice) trouble.over(notice);
      else trouble.lost();
      if (!well) setTimeout(refresh, window.kassaLive.soon());
      else if (again) { again = false; refresh(); }
    });
  };

  // ---- news

  const waits = () => main.dataset.waiting === "1";

  const poll = () => {
    clearTimeout(polling);
    const pace = waits() && !document.hidden ? 10000 : 60000;
    polling = setTimeout(() => { if (waits() || !document.hidden) refresh(); poll(); }, pace);
  };

  const hear = () => { heard = performance.now(); };

  const follow = () => {
    clearTimeout(reopening);
    hear();
    stream = new EventSource(`/i/${main.dataset.invoice}/stream`);
    stream.onopen = () => {
      hear();
      clearInterval(silent);
      silent = 0;
      clearTimeout(polling);
      if (!main.querySelector("[data-trouble]").hidden) refresh();
    };
    stream.onmessage = (event) => {
      hear();
      if (event.lastEventId !== main.dataset.version) refresh();
    };
    stream.addEventListener("here", hear);
    stream.onerror = () => {
      // The browser asks for the stream again by itself; until it is back, the page is asked, which tells of trouble.
      if (stream.readyState === EventSource.CONNECTING && waits()) silent ||= setInterval(refresh, 4000);
      if (stream.readyState !== EventSource.CLOSED) return;
      // Refused (by a proxy while the program starts, or for want of room), or over: no browser asks again by itself.
      clearInterval(silent);
      silent = 0;
      if (waits()) refresh();
      poll();
      reopen();
    };
  };

  // All pages were refused in one moment, and do not come back in one. Where nothing is awaited the stream is over; what
  // is final may still be undone, which the page, asked now and then, tells.
  const reopen = () => {
    reopening = setTimeout(() => (waits() ? follow() : reopen()), 10000 + Math.random() * 20000);
  };

  // A browser opens six connections to a server of HTTP/1.1, for all its tabs: one that nobody looks at holds none.
  const leave = () => {
    stream?.close();
    clearInterval(silent);
    silent = 0;
    clearTimeout(reopening);
    poll();
  };

  const look = () => {
    if (document.hidden) { leave(); return; }
    if (!stream || stream.readyState === EventSource.CLOSED) follow();
    refresh();
  };

  // What was open may be so no more, and says nothing of it.
  const anew = () => {
    stream?.close();
    look();
  };

  window.addEventListener("offline", trouble.lost);
  window.addEventListener("online", anew);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => { if (event.persisted) look(); });
  document.addEventListener("visibilitychange", look);
  window.addEventListener("load", () => {
    window.kassaLive.clock.load(main.dataset.now);
    dress();
    setInterval(tick, 1000);
    if (document.hidden) poll(); else follow();
    tell("ready");
  });
})();
