// Wallets in the payer's browser: found by EIP-6963, asked by EIP-1193 to be on the right network and to send what is due.
(() => {
  const MOST = 8, found = new Map();
  // `told` is the request that the line under the buttons is about.
  let redraw = () => {}, sending = false, paid = null, told = null;

  // What was sent is remembered as long as the tab is: a page that is loaded again asks for no second payment.
  const remember = (invoice, sent) => {
    paid = sent;
    try {
      if (sent) sessionStorage.setItem(`kassa-sent-${invoice}`, sent);
      else sessionStorage.removeItem(`kassa-sent-${invoice}`);
    } catch { /* this browser keeps nothing for us */ }
  };
  const remembered = (invoice) => {
    try { return sessionStorage.getItem(`kassa-sent-${invoice}`); } catch { return null; }
  };

  const announce = (name, provider, key) => {
    if (found.size < MOST && !found.has(key) && typeof provider?.request === "function") {
      const button = document.createElement("button");
      button.type = "button";
      found.set(key, { name: String(name).slice(0, 40), provider, button });
      redraw();
    }
  };

  window.addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = event.detail ?? {};
    if (info?.uuid) announce(info.name || "?", provider, String(info.uuid));
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
    if (!(await onNetwork(provider, request.chain))) return words.wrong_network;
    const transaction = { from, chainId: request.chain.chainId, ...request.transaction };
    await provider.request({ method: "eth_sendTransaction", params: [transaction] });
    return words.sent;
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
        const off = sending || place.dataset.wallets === paid;
        button.setAttribute("aria-disabled", String(off));
        button.onclick = () => { if (button.getAttribute("aria-disabled") === "false") start(provider, place); };
        if (button.parentElement === place) continue;
        button.textContent = words.pay_with.replace("{wallet}", () => name);
        place.append(button);
      }
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
      let outcome;
      try {
        outcome = await pay(provider, request, (text) => say(text, shown), words);
      } catch (fault) {
        outcome = fault?.code === 4001 ? words.declined : words.failed;
      }
      say(outcome, shown);
      sending = false;
      if (outcome === words.sent) remember(main.dataset.invoice, shown);
      redraw();
    };

    redraw();
    window.dispatchEvent(new Event("eip6963:requestProvider"));
    // Wallets older than EIP-6963 tell nobody that they are there.
    setTimeout(() => { if (found.size === 0) announce(words.some_wallet, window.ethereum, "ethereum"); }, 300);
  };
})();
