(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const PAGE = 50;
  const MANY = 12, LIKELIEST = 8, FEW = 8;
  const SVG = "http://www.w3.org/2000/svg";
  const rows = data.rows.map((row, order) => ({ ...row, order, sure: row.p ? row.p[row.label] : -1 }));
  const scored = rows.some((row) => "gold" in row);

  // Every text is written as text, so that none can be anything else.
  const make = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  };
  const draw = (name, attributes, ...children) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const signed = (value, digits = 2) =>
    value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
  const counted = (value) => value.toLocaleString("en-US");
  const chip = (label) =>
    label === null
      ? make("em", { class: "note" }, "no label")
      : make("span", { class: `chip c${label % 8}`, dir: "auto", title: data.classes[label] }, data.classes[label]);
  const bar = (share, label) =>
    draw("svg", { class: `bar c${label % 8}`, viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      draw("rect", { class: "track", width: 100, height: 8, rx: 1 }),
      draw("rect", { class: "fill", width: 100 * share, height: 8, rx: 1 }));
  const wrong = (row) => "gold" in row && row.label !== null && row.gold !== row.label;
  const text = (row) => data.texts[row.text];
  // What the reader chose instead of a label, by the row's place; nothing leaves the page but by the button.
  const chosen = new Map();

  // --- theme -----------------------------------------------------------------------------------
  const THEMES = ["auto", "light", "dark"];
  const kept = () => { try { return localStorage.getItem("consilience-theme"); } catch { return null; } };
  const dress = (theme) => {
    document.documentElement.dataset.theme = theme;
    at("theme").textContent = `Theme: ${theme}`;
    try { localStorage.setItem("consilience-theme", theme); } catch { /* a page from a file may keep nothing */ }
  };
  dress(THEMES.includes(kept()) ? kept() : "auto");
  at("theme").addEventListener("click", () => {
    dress(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
  });

  // --- the table -------------------------------------------------------------------------------
  const COLUMNS = [
    ["id", "id", (row) => row.id],
    ["words", "text", (row) => text(row)],
    ["label", "label", (row) => (row.label === null ? "" : data.classes[row.label])],
    ["p", "probability", (row) => row.sure],
    ...(scored ? [["gold", "reference", (row) => ("gold" in row ? data.classes[row.gold] : "")]] : []),
  ];
  const state = { sort: null, down: false, page: 0, shown: rows, words: "", label: "", show: "" };
  const order = new Intl.Collator("en", { numeric: true });
  const head = at("table").tHead.rows[0];
  const body = at("table").tBodies[0];
  for (const [name, title] of COLUMNS) {
    head.append(make("th", { scope: "col", class: name, "aria-sort": "none" },
      make("button", { type: "button", "data-column": name, onclick: () => sortBy(name) }, title)));
  }
  data.classes.forEach((name, number) => at("label").append(make("option", { value: number }, name)));
  if (rows.some((row) => row.label === null)) at("label").append(make("option", { value: "none" }, "no label"));
  if (scored) at("show").append(make("option", { value: "wrong" }, "not as the reference"));
  if (rows.some((row) => row.corrected)) at("show").append(make("option", { value: "corrected" }, "corrected"));
  at("show").append(make("option", { value: "chosen" }, "to be corrected"));
  if (rows.some((row) => row.landmark)) at("show").append(make("option", { value: "landmark" }, "landmarks"));

  const haystack = (row) => (row.haystack ??= `${(row.ids ?? [row.id]).join("\n")}\n${text(row)}`.toLowerCase());
  const KEEP = { open: (r) => r.open, decided: (r) => !r.open, wrong, landmark: (r) => Boolean(r.landmark), corrected: (r) => Boolean(r.corrected), chosen: (r) => chosen.has(r.order) };
  function select() {
    const needle = state.words.toLowerCase();
    state.shown = rows.filter((row) =>
      (!needle || haystack(row).includes(needle)) &&
      (state.label === "" || (state.label === "none" ? row.label === null : row.label === Number(state.label))) &&
      (!state.show || KEEP[state.show](row)));
    if (state.sort) {
      const value = COLUMNS.find(([name]) => name === state.sort)[2];
      const sign = state.down ? -1 : 1;
      const compare = (a, b) => (typeof a === "number" ? a - b : order.compare(a, b));
      state.shown.sort((a, b) => sign * compare(value(a), value(b)) || a.order - b.order);
    }
    state.page = 0;
    show();
  }
  function sortBy(name) {
    state.down = state.sort === name ? !state.down : false;
    state.sort = name;
    for (const cell of head.cells) {
      cell.setAttribute("aria-sort", !cell.classList.contains(name) ? "none" : state.down ? "descending" : "ascending");
    }
    select();
  }
  function show() {
    const first = state.page * PAGE;
    const some = state.shown.slice(first, first + PAGE);
    body.replaceChildren(...some.map((row, place) => line(row, first + place)));
    const cut = data.total > rows.length ? ` (the ${counted(rows.length)} most doubtful of ${counted(data.total)})` : "";
    // A text that stands in several rows of the table is one line here.
    const repeated = data.of_rows > data.total;
    const shown = state.shown.reduce((sum, row) => sum + (row.ids?.length ?? 1), 0);
    const words = repeated ? `texts (${counted(shown)} rows)` : "rows";
    at("count").textContent = state.shown.length === rows.length
      ? `${counted(rows.length)} ${words}${cut}` : `${counted(state.shown.length)} of ${counted(rows.length)} ${words}${cut}`;
    at("place").textContent = some.length ? `${counted(first + 1)} to ${counted(first + some.length)}` : "none";
    at("back").disabled = !first;
    at("on").disabled = first + PAGE >= state.shown.length;
  }
  function line(row, place) {
    const flags = [
      row.open ? make("span", { class: "flag" }, " open") : null,
      row.landmark ? make("span", { class: "flag" }, " landmark") : null,
      row.corrected ? make("span", { class: "flag" }, " corrected") : null,
      chosen.has(row.order) ? make("span", { class: "flag chosen", dir: "auto" }, ` → ${chosen.get(row.order)}`) : null,
    ];
    return make("tr", { "data-place": place, onclick: () => open(place) },
      make("td", { class: "id", title: row.id, dir: "auto" }, row.ids ? `${row.id} ×${row.ids.length}` : row.id),
      make("td", { class: "words" }, make("button", { type: "button", dir: "auto" }, text(row).slice(0, 600) || "(an empty text)")),
      make("td", { class: "label" }, chip(row.label), ...flags),
      row.p === null
        ? make("td", { class: "p num" }, "–")
        : make("td", { class: "p num" }, row.sure.toFixed(3), bar(row.sure, row.label)),
      ...(scored ? [make("td", { class: "gold" }, "gold" in row ? chip(row.gold) : null,
        wrong(row) ? make("span", { class: "flag wrong" }, " differs") : null)] : []));
  }
  const turn = (by) => { state.page += by; show(); at("rows").scrollIntoView(); };
  at("back").addEventListener("click", () => turn(-1));
  at("on").addEventListener("click", () => turn(1));
  at("search").addEventListener("input", (event) => { state.words = event.target.value; select(); });
  at("label").addEventListener("change", (event) => { state.label = event.target.value; select(); });
  at("show").addEventListener("change", (event) => { state.show = event.target.value; select(); });
  at("controls").addEventListener("submit", (event) => event.preventDefault());

  // --- corrections -----------------------------------------------------------------------------
  function choose(row, word) {
    if (word === "") chosen.delete(row.order); else chosen.set(row.order, word);
    at("download").hidden = !chosen.size;
    at("download").textContent = `Download ${counted(chosen.size)} correction${chosen.size === 1 ? "" : "s"}`;
    at("give-back").hidden = !chosen.size;
    show();
  }
  function chooser(row) {
    const other = data.classes.filter((name, number) => number !== row.label);
    const words = row.corrected ? [...other, data.take_back] : other;
    const made = make("select", { id: "right", onchange: (event) => choose(row, event.target.value) },
      make("option", { value: "" }, "as it is"), ...words.map((word) => make("option", { value: word }, word)));
    made.value = chosen.get(row.order) ?? "";
    return make("p", { class: "right" }, make("label", { for: "right" }, "The right class: "), made);
  }
  at("download").addEventListener("click", () => {
    const quoted = (cell) => `"${cell.replaceAll('"', '""')}"`;
    const lines = [["id", "correction", data.run_column],
      ...[...chosen].map(([order, word]) => [rows[order].id, word, data.run])];
    const file = new Blob([lines.map((cells) => cells.map(quoted).join(",") + "\r\n").join("")], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(file), download: "corrections.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // --- one row ---------------------------------------------------------------------------------
  const dialog = at("row");
  let opened = null;
  function open(place) {
    const row = state.shown[place];
    if (!row) return;
    opened = place;
    dialog.replaceChildren(sheet(row, place));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    dialog.querySelector("[data-close]").focus();
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    // Only now: while it is open, the rows before and after stay what they are.
    if (state.show === "chosen") select();
    opened = Math.max(0, Math.min(opened, state.shown.length - 1));
    const page = Math.floor(opened / PAGE);
    if (page !== state.page) { state.page = page; show(); }
    body.querySelector(`[data-place="${opened}"] .words button`)?.focus();
  });
  const few = (ids) =>
    ids.slice(0, FEW).join(", ") + (ids.length > FEW ? ` and ${counted(ids.length - FEW)} more` : "");
  function sheet(row, place) {
    const [label, other, odds] = row.odds;
    const step = (by, name, sign) => {
      const button = make("button", { type: "button", "aria-label": name, onclick: () => open(place + by) }, sign);
      button.disabled = !state.shown[place + by];
      return button;
    };
    const facts = [
      `${counted(row.n)} answers speak of it`,
      row.u[0] !== null ? `uncertainty ${row.u[0].toFixed(3)} (more calls help) + ${row.u[1].toFixed(3)} (they do not) nats` : null,
      row.u[2] !== null ? `${Math.round(100 * row.u[2])} % of what pulls comes from other examples` : null,
      row.ids ? `stands in ${counted(row.ids.length)} rows of the table: ${few(row.ids)}` : null,
      row.group ? `group ${row.group}` : null,
    ].filter(Boolean).join("; ");
    return make("div", { class: "sheet" },
      make("header", {},
        make("h2", { id: "row-title", dir: "auto" }, row.id),
        step(-1, "The row before", "←"), step(1, "The row after", "→"),
        make("button", { type: "button", "data-close": "", "aria-label": "Close", onclick: () => dialog.close() }, "✕")),
      make("p", { class: "whole", dir: "auto" }, text(row)),
      row.p === null
        ? make("p", {}, `No label: ${row.why ?? "nothing speaks of it"}.`)
        : make("div", {}, ...probabilities(row.p)),
      chooser(row),
      "gold" in row ? make("p", {}, "Reference: ", chip(row.gold), wrong(row) ? make("span", { class: "flag wrong" }, " differs") : null) : null,
      make("p", { class: "note", dir: "auto" }, `${row.open ? "Open: the two likeliest classes are close. " : ""}${facts}.`),
      make("h3", {}, "Why this label"),
      make("p", { class: "note" }, "Log-odds of ", chip(label), " against ", chip(other),
        `, in nats. The pulls sum to ${signed(odds)}. Open an answer to see its prompt.`,
        data.tempered ? " The probability above is closer to even than they say, because the verdict doubts the labels." : ""),
      waterfall(row, label, other, odds));
  }
  // Of many classes the likeliest, the others folded away.
  function probabilities(p) {
    const table = (classes) =>
      make("div", { class: "probs" }, ...classes.flatMap((k) => [chip(k), bar(p[k], k), make("span", { class: "num" }, p[k].toFixed(3))]));
    const every = p.map((_, k) => k);
    if (p.length <= MANY) return [table(every)];
    every.sort((a, b) => p[b] - p[a]);
    const rest = every.slice(LIKELIEST);
    return [table(every.slice(0, LIKELIEST)),
      make("details", {}, make("summary", {}, `${counted(rest.length)} other classes, ${rest.reduce((sum, k) => sum + p[k], 0).toFixed(3)} together`), table(rest))];
  }
  function waterfall(row, label, other, odds) {
    let sum = 0;
    const spans = row.pulls.map((pull) => { const from = sum; sum += pull[2] ?? 0; return [from, sum]; });
    const ends = [0, odds ?? 0, ...spans.flat()];
    const low = Math.min(...ends), high = Math.max(...ends), width = high - low || 1;
    const x = (value) => (100 * (value - low)) / width;
    const water = ([from, to]) =>
      draw("svg", { class: `water c${(to < from ? other : label) % 8}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        draw("rect", { x: Math.min(x(from), x(to)), y: 1, width: Math.max(Math.abs(x(to) - x(from)), 0.4), height: 8 }),
        draw("line", { x1: x(0), x2: x(0), y1: 0, y2: 10 }));
    const parts = row.pulls.map((pull, number) => {
      const known = pull[2] !== null;
      const cells = [
        make("span", { class: "what", dir: "auto" }, title(pull)),
        known ? water(spans[number]) : make("span", {}),
        make("span", { class: "num", "data-pull": known ? pull[2] : "" }, signed(pull[2])),
      ];
      return pull.length > 3
        ? make("details", { class: "pull", ontoggle: (event) => fill(event.currentTarget, row, pull) }, make("summary", {}, ...cells))
        : make("div", { class: "pull flat" }, ...cells);
    });
    return make("div", { class: "pulls" }, ...parts,
      make("div", { class: "total" }, make("span", { class: "what" }, "sum: log-odds of the label"), water([0, odds ?? 0]),
        make("span", { class: "num", "data-total": odds }, signed(odds))));
  }
  function title(pull) {
    const [kind, what] = [data.words[pull[0]], data.words[pull[1]]];
    if (pull.length > 3) return `${kind}, ${what}, round ${pull[6]}`;
    return kind === "term" || kind === "rest" ? what : `${kind}: ${what}`;
  }
  function fill(details, row, pull) {
    if (!details.open || details.querySelector(".inside")) return;
    const [, , , clean, answered, relevance, , bounded, wording, list] = pull;
    const offset = answered === null ? "" : `answered ${signed(answered)}, offset of the prompt ${signed(answered - clean)} taken off, `;
    details.append(make("div", { class: "inside" },
      make("p", { class: "steps-of" }, `Log-odds: ${offset}leaves ${signed(clean)}; relevance ${relevance.toFixed(2)}${bounded ? "; one label is only bounded" : ""}.`),
      wording === null ? null : prompt(row, wording, list)));
  }
  function prompt(row, wording, list) {
    const { head, after, tail } = data.wordings[wording];
    const shots = data.lists[list];
    const words = (number) => data.quoted[wording]?.[number] ?? data.texts[number];
    const made = make("pre", { class: "prompt", dir: "auto", tabindex: "0" }, head);
    for (let s = 0; s < shots.length; s += 2) made.append(words(shots[s]), make("b", {}, after[shots[s + 1]]));
    made.append(make("mark", {}, words(row.text)), tail);
    return made;
  }

  // --- keys ------------------------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open) {
      // There arrows move what is chosen, scrolled or marked.
      if (event.shiftKey || document.activeElement.closest("select, .prompt")) return;
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by && state.shown[opened + by]) { event.preventDefault(); open(opened + by); }
      return;
    }
    const typing = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); at("search").focus(); return; }
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const buttons = [...body.querySelectorAll(".words button")];
    const here = buttons.indexOf(document.activeElement);
    if (by && (here >= 0 || (document.activeElement === at("search") && by > 0))) {
      event.preventDefault();
      buttons[here < 0 ? 0 : here + by]?.focus();
    }
  });
  show();
})();
