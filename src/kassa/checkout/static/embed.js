// For the page of a shop: shows a checkout in a dialogue over it. See docs/checkout.md.
"use strict";
(() => {
  const home = new URL(document.currentScript.src).origin;
  const WORDS = {}; // by language, put in by the server: what the frame is called, and the button that closes it
  const PATIENCE = 15000; // milliseconds until a frame that says nothing is taken for one that fails
  const BESIDE = 500; // milliseconds between a page's `ready` and the frame's `load`, at most; either may come first
  const ID = /^inv_[0-9A-Za-z]+$/;
  const code = (tag) => String(tag).split("-")[0].toLowerCase();

  const open = ({ invoice, lang, onReady, onStatus, onError, onClose } = {}) => {
    if (!ID.test(invoice ?? "")) throw new TypeError("Kassa.open needs the id of an invoice");
    const url = new URL(`/i/${invoice}`, home);
    url.searchParams.set("embed", location.origin);
    if (lang) url.searchParams.set("lang", code(lang));
    // As the page in the frame chooses.
    const spoken = [lang, ...navigator.languages].map(code).find((one) => Object.hasOwn(WORDS, one)) ?? "en";

    const dialog = document.createElement("dialog");
    const frame = document.createElement("iframe");
    frame.src = url.href;
    const [name, leave] = WORDS[spoken];
    frame.title = name;
    frame.allow = "clipboard-write";
    dialog.lang = spoken;
    // Not in vh: on phones that is the height without the browser's own bars, and the end would lie beneath them.
    Object.assign(dialog.style, { padding: "0", border: "0", borderRadius: "12px", width: "min(100%, 30rem)", height: "min(100%, 52rem)", maxWidth: "none", maxHeight: "none", overflow: "hidden" });
    Object.assign(frame.style, { display: "block", width: "100%", height: "100%", border: "0" });
    // While the page in the frame has none of its own: one that is refused there, or away, must not lock anybody in.
    const out = document.createElement("button");
    out.type = "button";
    out.textContent = "\u00d7"; // whatever the encoding of the page around it
    out.setAttribute("aria-label", leave);
    Object.assign(out.style, { position: "absolute", top: "8px", insetInlineEnd: "8px", width: "44px", height: "44px", border: "0", borderRadius: "22px", font: "24px/1 sans-serif", background: "#eceff3", color: "#1b2430", cursor: "pointer" });
    dialog.setAttribute("aria-label", frame.title);
    dialog.append(frame, out);

    const close = () => dialog.close();
    out.addEventListener("click", close);
    let told = null; // the status that the shop heard of last
    const tell = (status) => {
      if (told === null) onReady?.(status);
      else if (status !== told) onStatus?.(status);
      told = status;
    };
    let late = 0, bare = 0, ready = -BESIDE;
    const wait = () => { late ||= setTimeout(() => { late = 0; onError?.(); }, PATIENCE); };
    wait();
    // Also that of an error's page, where a payer asked for another language or asset and the request was lost.
    frame.addEventListener("load", () => {
      if (performance.now() - ready < BESIDE) return;
      wait();
      clearTimeout(bare);
      bare = setTimeout(() => dialog.append(out), BESIDE);
    });
    const quiet = () => { clearTimeout(late); clearTimeout(bare); late = 0; };
    const hear = (event) => {
      // From our frame, of our origin, about this invoice: anything else is somebody else's.
      const said = event.data;
      if (event.source !== frame.contentWindow || event.origin !== home) return;
      if (said?.kassa !== 1 || said.invoice !== invoice) return;
      if (said.type === "close") close();
      else if (said.type === "ready" || said.type === "status") {
        // Each load of the page is `ready` anew: also that in another language, or for another asset.
        quiet();
        if (said.type === "ready") ready = performance.now();
        out.remove();
        tell(said.status);
      }
    };
    addEventListener("message", hear);
    dialog.addEventListener("close", () => {
      quiet();
      removeEventListener("message", hear);
      dialog.remove();
      onClose?.();
    });
    document.body.append(dialog);
    dialog.showModal();
    return { close };
  };

  window.Kassa = Object.freeze({ open });
})();
