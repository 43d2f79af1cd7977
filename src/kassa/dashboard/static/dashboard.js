// Passkeys (WebAuthn Level 2): asks the server what to sign, lets the authenticator sign it, sends the form. Files: puts a
// chosen one into the field of a form, in base64. Times: writes them by the reader's own clock, instead of UTC.
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
    const answer = await fetch(form.dataset.ask, { method: "POST", body });
    if (!answer.ok || answer.redirected) throw new Error("The server refused. Load the page again.");
    const publicKey = read(await answer.json());
    const credential = form.dataset.kind === "create"
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
    form.elements.credential.value = write(credential);
    form.submit();
  };

  for (const form of document.querySelectorAll("form.passkey")) {
    if (!window.PublicKeyCredential) continue;
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fault = form.querySelector("[role=alert]");
      fault.hidden = true;
      use(form).catch((error) => {
        fault.textContent = error.name === "NotAllowedError" ? "No passkey was used." : error.message;
        fault.hidden = false;
      });
    });
  }

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

  const two = (number) => String(number).padStart(2, "0");
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    time.textContent = `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
  }
  for (const zone of document.querySelectorAll("[data-zone]"))
    zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "your own clock's";
})();
