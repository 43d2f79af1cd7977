// Wallets in the payer's browser: found by EIP-6963, asked by EIP-1193 to be on the right network and to send what is due.
(() => {
  const MOST = 8, LONGEST = 40, OLD = Symbol("without EIP-6963"), found = new Map();
  const NOTE = "kassa-sent-", KEPT = 24 * 3600 * 1000; // a day
  const ASKS = "asks-", RENEW = 1000, STALE = 65000; // a tab that is hidden for long gets its turn once a minute
  const LOOK_EVERY = 3000, USED_LOOKS = 20, GONE_LOOKS = 100; // one minute, and five
  const PATIENCE = 60000; // then a payer is asked whether the wallet does anything at all
  // No request to a wallet can be taken back: only its payer knows whether it still waits there.
  const again = document.createElement("button");
  again.type = "button";
  again.onclick = () => asking?.leave();
  // `told` is the request that the line under the buttons is about, `asking` the attempt that a wallet has not answered.
  let redraw = () => {}, asking = null, followed = false, paid = null, told = null;

  // What was sent, and by which transaction, is known to every tab of the browser: none asks for a second payment.
  const keep = (name, note) => {
    try {
      if (note) localStorage.setItem(NOTE + name, JSON.stringify(note));
      else localStorage.removeItem(NOTE + name);
    } catch { /* this browser keeps nothing for us */ }
  };
  const remember = (invoice, sent) => {
    paid = sent;
    keep(invoice, sent);
  };
  const remembered = (invoice) => {
    try {
      const note = JSON.parse(localStorage.getItem(NOTE + invoice));
      return Math.abs(Date.now() - note.at) < KEPT ? note : null;
    } catch { return null; }
  };
  const forgetOld = () => {
    try {
      for (const key of Object.keys(localStorage))
        if (key.startsWith(NOTE) && !remembered(key.slice(NOTE.length))) localStorage.removeItem(key);
    } catch { /* nothing is kept */ }
  };

  // Do it unless another tab is at it: null then. Where tabs cannot know of each other, it is done all the same.
  const alone = async (invoice, work) => {
    let answered = false;
    const answer = (lock) => { answered = true; return lock && work(); };
    try {
      return await navigator.locks.request(NOTE + invoice, { ifAvailable: true }, answer);
    } catch (fault) {
      if (answered) throw fault;
      return byNote(ASKS + invoice, work);
    }
  };

  // Pages that came by plain HTTP have no locks: there a note says that a tab is at it, as long as that tab renews it.
  const byNote = async (name, work) => {
    if (Math.abs(Date.now() - remembered(name)?.at) < STALE) return null;
    const renew = () => keep(name, { at: Date.now() }), leave = () => keep(name, null);
    renew();
    const renewing = setInterval(renew, RENEW);
    window.addEventListener("pagehide", leave);
    try {
      return await work();
    } finally {
      clearInterval(renewing);
      window.removeEventListener("pagehide", leave);
      leave();
    }
  };

  // What the page asks a wallet for at this moment; null where nobody is asked to pay by one.
  const shownNow = () => {
    const place = document.querySelector("[data-wallets]");
    return place === null || place.closest("[hidden]") ? null : place.dataset.wallets;
  };
  window.addEventListener("storage", ({ key }) => {
    const { invoice } = document.querySelector("main").dataset;
    if (key !== NOTE + invoice) return;
    // A note taken away opens nothing here: this page may not show yet what that one does.
    paid = remembered(invoice) ?? paid;
    redraw();
  });

  const announce = (name, provider, key) => {
    if (found.size >= MOST || found.has(key) || typeof provider?.request !== "function") return;
    const button = document.createElement("button");
    button.type = "button";
    found.set(key, { name: (typeof name === "string" && name.trim().slice(0, LONGEST)) || "?", provider, button });
    redraw();
  };

  window.addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = event.detail ?? {};
    if (typeof info?.uuid !== "string" || !info.uuid || typeof provider?.request !== "function") return;
    // What was found without a name is one of those that have one.
    const old = found.get(OLD)?.button, used = old !== undefined && old === document.activeElement;
    old?.remove();
    found.delete(OLD);
    announce(info.name, provider, info.uuid);
    if (used) found.get(info.uuid)?.button.focus();
  });

  const isOn = async (provider, { chainId }) =>
    BigInt(await provider.request({ method: "eth_chainId" })) === BigInt(chainId);

  const onNetwork = async (provider, chain) => {
    if (await isOn(provider, chain)) return true;
    const change = { method: "wallet_switchEthereumChain", params: [{ chainId: chain.chainId }] };
    try {
      await provider.request(change);
    } catch (fault) {
      if (fault?.code === 4001) throw fault;
      if (chain.rpcUrls.length === 0) return false;
      const { blockExplorerUrls, ...known } = chain;
      const added = blockExplorerUrls.length ? chain : known;
      await provider.request({ method: "wallet_addEthereumChain", params: [added] });
      if (!(await isOn(provider, chain))) await provider.request(change);
    }
    return isOn(provider, chain);
  };

  const pay = async (provider, invoice, shown, attempt, say, words) => {
    const { chain, transaction } = JSON.parse(shown);
    const [from] = await provider.request({ method: "eth_requestAccounts" });
    if (attempt.left) return "";
    if (!(await onNetwork(provider, chain))) return words.wrong_network;
    // Another tab may have sent it since, or an attempt that was left and answered late.
    paid ??= remembered(invoice);
    if (paid) return words.sent;
    if (attempt.left) return "";
    // A wallet may have asked its user for minutes.
    if (shownNow() !== shown) return words.changed;
    attempt.wanted = { from, ...transaction };
    const params = [{ from, chainId: chain.chainId, ...transaction }];
    const hash = await provider.request({ method: "eth_sendTransaction", params });
    if (!hash) return words.wrong_network;
    if (attempt.own) return "";
    remember(invoice, { shown, hash: String(hash), at: Date.now() });
    if (attempt.left && asking) say(words.twice);
    redraw();
    return words.sent;
  };

  // Tell whether a transaction is the one that a wallet was asked for: any other came from elsewhere.
  const isWanted = async (provider, { from, to, value, data = "0x" }, hash) => {
    try {
      const known = await provider.request({ method: "eth_getTransactionByHash", params: [hash] });
      const [here, there] = [[from, to, data], [known.from, known.to, known.input]].map(String);
      return here.toLowerCase() === there.toLowerCase() && BigInt(known.value) === BigInt(value);
    } catch { return false; }
  };

  const another = (provider) => {
    const all = [...found.values()].map((one) => one.provider);
    return all[(all.indexOf(provider) + 1) % all.length];
  };

  // Tell what became of a transaction: it failed in its block ("undone"), or the network knows it no more ("gone"); null
  // where it was done, or another way told. One answer proves little, for a wallet's node may lag behind others.
  const fate = async (wallet, invoice, { shown, hash }) => {
    let provider = wallet;
    const ask = (method, ...params) => provider.request({ method, params });
    const { chain } = JSON.parse(shown);
    let missing = 0;
    for (;;) {
      await new Promise((resume) => setTimeout(resume, LOOK_EVERY));
      if (paid?.hash !== hash) return null;
      try {
        const receipt = await ask("eth_getTransactionReceipt", hash);
        if (receipt) return BigInt(receipt.status) === 0n ? "undone" : null;
        const known = await ask("eth_getTransactionByHash", hash);
        if (paid?.hash !== hash) return null;
        if (known?.nonce && !paid.nonce) remember(invoice, { ...paid, from: known.from, nonce: known.nonce });
        // A node of another network knows nothing of it, and proves nothing: another wallet may be on the right one.
        if (!(await isOn(provider, chain))) { missing = 0; provider = another(provider); continue; }
        // Some nodes go on showing what was cancelled: its place was taken by another transaction of the same sender.
        const used = paid.nonce && BigInt(await ask("eth_getTransactionCount", paid.from, "latest")) > BigInt(paid.nonce);
        missing = known && !used ? 0 : missing + 1;
        if (missing >= (used ? USED_LOOKS : GONE_LOOKS)) return "gone";
      } catch { missing = 0; provider = another(provider); }
    }
  };

  window.kassaWallets = (main, words) => {
    const { invoice } = main.dataset;
    again.textContent = words.again;
    forgetOld();
    paid ??= remembered(invoice);
    const listed = () => [...main.querySelectorAll(".payments .tx bdi")].map((one) => one.textContent);
    // By its own name, or because nothing is asked for any more: what was paid before, or is to be paid otherwise, is another.
    const isShown = () => {
      const list = main.querySelector(".payments");
      if (!list) return false;
      return listed().includes(paid.hash.toLowerCase()) || !main.querySelector(".way, .ways");
    };

    redraw = () => {
      const place = main.querySelector("[data-wallets]");
      // The network has shown it: should it disappear there, it may be sent again.
      if (paid && isShown()) remember(invoice, null);
      if (paid && !asking) say(words.sent, paid.hash);
      else if (asking && !paid) say(asking.shown === shownNow() ? asking.words : words.changed, null);
      else if (told !== null && told !== shownNow() && !asking) say("", null);
      if (asking) findOwn(asking);
      if (!place) return;
      // The same buttons as long as the page lives: whoever is on one stays there, however often the page is drawn.
      for (const { name, provider, button } of found.values()) {
        // Until the network shows what was sent, a second click would pay twice, in whatever asset.
        const off = asking !== null || paid !== null;
        button.setAttribute("aria-disabled", String(off));
        button.onclick = () => { if (button.getAttribute("aria-disabled") === "false") start(provider, place); };
        if (button.parentElement === place) continue;
        const [before, after] = words.pay_with.split("{wallet}"), called = document.createElement("bdi");
        called.textContent = name;
        button.replaceChildren(before, called, after);
        place.append(button);
      }
      if (asking?.slow) place.append(again);
      else again.remove();
      // Loaded again: any wallet that is on the network knows what became of it.
      if (paid && !followed && !asking && found.size) follow([...found.values()][0].provider);
    };

    const say = (text, about) => {
      const line = main.querySelector("[data-said]");
      told = about;
      if (line && line.textContent !== text) line.textContent = text;
    };

    // What a wallet that never answered has sent all the same.
    const findOwn = async (attempt) => {
      if (!attempt.wanted) return;
      for (const hash of listed()) {
        if (attempt.before.includes(hash) || !(await isWanted(attempt.provider, attempt.wanted, hash))) continue;
        attempt.own = true;
        attempt.leave();
      }
    };

    const start = async (provider, place) => {
      // What is asked for is what the page shows at this moment.
      const shown = place.dataset.wallets, before = listed();
      const attempt = { provider, shown, before, words: words.confirm, slow: false, left: false, own: false };
      const leaving = new Promise((leave) => { attempt.leave = () => { attempt.left = true; leave(""); }; });
      const slow = setTimeout(() => {
        attempt.slow = true;
        attempt.words = words.slow;
        redraw();
      }, PATIENCE);
      asking = attempt;
      redraw();
      let outcome;
      try {
        const asked = () => pay(provider, invoice, shown, attempt, (text) => say(text, shown), words);
        const work = () => Promise.race([asked(), leaving]);
        outcome = (await alone(invoice, work)) ?? words.confirm; // in the other tab's wallet
      } catch (fault) {
        outcome = fault?.code === 4001 ? words.declined : words.failed;
      }
      clearTimeout(slow);
      const used = again === document.activeElement;
      say(outcome, outcome === words.changed ? shownNow() : shown);
      asking = null;
      if (outcome === words.sent && !followed) follow(provider);
      redraw();
      if (used) [...found.values()].find((one) => one.provider === provider)?.button.focus();
    };

    const follow = async (provider) => {
      const sent = paid;
      followed = true;
      const became = await fate(provider, invoice, sent);
      if (became && paid?.hash === sent.hash) {
        remember(invoice, null);
        say(words[became], main.querySelector("[data-wallets]")?.dataset.wallets ?? null);
      }
      followed = paid?.hash === sent.hash;
      redraw();
    };

    redraw();
    window.dispatchEvent(new Event("eip6963:requestProvider"));
    // Wallets older than EIP-6963 tell nobody that they are there.
    setTimeout(() => { if (found.size === 0) announce(words.some_wallet, window.ethereum, OLD); }, 300);
  };
})();
