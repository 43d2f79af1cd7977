// Passkeys (WebAuthn Level 2): asks the server what to sign, lets the authenticator sign it, sends the form. Files: puts a
// chosen one into the field of a form, in base64. Times: writes them by the reader's own clock, instead of UTC. Copies texts.
// Keeps live pages true. Sends a form once, however often it is pressed.
"use strict";
(() => {
  const bytes = (text) => {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  };
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const read = (options) => {
    options.challenge = bytes(options.challenge);
    if (options.user) options.user.id = bytes(options.user.id);
    for (const list of [options.allowCredentials, options.excludeCredentials])
      for (const one of list || []) one.id = bytes(one.id);
    return options;
  };
  const write = (credential) => {
    const { response } = credential;
    const told = {};
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
      if (response[part]) told[part] = text(response[part]);
    return JSON.stringify({
      id: credential.id, rawId: text(credential.rawId), type: credential.type, response: told,
      clientExtensionResults: credential.getClientExtensionResults(),
    });
  };

  const use = async (form) => {
    const body = new URLSearchParams({ csrf: form.elements.csrf.value });
    const asked = { method: "POST", body, signal: AbortSignal.timeout(HELD) };
    const answer = await fetch(form.dataset.ask, asked).catch(() => { throw new Error("No answer came. Try again."); });
    if (!answer.ok || answer.redirected) throw new Error("The server refused. Load the page again.");
    const publicKey = read(await answer.json());
    const credential = form.dataset.kind === "create"
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
    form.querySelector("[data-credential]").value = write(credential);
    hold(form);
    form.submit();
  };

  // What browsers say of their own refusals is written for programmers.
  const REFUSALS = { NotAllowedError: "No passkey was used.", InvalidStateError: "This device has a passkey of yours already." };
  for (const form of document.querySelectorAll("form.passkey")) {
    if (!window.PublicKeyCredential) continue;
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // Browsers refuse a second request while one is open, and each question makes the one before void.
      if (held.has(form)) return;
      const fault = form.querySelector("[role=alert]");
      fault.hidden = true;
      held.set(form, 0);
      pressable(form, false);
      use(form).catch((error) => {
        release(form);
        fault.textContent = REFUSALS[error.name] ?? error.message;
        fault.hidden = false;
      });
    });
  }

  // Sent again, a form would be carried out once, but the browser would show the second answer: that it was done already.
  const HELD = 15000;
  const held = new Map(); // until when, as a timer, by form
  const pressable = (form, can) => {
    for (const button of form.querySelectorAll("button"))
      if (can) button.removeAttribute("aria-disabled");
      else button.setAttribute("aria-disabled", "true");
  };
  const hold = (form) => {
    held.set(form, setTimeout(release, HELD, form));
    pressable(form, false);
  };
  const release = (form) => {
    clearTimeout(held.get(form));
    held.delete(form);
    pressable(form, true);
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.getAttribute("method") !== "post") return;
    if (held.has(form)) {
      event.preventDefault();
      return;
    }
    hold(form);
  });
  addEventListener("pageshow", () => { for (const form of [...held.keys()]) release(form); }); // as by "back"

  for (const chooser of document.querySelectorAll("input[type=file][data-into]")) {
    chooser.addEventListener("change", () => {
      const [file] = chooser.files;
      const into = chooser.form.elements[chooser.dataset.into];
      into.value = "";
      const tooLarge = file && file.size > Number(chooser.dataset.most);
      chooser.setCustomValidity(tooLarge ? "This file is too large." : "");
      if (!file || tooLarge) return;
      const reader = new FileReader();
      reader.addEventListener("load", () => { into.value = reader.result.split(",")[1] || ""; });
      reader.readAsDataURL(file);
    });
  }

  // What only a script can do is shown where one runs.
  const two = (number) => String(number).padStart(2, "0");
  const written = (at) => {
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
  };
  const enhance = (page) => {
    for (const time of page.querySelectorAll("time")) time.textContent = written(new Date(time.dateTime));
    for (const zone of page.querySelectorAll("[data-zone]"))
      zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "your own clock's";
    for (const button of page.querySelectorAll("[data-copy]")) button.hidden = false;
  };
  enhance(document);

  const said = document.getElementById("said");
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    const from = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(from.textContent);
    } catch {
      getSelection().selectAllChildren(from);
      if (!document.execCommand("copy")) return; // it is selected, to be copied by hand
    }
    button.firstChild.data = "Copied";
    said.textContent = "Copied";
    setTimeout(() => { button.firstChild.data = "Copy"; said.textContent = ""; }, 2000);
  });

  // Live pages: asked for again while somebody can see them, and changed only where they differ, so that focus, scroll,
  // what is open and what was typed stay.
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const EVERY = 5000, LONGEST = 60000, TRUE_FOR = 20000;

  // What would be something else under another of these is another thing: focus never slips from one to the other.
  const key = (node) => node.nodeType !== Node.ELEMENT_NODE ? "" :
    [node.dataset.key, node.id, ...["aria-labelledby", "href", "action"].map((name) => node.getAttribute(name))].join();
  const keyed = (node) => /[^,]/.test(key(node));
  const changed = (field) => field.options
    ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected))
    : field.matches("input, textarea") && (field.value !== field.defaultValue || field.checked !== field.defaultChecked);
  const inUse = (form) => [...form.elements].some((field) =>
    changed(field) || field === document.activeElement && field.matches("input, select, textarea"));
  const like = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);
  const become = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.isEqualNode(fresh) || old.nodeName === "FORM" && inUse(old)) return;
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    merge(old, fresh);
  };
  const merge = (old, fresh) => {
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      // A row that is there further down: what stood before it is gone.
      let found = at;
      while (found && !like(found, wanted)) found = keyed(wanted) ? found.nextSibling : null;
      if (!found) {
        old.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      while (at !== found) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      become(found, wanted);
      at = found.nextSibling;
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  // Not what the page itself did not say: it was led here from elsewhere.
  const here = new URL(location.href);
  if (!document.getElementById("done")) here.searchParams.delete("done");

  let tag = "", pause = EVERY, timer = 0, asking = false;
  const again = async () => {
    const answer = await fetch(here, {
      headers: { "kassa-again": "1", "if-none-match": tag }, cache: "no-store", redirect: "manual",
      signal: AbortSignal.timeout(30000),
    });
    if (answer.type === "opaqueredirect" || [403, 404].includes(answer.status)) return false;
    if (answer.status !== 304 && !answer.ok) throw new Error("not now");
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      enhance(page);
      const had = main.contains(document.activeElement);
      merge(main, page.querySelector("main"));
      if (had && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
      document.title = page.title;
      tag = answer.headers.get("etag") || "";
    }
    return true;
  };
  // What was not answered for a while may be true no more, whether it was refused or nothing came at all.
  const [stale, away] = ["stale", "away"].map((id) => document.getElementById(id));
  // They lie over the end of what is seen: what gets the focus stays above.
  const show = (notice, is) => {
    notice.hidden = !is;
    document.documentElement.style.scrollPaddingBottom = is ? `${notice.offsetHeight}px` : "";
  };
  let answered = Date.now(), doubt = 0;
  const missed = () => {
    away.querySelector("span").textContent = written(new Date(answered));
    show(away, true);
  };
  const sure = () => {
    clearTimeout(doubt);
    doubt = 0;
  };
  const turn = async () => {
    clearTimeout(timer);
    if (document.hidden) sure();
    if (asking || document.hidden) return;
    asking = true;
    doubt ||= setTimeout(missed, Math.max(EVERY, answered + TRUE_FOR - Date.now()));
    try {
      const isThere = await again();
      sure();
      show(away, false);
      answered = Date.now();
      if (!isThere) {
        show(stale, true);
        return;
      }
      pause = EVERY;
    } catch {
      pause = Math.min(2 * pause, LONGEST);
    } finally {
      asking = false;
    }
    timer = setTimeout(turn, pause);
  };
  document.addEventListener("visibilitychange", turn);
  timer = setTimeout(turn, pause);
})();
