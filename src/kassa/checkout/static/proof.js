// Finds the number that a form asks for (its SHA-256 begins with zeros), a slice of time after the other, and sends it.
"use strict";
(() => {
  const form = document.querySelector("form[data-bits]");
  if (!form) return;
  const { challenge, proof } = form.elements, line = form.querySelector("[data-work]");
  const stop = form.querySelector("[data-stop]"), go = form.querySelector("[type=submit]");
  const SLICE = 30, AT_ONCE = 200;
  let timer = 0, next = 0;

  // FIPS 180-4: the first bits of the roots of the first primes.
  const primes = [];
  for (let one = 2; primes.length < 64; one++) if (primes.every((prime) => one % prime)) primes.push(one);
  const START = primes.slice(0, 8).map((prime) => ((Math.sqrt(prime) % 1) * 2 ** 32) | 0);
  const ROUND = Int32Array.from(primes, (prime) => (Math.cbrt(prime) % 1) * 2 ** 32);
  const block = new Uint8Array(64), words = new DataView(block.buffer), mixed = new Int32Array(64);
  const turned = (word, by) => (word >>> by) | (word << (32 - by));

  // The first 32 bits of the hash of one block.
  const hashed = () => {
    for (let i = 0; i < 16; i++) mixed[i] = words.getInt32(4 * i);
    for (let i = 16; i < 64; i++) {
      const old = mixed[i - 15], late = mixed[i - 2];
      const low = turned(old, 7) ^ turned(old, 18) ^ (old >>> 3), high = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10);
      mixed[i] = (mixed[i - 16] + low + mixed[i - 7] + high) | 0;
    }
    let [a, b, c, d, e, f, g, h] = START;
    for (let i = 0; i < 64; i++) {
      const one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[i] + mixed[i];
      const two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    return (START[0] + a) >>> 0;
  };

  const found = (number) => {
    const text = `${challenge.value}:${number}`; // of 55 signs at most: with its length it fills one block
    block.fill(0);
    for (let i = 0; i < text.length; i++) block[i] = text.charCodeAt(i);
    block[text.length] = 0x80;
    words.setUint32(60, 8 * text.length);
    return hashed() >>> (32 - form.dataset.bits) === 0;
  };

  const look = () => {
    for (const end = performance.now() + SLICE; performance.now() < end;) {
      for (const last = next + AT_ONCE; next < last; next++) {
        if (!found(next)) continue;
        proof.value = next;
        form.submit();
        return;
      }
    }
    timer = setTimeout(look, 0);
  };

  const show = (works) => {
    line.textContent = works ? line.dataset.work : "";
    stop.hidden = !works;
    go.hidden = works;
  };

  const begin = () => { show(true); clearTimeout(timer); timer = setTimeout(look, 0); };

  stop.addEventListener("click", () => { clearTimeout(timer); show(false); go.focus(); });
  form.addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) show(false); });
  begin(); // who sees this page has pressed the button
})();
