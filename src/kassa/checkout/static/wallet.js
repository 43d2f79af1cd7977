// Wallets in the payer's browser: found by EIP-6963, asked by EIP-1193 to be on the right network and to send what is due.
(() => {
  const MOST = 8, LONGEST = 40, LOOK_EVERY = 3000, OLD = Symbol("without EIP-6963"), found = new Map();
  // `told` is the request that the line under the buttons is about.
  let redraw = () => {}, sending = false, followed = false, paid = null, told = null;

  // What was sent, and by which transaction, is remembered as long as the tab is: a page that is loaded again asks for no
  // second payment.
  const remember = (invoice, sent) => {
    paid = sent;
    try {
      if (sent) sessionStorage.setItem(`kassa-sent-${invoice}`, JSON.stringify(sent));
      else sessionStorage.removeItem(`kassa-sent-${invoice}`);
    } catch { /* this browser keeps nothing for us */ }
  };
  const remembered = (invoice) => {
    try { return JSON.parse(sessionStorage.getItem(`kassa-sent-${invoice}`)); } catch { return null; }
  };

  const announce = (name, provider, key) => {
    if (found.size >= MOST || found.has(key) || typeof provider?.request !== "function") return;
    const button = document.createElement("button");
    button.type = "button";
    found.set(key, { name: (typeof name === "string" && name.trim().slice(0, LONGEST)) || "?", provider, button });
    redraw();
  };

  window.addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = event.detail ?? {};
    if (typeof info?.uuid !== "string" || !info.uuid) return;
    // What was found without a name is one of those that have one.
    found.get(OLD)?.button.remove();
    found.delete(OLD);
    announce(info.name, provider, info.uuid);
  });

  const onNetwork = async (provider, chain) => {
    const there = async () => BigInt(await provider.request({ method: "eth_chainId" })) === BigInt(chain.chainId);
    if (await there()) return true;
    const change = { method: "wallet_switchEthereumChain", params: [{ chainId: chain.chainId }] };
    try {
      await provider.request(change);
    } catch (fault) {
      if (fault?.code === 4001) throw fault;
      if (chain.rpcUrls.length === 0) return false;
      const { blockExplorerUrls, ...known } = chain;
      const added = blockExplorerUrls.length ? chain : known;
      await provider.request({ method: "wallet_addEthereumChain", params: [added] });
      if (!(await there())) await provider.request(change);
    }
    return there();
  };

  const pay = async (provider, request, say, words) => {
    const [from] = await provider.request({ method: "eth_requestAccounts" });
    say(words.confirm);
    if (!(await onNetwork(provider, request.chain))) return null;
    const transaction = { from, chainId: request.chain.chainId, ...request.transaction };
    return provider.request({ method: "eth_sendTransaction", params: [transaction] });
  };

  // Tell whether a transaction failed in its block; false also when it will not be known.
  const failed = async (provider, hash) => {
    for (;;) {
      await new Promise((resume) => setTimeout(resume, LOOK_EVERY));
      if (paid?.hash !== hash) return false;
      try {
        const receipt = await provider.request({ method: "eth_getTransactionReceipt", params: [hash] });
        if (receipt) return BigInt(receipt.status) === 0n;
      } catch { return false; }
    }
  };

  window.kassaWallets = (main, words) => {
    paid ??= remembered(main.dataset.invoice);
    redraw = () => {
      const place = main.querySelector("[data-wallets]");
      if (!place) {
        // The network has shown it: should it disappear there, it may be sent again.
        if (paid && main.querySelector(".payments")) remember(main.dataset.invoice, null);
        return;
      }
      if (told !== null && told !== place.dataset.wallets && !sending) say("", null);
      // The same buttons as long as the page lives: whoever is on one stays there, however often the page is drawn.
      for (const { name, provider, button } of found.values()) {
        // Until the network shows what was sent, a second click would pay it twice.
        const off = sending || place.dataset.wallets === paid?.shown;
        button.setAttribute("aria-disabled", String(off));
        button.onclick = () => { if (button.getAttribute("aria-disabled") === "false") start(provider, place); };
        if (button.parentElement === place) continue;
        const [before, after] = words.pay_with.split("{wallet}"), called = document.createElement("bdi");
        called.textContent = name;
        button.replaceChildren(before, called, after);
        place.append(button);
      }
      // Loaded again: any wallet that is on the network knows what became of it.
      if (paid && !followed && !sending && found.size) follow([...found.values()][0].provider);
    };

    const say = (text, about) => {
      const line = main.querySelector("[data-said]");
      told = about;
      if (line && line.textContent !== text) line.textContent = text;
    };

    const start = async (provider, place) => {
      // What is asked for is what the page shows at this moment.
      const shown = place.dataset.wallets, request = JSON.parse(shown);
      sending = true;
      redraw();
      let outcome = words.wrong_network;
      try {
        const hash = await pay(provider, request, (text) => say(text, shown), words);
        if (hash) {
          outcome = words.sent;
          remember(main.dataset.invoice, { shown, hash });
        }
      } catch (fault) {
        outcome = fault?.code === 4001 ? words.declined : words.failed;
      }
      say(outcome, shown);
      sending = false;
      if (outcome === words.sent) follow(provider);
      redraw();
    };

    const follow = async (provider) => {
      const { shown, hash } = paid;
      followed = true;
      if (await failed(provider, hash)) {
        remember(main.dataset.invoice, null);
        say(words.undone, shown);
      }
      followed = paid?.hash === hash;
      redraw();
    };

    redraw();
    window.dispatchEvent(new Event("eip6963:requestProvider"));
    // Wallets older than EIP-6963 tell nobody that they are there.
    setTimeout(() => { if (found.size === 0) announce(words.some_wallet, window.ethereum, OLD); }, 300);
  };
})();
