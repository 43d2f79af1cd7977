"""Texts by which people have taken over pages: each must be shown as what it is, wherever it was entered."""
# ruff: noqa: E501  a text stays on its line

_BREAKS = (
    "",
    '">',
    "'>",
    "</title>",
    "</script>",
    "</textarea></style>",
    "-->",
    "]]>",
    "&quot;&gt;",
    "</svg></noscript>",
)
_MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<details open ontoggle=alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>", "<base href=//evil.example>", "<object data=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>", "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<form action=//evil.example><button>Pay", "<a href=javascript:alert(1)>pay here</a>",
    "<style>*{display:none;background:url(//evil.example)}</style>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
)  # fmt: skip
_ATTRIBUTES = (
    "x onfocus=alert(1) autofocus", "\" onmouseover=alert(1) x=\"", "' autofocus onfocus='alert(1)", "` onload=alert(1) `",
    "\" style=position:fixed;inset:0 \"", "\" formaction=//evil.example \"", "\" srcdoc=<script>alert(1)</script> \"",
    "\"></a><a href=//evil.example>", "x\\\" onerror=alert(1) //", "\" data-words=\"{}",
)  # fmt: skip
_ADDRESSES = (
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "javascript&colon;alert(1)", "//evil.example", "\\\\evil.example",
    "data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)", "https://evil.example/?=\"><script>", "blob:x",
    "bitcoin:bc1qevil?amount=1", "ethereum:0xevil", "https:evil.example@good.example", "///evil.example/..//",
)  # fmt: skip
_DIRECTIONS = (
    "\u202e\u2066 txt.exe", "\u202eEUR 00.1", "\u202dabc\u202e", "\u2067\u2067\u2067 deep", "abc\u2069\u2069\u202e", "\u200f1 < 2",
    "\u061c\u202b(", "שלום \u202e 12.50", "مرحبا 100", "\u2068open",
)  # fmt: skip
_UNSEEN = (
    "a\u200bb\u200bc", "\ufeff<script>", "pa\u00adypal", "\u2060word", "x\u034fy", "\U000e0041\U000e0042", "z\u0301" + "\u0301" * 60,
    "\u3164", "раураl", "a\u180eb", "\ufffe\uffff", "\U0001f3f4\U000e0067\U000e0062",
)  # fmt: skip
_FORMULAS = (
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1+1)", "=HYPERLINK(\"//evil.example\")", "=1+1;\"\"", "%0A=1", "\uff1d1+1",
    "\",=1", "|calc",
)  # fmt: skip
_TEMPLATES = (
    "{{7*7}}", "${7*7}", "{% include '/etc/passwd' %}", "#{7*7}", "<%= 7*7 %>", "{{config}}", "{{''.__class__}}", "{amount}",
    "%(amount)s", "{0.__class__}", "`${alert(1)}`", "[[7*7]]", "{#", "{{", "%s%n%x", "$(id)", "{{constructor.constructor('alert(1)')()}}",
)  # fmt: skip
_SCRIPTS = (
    "'-alert(1)-'", "\\'-alert(1)//", "</ScRiPt><ScRiPt>alert(1)", "<!--<script>", "alert`1`", "\";alert(1)//", "__proto__",
    "constructor", "&#x3c;script&#x3e;", "&lt;b&gt;", "<scr<script>ipt>", "%3Cscript%3E", "\\u003cscript\\u003e", "<x/onclick=1>",
)  # fmt: skip
_HEADERS = (
    "x%0d%0aset-cookie: a=b", "x\\r\\nlocation: //evil.example", "Subject: x%0ABcc: a@evil.example", "é\u00ff\u0100", "a; path=/; b",
    "\"; filename=\"x.exe", "x, y", "=?utf-8?q?=0d=0a?=", "../../../etc/passwd", "..%2f..%2f", "' or 1=1--", "'; drop table invoices",
    "x" * 190,
)  # fmt: skip

HOSTILE = (
    *(escape + markup for escape in _BREAKS for markup in _MARKUP),
    *_ATTRIBUTES, *_ADDRESSES, *_DIRECTIONS, *_UNSEEN, *_FORMULAS, *_TEMPLATES, *_SCRIPTS, *_HEADERS,
)  # fmt: skip
REFUSED = ("a\r\nset-cookie: b=c", "a\nb", "a\x00b", "a\u2028b", "\x1b[2J", "a\x85b")
"""What no field of one line takes: it would end a header, a line of a file, or a row of a log."""


def packed(most: int) -> list[str]:
    """Return all of the texts in as few of at most so many characters as their order allows."""
    found = [""]
    for text in HOSTILE:
        joined = f"{found[-1]} \N{BULLET} {text}" if found[-1] else text
        if len(joined) <= most:
            found[-1] = joined
        else:
            found.append(text)
    return found


CHECK = r"""
() => {
  const here = location.protocol === "about:" ? "http://here.invalid" : location.href;
  const own = (url) => !url || new URL(url, here).hostname === new URL(here).hostname || url.startsWith("https://shop.example");
  const pays = (url) => /^(bitcoin|ethereum):/.test(url);
  const wrong = [];
  for (const one of document.querySelectorAll("*")) {
    if (/^(iframe|object|embed|base|math|template|frame)$/i.test(one.tagName)) wrong.push(`there is <${one.tagName}>`);
    if (/^(script|style)$/i.test(one.tagName) && !one.src) wrong.push(`inline <${one.tagName}>`);
    for (const { name, value } of one.attributes) {
      if (name.startsWith("on") || name === "style" || name === "srcdoc") wrong.push(`${name}="${value}"`);
      if (/^(href|src|action|formaction|data|poster)$/.test(name) && !own(value) && !pays(value)) wrong.push(`${name}="${value}"`);
    }
  }
  // What turns the direction of text must not reach what stands beside it.
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text.data)) continue;
    let at = text.parentElement, alone = false;
    while (at && getComputedStyle(at).display === "inline" && !alone) {
      alone = getComputedStyle(at).unicodeBidi !== "normal";
      at = at.parentElement;
    }
    if (alone || /^(OPTION|TEXTAREA|PRE)$/.test(at.tagName)) continue;
    if (at.textContent.trim() !== text.data.trim()) wrong.push(`turned: <${at.tagName} class="${at.className}"> ${at.textContent.trim().slice(0, 60)}`);
  }
  return [...new Set(wrong)];
}
"""
"""What is wrong with a page on which hostile texts are shown, as a function for the browser."""
