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

  return { patch, localTimes };
})();
