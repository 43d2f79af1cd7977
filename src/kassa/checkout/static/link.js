// Keeps the page of a link true while something is awaited: asked again now and then, drawn anew where it changed.
"use strict";
(() => {
  const EVERY = 10000;

  const ask = () => {
    const main = document.querySelector("main"), request = new XMLHttpRequest();
    if (main.dataset.waiting !== "1") return;
    request.open("GET", location.href);
    request.responseType = "document";
    request.timeout = 15000;
    request.onloadend = () => {
      const fresh = request.status === 200 ? request.response?.querySelector("main") : null;
      if (fresh && fresh.innerHTML !== main.innerHTML) {
        main.replaceChildren(...fresh.childNodes);
        document.title = request.response.title;
      }
      if (fresh) main.dataset.waiting = fresh.dataset.waiting;
      setTimeout(ask, EVERY);
    };
    request.send();
  };
  setTimeout(ask, EVERY);
})();
