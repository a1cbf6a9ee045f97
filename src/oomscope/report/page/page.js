"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const scheme = document.getElementById("scheme");
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const number = (value) => value.toLocaleString("en-US");
  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    for (; Math.round(bytes * 10) / 10 >= 1024 && unit < units.length - 1; unit += 1) bytes /= 1024;
    return `${bytes.toFixed(unit ? 1 : 0)} ${units[unit]}`;
  };
  const palette = ["#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#edc948", "#76b7b2", "#ff9da7", "#9c755f", "#e15759", "#499894", "#8cd17d", "#79706e"];
  const config = { displaylogo: false, responsive: true, displayModeBar: false };
  // Plotly reads some text as HTML of its own: names from the input must stay text.
  const text = (name) => String(name).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (name) => (name.length > 120 ? name.slice(0, 117) + "..." : name);
  const layout = (more) => ({
    paper_bgcolor: colour("--paper"), plot_bgcolor: colour("--paper"), font: { color: colour("--ink"), size: 13 },
    margin: { t: 10, l: 10, r: 10, b: 10 }, ...more,
  });

  function balance() {
    const ids = ["RAM"], labels = ["RAM"], parents = [""], values = [data.balance.ram], colours = [colour("--card")];
    data.balance.rows.forEach((row, i) => {
      const own = row.mark === "unexplained" ? colour("--mark") : row.mark === "free" ? colour("--muted-frame") : palette[i % palette.length];
      ids.push(`${i}`); labels.push(text(row.kind)); parents.push("RAM"); values.push(row.pages); colours.push(own);
      row.parts.forEach((part, j) => {
        ids.push(`${i}/${j}`); labels.push(text(short(part.name))); parents.push(`${i}`); values.push(part.pages); colours.push(own);
      });
    });
    Plotly.react("balance", [{
      type: "treemap", ids, labels, parents, values, branchvalues: "total", sort: true, marker: { colors: colours },
      customdata: values.map((pages) => (data.balance.page_bytes ? size(pages * data.balance.page_bytes) : `${number(pages)} pages`)),
      texttemplate: "%{label}<br>%{customdata}<br>%{percentRoot:.1%}", hovertemplate: "%{label}: %{customdata} (%{value:,} pages), %{percentRoot:.2%} of RAM<extra></extra>",
      tiling: { packing: "squarify" }, pathbar: { visible: true },
    }], layout(), config);
  }

  const flame = { matches: [], next: 0 };
  function frameColours(tree, found) {
    const differs = view() === "grown" || view() === "shrunk";
    // The deeper the colour, the greater the share of all that has changed in the same direction.
    const most = tree.changes && Math.max(1, ...tree.changes.map(Math.abs));
    const modules = [...new Set(tree.modules.filter((m) => m !== null))].sort();
    return tree.names.map((name, i) => {
      if (found && !found.has(i)) return colour("--muted-frame");
      if (tree.changes) {
        const change = tree.changes[i];
        return change ? `rgba(${change > 0 ? "200,40,30" : "40,90,200"},${0.2 + 0.8 * Math.abs(change) / most})` : colour("--muted-frame");
      }
      if (differs) return `rgba(${view() === "grown" ? "200,40,30" : "40,90,200"},${0.25 + 0.75 * tree.pages[i] / tree.pages[0]})`;
      const module = tree.modules[i];
      return module === null ? (i % 2 ? "#8fa9c4" : "#9fb6cd") : palette[1 + modules.indexOf(module) % (palette.length - 1)];
    });
  }
  const view = () => document.getElementById("flame-view").value;
  function label(tree, i) { return tree.modules[i] === null ? tree.names[i] : `${tree.names[i]} [${tree.modules[i]}]`; }
  function drawFlame(level) {
    const tree = data.flame[view()];
    Plotly.react("flame", [{
      type: "icicle", ids: tree.names.map((_, i) => `${i}`), labels: tree.names.map((_, i) => text(short(label(tree, i)))),
      parents: tree.parents.map((p) => (p < 0 ? "" : `${p}`)), values: tree.pages, branchvalues: "total", sort: false,
      marker: { colors: frameColours(tree, flame.matches.length ? new Set(flame.matches) : null) },
      tiling: { orientation: "v", pad: 0 }, level: level ?? "0", textposition: "middle left", maxdepth: 40,
      customdata: tree.changes ? tree.changes.map((change) => `${change < 0 ? "-" : "+"}${number(Math.abs(change))}`) : undefined,
      hovertemplate: `%{label}<br>%{value:,} pages${tree.changes ? ", %{customdata}" : ""}, %{percentRoot:.2%}<extra></extra>`, pathbar: { visible: true, thickness: 22 },
    }], layout(), config);
    document.getElementById("flame-left-out").textContent =
      tree.leftOut ? `${number(tree.leftOut)} frames are too small to draw: their pages are in the frame they are called by.` : "";
  }
  function search() {
    const wanted = document.getElementById("flame-search").value.toLowerCase();
    const tree = data.flame[view()];
    flame.matches = wanted ? tree.names.map((_, i) => i).filter((i) => label(tree, i).toLowerCase().includes(wanted)) : [];
    flame.next = 0;
    const inMatches = new Set(flame.matches);
    // Pages below a match that is below another match are counted once.
    const outer = flame.matches.filter((i) => { for (let p = tree.parents[i]; p >= 0; p = tree.parents[p]) if (inMatches.has(p)) return false; return true; });
    const pages = outer.reduce((sum, i) => sum + tree.pages[i], 0);
    document.getElementById("flame-found").textContent = wanted
      ? `${number(flame.matches.length)} frames, ${number(pages)} pages (${(100 * pages / tree.pages[0]).toFixed(1)} %)` : "";
    drawFlame();
  }
  function zoomToNext() {
    if (!flame.matches.length) return;
    drawFlame(`${flame.matches[flame.next % flame.matches.length]}`);
    flame.next += 1;
  }

  function growth() {
    const traces = data.growth.culprits.map((row, i) => ({
      type: "bar", name: text(short(row.name)), x: row.pages.map((_, b) => (b + 0.5) * data.growth.bin_s), y: row.pages,
      marker: { color: palette[i % palette.length] }, hovertemplate: "%{x:.3f} s: %{y:,} pages<extra>%{fullData.name}</extra>",
    }));
    Plotly.react("growth", traces, layout({
      barmode: "stack", bargap: 0, margin: { t: 10, l: 70, r: 10, b: 45 }, legend: { orientation: "h", y: 1.15 },
      xaxis: { title: { text: "seconds since boot" }, gridcolor: colour("--line") }, yaxis: { title: { text: "pages" }, gridcolor: colour("--line") },
    }), config);
  }

  function series() {
    const traces = data.series.lines.map((row, i) => ({
      type: "scatter", mode: "lines", name: text(short(row.name)), x: data.series.times, y: row.bytes.map((b) => (b === null ? null : b / 1048576)),
      line: { color: palette[i % palette.length], width: 2 }, hovertemplate: "%{x}: %{y:,.1f} MiB<extra>%{fullData.name}</extra>",
    }));
    Plotly.react("series", traces, layout({
      margin: { t: 10, l: 70, r: 10, b: 45 }, legend: { orientation: "h", y: 1.15 },
      xaxis: { type: "date", gridcolor: colour("--line") }, yaxis: { title: { text: "MiB" }, rangemode: "tozero", gridcolor: colour("--line") },
    }), config);
  }

  function moments() {
    const names = data.moments.names.map((name) => text(short(name)));
    const bars = (name, pages, own) => ({
      type: "bar", orientation: "h", name, y: names, x: pages, marker: { color: own }, hovertemplate: "%{y}: %{x:,} pages<extra>%{fullData.name}</extra>",
    });
    Plotly.react("moments", [bars("this moment", data.moments.now, palette[1]), bars("the earlier one", data.moments.before, colour("--muted-frame"))], layout({
      barmode: "group", margin: { t: 10, l: 10, r: 10, b: 45 }, legend: { orientation: "h", y: 1.15, traceorder: "reversed" },
      xaxis: { title: { text: "pages" }, gridcolor: colour("--line") }, yaxis: { autorange: "reversed", automargin: true },
    }), config);
  }

  function free() {
    const traces = data.free.rows.map((row, i) => ({
      type: "bar", name: text(row.zone), x: row.pages.map((_, order) => order), y: row.pages, marker: { color: palette[i % palette.length] },
      hovertemplate: "order %{x}: %{y:,} pages free<extra>%{fullData.name}</extra>",
    }));
    const order = data.free.order;
    const asked = order === null || order === undefined ? [] : [{
      type: "line", x0: order - 0.5, x1: order - 0.5, y0: 0, y1: 1, yref: "paper", line: { color: colour("--mark"), width: 2, dash: "dash" },
    }];
    const notes = asked.length ? [{
      x: order - 0.5, y: 1, yref: "paper", text: `blocks from here on fit order ${order}`, showarrow: false, xanchor: "left", font: { color: colour("--mark") },
    }] : [];
    Plotly.react("free", traces, layout({
      barmode: "stack", margin: { t: 10, l: 70, r: 10, b: 45 }, legend: { orientation: "h", y: 1.15 }, shapes: asked, annotations: notes,
      xaxis: { title: { text: "order of the block" }, dtick: 1 }, yaxis: { title: { text: "free pages" }, gridcolor: colour("--line") },
    }), config);
  }

  function events() {
    const told = data.events, classes = [...new Set(told.classes)];
    const traces = classes.map((own, i) => {
      const at = told.classes.map((each, k) => (each === own ? k : -1)).filter((k) => k >= 0);
      return {
        type: "scatter", mode: "markers", name: own, x: at.map((k) => told.x[k]), y: at.map(() => own), text: at.map((k) => text(told.texts[k])),
        marker: { size: at.map((k) => (told.numbers[k] === told.chosen ? 16 : 9)), color: palette[i % palette.length], symbol: i % 8, line: { width: 1, color: colour("--ink") } },
        hovertemplate: "%{text}<extra></extra>",
      };
    });
    Plotly.react("events", traces, layout({
      margin: { t: 10, l: 10, r: 10, b: 45 }, showlegend: false,
      xaxis: { title: { text: told.axis }, gridcolor: colour("--line") }, yaxis: { automargin: true, gridcolor: colour("--line") },
    }), config);
  }

  function timeline() {
    const traces = data.timeline.series.map((row, i) => ({
      type: "bar", name: text(row.name), x: data.timeline.days, y: row.cases, marker: { color: palette[i % palette.length] },
      hovertemplate: "%{x}: %{y:,} cases<extra>%{fullData.name}</extra>",
    }));
    Plotly.react("timeline", traces, layout({
      barmode: "stack", margin: { t: 10, l: 60, r: 10, b: 45 }, legend: { orientation: "h", y: 1.15 },
      xaxis: { type: "date", gridcolor: colour("--line") }, yaxis: { title: { text: "cases" }, gridcolor: colour("--line") },
    }), config);
  }

  function draw() {
    root.dataset.scheme = scheme.value || (system.matches ? "dark" : "light");
    if (data.balance) balance();
    if (data.flame) drawFlame();
    if (data.growth) growth();
    if (data.moments) moments();
    if (data.free) free();
    if (data.events) events();
    if (data.timeline) timeline();
    if (data.series) series();
  }

  document.querySelectorAll("table.sorts").forEach((table) => {
    const body = table.tBodies[0];
    table.querySelectorAll("th").forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const isNumber = head.classList.contains("number");
      const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : isNumber;
      const key = (row) => (isNumber ? Number(row.cells[column].dataset.value || -Infinity) : row.cells[column].textContent);
      const order = (a, b) => (isNumber ? key(a) - key(b) : key(a).localeCompare(key(b)));
      body.append(...[...body.rows].sort((a, b) => (down ? order(b, a) : order(a, b))));
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    }));
    table.closest("details").querySelector(".filter").addEventListener("input", (event) => {
      const wanted = event.target.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  });
  if (data.flame) {
    document.getElementById("flame-controls").addEventListener("submit", (event) => { event.preventDefault(); zoomToNext(); });
    document.getElementById("flame-view").addEventListener("change", search);
    document.getElementById("flame-search").addEventListener("input", search);
    document.getElementById("flame-next").addEventListener("click", zoomToNext);
    document.getElementById("flame-reset").addEventListener("click", () => { document.getElementById("flame-search").value = ""; search(); });
  }
  const about = document.getElementById("about");
  document.querySelectorAll(".field").forEach((field) => {
    for (const event of ["focus", "pointerenter", "click"]) field.addEventListener(event, () => { about.textContent = field.dataset.about; });
  });
  scheme.addEventListener("change", draw);
  system.addEventListener("change", draw);
  const reveal = () => {
    const aimed = document.getElementById(location.hash.slice(1));
    for (let around = aimed; around; around = around.parentElement) if (around.tagName === "DETAILS") around.open = true;
    if (aimed) aimed.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  draw();
  reveal();
})();
