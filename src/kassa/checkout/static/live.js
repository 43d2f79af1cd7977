// What pages that live share: they take over what is new, and write times as their reader's clock shows them.
"use strict";
window.kassaLive = (() => {
  const key = (node) => `${node.nodeName} ${node.id ?? ""}`;
  const same = (before, after) =>
    before.length === after.length && [...before].every((node, place) => node.isEqualNode(after[place]));

  // `shown` was made from `before`, and scripts and readers changed it since: a focus, a selection, an open part, a button
  // of theirs. Only what differs between `before` and `after` is taken over, all else stays the very same node.
  const patch = (shown, before, after) => {
    if (before.isEqualNode(after)) return;
    if (shown.nodeName !== before.nodeName) shown.replaceWith(document.importNode(after, true)); // a translator's
    else if (after.nodeType !== Node.ELEMENT_NODE) shown.data = after.data;
    else {
      for (const { name } of before.attributes) if (!after.hasAttribute(name)) shown.removeAttribute(name);
      for (const { name, value } of after.attributes) {
        if (before.getAttribute(name) !== value) shown.setAttribute(name, value);
      }
      if (same(before.childNodes, after.childNodes)) return;
      if (shown.childNodes.length === before.childNodes.length) patchChildren(shown, before, after);
      else shown.replaceChildren(...document.importNode(after, true).childNodes);
    }
  };

  const patchChildren = (shown, before, after) => {
    const [live, old, fresh] = [shown, before, after].map((node) => [...node.childNodes]);
    const least = Math.min(old.length, fresh.length);
    let head = 0, tail = 0;
    while (head < least && key(old[head]) === key(fresh[head])) head++;
    while (tail < least - head && key(old.at(-1 - tail)) === key(fresh.at(-1 - tail))) tail++;
    const next = live[live.length - tail] ?? null;
    for (const made of fresh.slice(head, fresh.length - tail)) shown.insertBefore(document.importNode(made, true), next);
    for (const gone of live.slice(head, live.length - tail)) gone.remove();
    for (let place = 0; place < head; place++) patch(live[place], old[place], fresh[place]);
    for (let place = 1; place <= tail; place++) patch(live.at(-place), old.at(-place), fresh.at(-place));
  };

  const localTimes = (root) => {
    // Calendar and digits as the server writes them, in every region.
    const style = { dateStyle: "medium", timeStyle: "short", calendar: "gregory", numberingSystem: "latn" };
    const format = new Intl.DateTimeFormat(document.documentElement.lang, style);
    for (const time of root.querySelectorAll("time[data-local]")) {
      const text = format.format(new Date(time.dateTime));
      if (time.firstElementChild.textContent !== text) time.firstElementChild.textContent = text;
    }
  };

  // Read aloud once, however often it is found. `withhold` hides, or shows again, what a notice takes the place of:
  // whoever opens the page now gets that, so nobody is told less here, or asked to pay.
  const troubles = (shown, withhold) => {
    let told = "";
    const say = (...said) => {
      if (said.join() === told) return;
      told = said.join();
      shown.replaceChildren(...said.flatMap((text) => [document.createElement("br"), text]).slice(1));
      shown.hidden = !said.length;
    };
    const over = (notice = null) => {
      const used = withhold(notice !== null);
      say(...[...(notice?.querySelectorAll("h1, h1 + p") ?? [])].map((text) => text.textContent));
      if (used) shown.focus({ preventScroll: true });
    };
    return { over, lost: () => say(shown.dataset.lost) };
  };

  // A request for a document, not text that is parsed: nothing here turns text into markup.
  const ask = (done) => {
    const request = new XMLHttpRequest();
    let came = performance.now();
    request.open("GET", location.href);
    request.responseType = "document";
    request.timeout = 15000;
    request.onreadystatechange = () => { if (request.readyState === request.HEADERS_RECEIVED) came = performance.now(); };
    request.onloadend = () => {
      const fresh = request.status === 200 ? request.response : null;
      done(fresh, request.response?.querySelector("main[data-notice]") ?? null, came);
    };
    request.send();
  };

  const soon = () => 3000 + Math.random() * 3000;

  // The server's time, carried on by a clock that nobody can set: a payer's own may be minutes off. An answer was written
  // between the moments when it was asked for and when it began to come.
  const clock = (() => {
    const apart = () => Date.now() - performance.now();
    let ahead = 0, drift = apart();
    const set = (now, asked, came) => { ahead = Date.parse(now) - (asked + came) / 2; };
    const load = (now) => {
      const [loaded] = performance.getEntriesByType("navigation");
      set(now, loaded?.requestStart ?? 0, loaded?.responseStart ?? performance.now());
      drift = apart();
    };
    const left = (until, at = performance.now()) => Math.floor((Date.parse(until) - ahead - at) / 1000); // seconds
    // A device that slept, or whose clock was set: some stop the other clock meanwhile.
    const jumped = () => {
      const before = drift;
      drift = apart();
      return Math.abs(drift - before) > 3000;
    };
    return { set, load, left, jumped };
  })();

  return { patch, localTimes, troubles, ask, soon, clock };
})();
