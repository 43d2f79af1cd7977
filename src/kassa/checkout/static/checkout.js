// Keeps a page true while it is open: news from the server's stream, the page itself asked again whenever there are any.
"use strict";
(() => {
  const main = document.querySelector("main[data-invoice]");
  if (!main) return;
  const words = JSON.parse(main.dataset.words);
  const parent = main.dataset.embed && window.parent !== window ? main.dataset.embed : null;
  const drawn = new Map();
  let loading = false, again = false, stream = null, polling = 0, silent = 0;

  const tell = (type) => {
    if (parent) window.parent.postMessage({ kassa: 1, type, invoice: main.dataset.invoice, status: main.dataset.status }, parent);
  };

  const trouble = (there) => {
    const line = main.querySelector("[data-trouble]");
    line.textContent = there ? words.lost : "";
    line.hidden = !there;
  };

  // ---- what only a script can do

  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const shown = button.parentElement.querySelector(".copy");
      getSelection().selectAllChildren(shown);
      if (!document.execCommand("copy")) return;
    }
    const before = button.textContent;
    button.textContent = words.copied;
    setTimeout(() => { button.textContent = before; }, 2000);
  };

  const localTimes = () => {
    // Calendar and digits as the server writes them, in every region.
    const style = { dateStyle: "medium", timeStyle: "short", calendar: "gregory", numberingSystem: "latn" };
    const format = new Intl.DateTimeFormat(document.documentElement.lang, style);
    for (const time of main.querySelectorAll("time[data-local]")) {
      time.firstElementChild.textContent = format.format(new Date(time.dateTime));
    }
  };

  const tick = () => {
    const line = main.querySelector("[data-until]");
    if (!line) return;
    const left = Math.floor((Date.parse(line.dataset.until) - Date.now()) / 1000);
    const [hours, minutes, seconds] = [left / 3600, (left / 60) % 60, left % 60].map(Math.floor);
    const clock = [minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":");
    line.hidden = left < 0;
    line.textContent = hours > 0 ? `${hours}:${clock}` : clock;
    // Until the server's clock, too, says that the time is over.
    if (left % 10 === -1) refresh();
  };

  const dress = () => {
    for (const button of main.querySelectorAll("[data-copy], [data-print]")) button.hidden = false;
    localTimes();
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
  for (const part of parts(document)) drawn.set(part.dataset.part, part.innerHTML);

  const draw = (fresh) => {
    const newer = fresh?.querySelector("main[data-invoice]");
    if (!newer || newer.dataset.invoice !== main.dataset.invoice) return false;
    const focused = document.activeElement?.id, open = main.querySelector("[data-part=pay] details")?.open;
    for (const part of parts(newer)) {
      const name = part.dataset.part;
      if (drawn.get(name) === part.innerHTML) continue;
      drawn.set(name, part.innerHTML);
      main.querySelector(`[data-part="${name}"]`).replaceChildren(...part.childNodes);
      if (name === "pay" && open) main.querySelector("[data-part=pay] details")?.setAttribute("open", "");
    }
    const changed = main.dataset.status !== newer.dataset.status;
    for (const name of ["status", "version", "waiting"]) main.dataset[name] = newer.dataset[name];
    document.title = fresh.title;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    dress();
    if (changed) tell("status");
    return true;
  };

  // A request for a document, not text that is parsed: nothing here turns text into markup.
  const refresh = () => {
    if (loading) { again = true; return; }
    loading = true;
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.timeout = 15000;
    request.onloadend = () => {
      loading = false;
      const well = request.status === 200 && draw(request.response);
      trouble(!well);
      if (!well) setTimeout(refresh, 3000 + Math.random() * 3000);
      else if (again) { again = false; refresh(); }
    };
    request.send();
  };

  // ---- news

  const waits = () => main.dataset.waiting === "1";

  const poll = () => {
    clearTimeout(polling);
    polling = setTimeout(() => { if (waits() || !document.hidden) refresh(); poll(); }, waits() ? 10000 : 60000);
  };

  const follow = () => {
    stream = new EventSource(`/i/${main.dataset.invoice}/stream`);
    stream.onopen = () => { clearInterval(silent); silent = 0; trouble(false); };
    stream.onmessage = (event) => {
      if (event.lastEventId !== main.dataset.version) refresh();
    };
    stream.onerror = () => {
      // The browser asks for the stream again by itself; until it is back, the page is asked, which tells of trouble.
      if (stream.readyState === EventSource.CONNECTING && waits()) silent ||= setInterval(refresh, 4000);
      // Closed for good: refused, or over. The page itself still tells, asked now and then: also what is final may be undone.
      if (stream.readyState === EventSource.CLOSED) poll();
    };
  };

  window.addEventListener("offline", () => trouble(true));
  window.addEventListener("online", refresh);
  window.addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  window.addEventListener("load", () => {
    dress();
    setInterval(tick, 1000);
    follow();
    tell("ready");
  });
})();
