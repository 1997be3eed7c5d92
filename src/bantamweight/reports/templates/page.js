"use strict";
(() => {
  const $ = (query, root = document) => root.querySelector(query);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const stored = (id) => JSON.parse($(id)?.textContent ?? "null");

  // ---- theme: automatic, light, dark; remembered where the browser lets a file remember
  const root = document.documentElement;
  const themes = ["automatic", "light", "dark"];
  const button = $("#theme");
  const remembered = () => { try { return localStorage.getItem("bantamweight-theme"); } catch { return null; } };
  const setTheme = (name) => {
    if (name === "automatic") delete root.dataset.theme; else root.dataset.theme = name;
    $("span", button).textContent = name;
    try { localStorage.setItem("bantamweight-theme", name); } catch { /* a file may have no storage */ }
  };
  button.hidden = false;
  setTheme(themes.includes(remembered()) ? remembered() : "automatic");
  button.addEventListener("click", () => {
    setTheme(themes[(themes.indexOf($("span", button).textContent) + 1) % themes.length]);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());

  // ---- charts: drawn when they come near, again when theme or width change
  const specs = stored("#specs") ?? [];
  const plots = all("[data-chart]");
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const themed = (spec) => {
    const swap = (value) => {
      if (typeof value === "string" && value.startsWith("@")) return colour(value.slice(1)) || value;
      if (Array.isArray(value)) return value.map(swap);
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, key === "values" ? inner : swap(inner)]));
      }
      return value;
    };
    return swap(spec);
  };
  const config = (width) => {
    const [ink, quiet, rule] = ["ink", "quiet", "rule"].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent", font,
      view: { stroke: null },
      axis: { labelColor: quiet, titleColor: quiet, gridColor: rule, domainColor: rule, tickColor: rule,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, titlePadding: 8, labelFlush: false },
      axisX: { grid: true }, axisY: { grid: true },
      axisXQuantitative: { tickCount: width < 480 ? 4 : 8, labelSeparation: 6 }, axisYQuantitative: { tickCount: 6 },
      axisBand: { grid: false },
      axisYDiscrete: { labelLimit: Math.min(280, Math.round(width * 0.45)) },
      legend: { labelColor: ink, titleColor: quiet, orient: "top", layout: { top: { direction: "vertical", anchor: "start" } }, labelFontSize: 12, titleFontSize: 12,
        titleFontWeight: 500, labelLimit: Math.min(260, width - 60), columns: width < 420 ? 1 : width < 700 ? 2 : 3,
        symbolStrokeWidth: 2.5, symbolOpacity: 1, symbolSize: 80, gradientLength: Math.min(200, Math.round(width * 0.4)), gradientThickness: 10 },
      line: { color: colour("c1") }, point: { color: colour("c1") }, rule: { color: colour("quiet") },
      text: { color: ink },
      style: { cell: { fontSize: 11 } },
      range: { category: [1, 2, 3, 4, 5, 6, 7, 8].map((index) => colour(`c${index}`)),
        ramp: ["s0", "s1", "s2", "s3"].map(colour), heatmap: ["s0", "s1", "s2", "s3"].map(colour) },
    };
  };
  const drawn = new Map();
  const draw = async (plot) => {
    const { title, spec } = specs[Number(plot.dataset.chart)];
    const width = plot.clientWidth;
    if (!width || !window.vegaEmbed) return;
    drawn.get(plot)?.view?.finalize();
    drawn.set(plot, { width });
    const result = await vegaEmbed(plot, { ...themed(spec), description: title }, {
      ast: true, renderer: "svg", actions: false, config: config(width), defaultStyle: false,
      tooltip: { theme: "custom" },
    });
    drawn.set(plot, { width, view: result });
    plot.style.minHeight = "0";
  };
  const failed = (plot) => (error) => {
    plot.replaceChildren(make("p", { className: "warning", textContent: "This chart could not be drawn; its table is below." }));
    console.error(error);
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && drawn.get(entry.target)?.width !== entry.target.clientWidth) {
        draw(entry.target).catch(failed(entry.target));
      }
    }
  }, { rootMargin: "800px 0px" });
  plots.forEach((plot) => watcher.observe(plot));
  const redraw = () => [...drawn.keys()].forEach((plot) => draw(plot).catch(failed(plot)));
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => [...drawn].forEach(([plot, { width }]) => {
      if (plot.clientWidth && plot.clientWidth !== width) draw(plot).catch(failed(plot));
    }), 150);
  });
  addEventListener("beforeprint", () => plots.filter((plot) => !drawn.has(plot)).forEach((plot) => draw(plot).catch(failed(plot))));

  // ---- contents: where the reader is
  const links = new Map(all(".toc a").map((link) => [link.hash.slice(1), link]));
  const sections = all(".panel");
  const mark = () => {
    const here = sections.findLast((panel) => panel.getBoundingClientRect().top < innerHeight * 0.3) ?? sections[0];
    const link = links.get(here?.id);
    if (!link || link.hasAttribute("aria-current")) return;
    links.forEach((other) => other.removeAttribute("aria-current"));
    link.setAttribute("aria-current", "true");
    const list = link.closest("ol");
    if (list.scrollWidth > list.clientWidth) list.scrollTo({ left: link.offsetLeft - 16, behavior: "instant" });
  };
  let asked = false;
  addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; mark(); });
  }, { passive: true });
  mark();

  // ---- one of several: a <select data-picks="group"> shows the element whose data-pick equals its value
  all("select[data-picks]").forEach((select) => {
    const show = () => all(`[data-group="${select.dataset.picks}"]`).forEach((one) => {
      one.hidden = one.dataset.pick !== select.value;
    });
    select.closest(".picker").hidden = false;
    select.addEventListener("change", show);
    show();
  });

  // ---- confusion: a cell opens its images
  const confusion = stored("#confusion-data");
  const dialog = $("#cell");
  if (confusion && dialog) {
    const sheet = $("#sheet");
    const MOST = 120;
    const fill = (variant, truth, answer) => {
      const rows = confusion.predicted[variant].flatMap((code, row) =>
        code === answer && confusion.labels[row] === truth ? [row] : []);
      const [from, to] = [confusion.classes[truth], confusion.classes[answer] ?? "no answer"];
      $("h2", dialog).textContent = truth === answer ? `${from}, answered right` : `${from}, answered ${to}`;
      $(".said", dialog).textContent = `${confusion.variants[variant]}, ${confusion.split}: ${rows.length} image${rows.length === 1 ? "" : "s"}` +
        (rows.length > MOST ? `, the first ${MOST} shown` : "");
      const { columns, width, height } = confusion.tiles;
      $(".tiles", dialog).replaceChildren(...rows.slice(0, MOST).map((row) => {
        const canvas = make("canvas", { width, height, role: "img" });
        canvas.setAttribute("aria-label", `${confusion.names[row]}: ${from}, answered ${to}`);
        canvas.getContext("2d").drawImage(sheet, (row % columns) * width, Math.floor(row / columns) * height, width, height, 0, 0, width, height);
        return make("figure", {}, canvas, make("figcaption", { textContent: confusion.names[row] }));
      }));
    };
    document.addEventListener("click", async (event) => {
      const cell = event.target.closest("button[data-cell]");
      if (!cell) return;
      await sheet.decode().catch(() => undefined);
      fill(...cell.dataset.cell.split(",").map(Number));
      dialog.showModal();
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    $(".close", dialog).addEventListener("click", () => dialog.close());
  }

  // ---- every fact: filtered and paged; a link to #fact-12 opens that row
  const table = stored("#facts-data");
  const holder = $("#fact-table");
  if (table && holder) {
    const PAGE = 60;
    const NUMBERS = new Set(["value", "low", "high", "k", "n", "p", "p_adjusted", "detectable", "gained", "lost", "step", "seed", "batch", "threads"]);
    const get = (name, row) => { const column = table.columns[name]; return column.values[column.rows[row]]; };
    const show = (value) => value === null || value === undefined ? "" :
      typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);
    const text = Array.from({ length: table.count }, (_, row) =>
      table.names.map((name) => show(get(name, row))).join(" ").toLowerCase());
    const filter = $("#fact-filter"), metric = $("#fact-metric"), status = $("#fact-count"), more = $("#fact-more");
    const body = $("tbody", holder);
    let chosen = [], shown = 0;
    const add = () => {
      for (const row of chosen.slice(shown, shown + PAGE)) {
        const line = make("tr", { id: `fact-${row}` }, make("th", { scope: "row", textContent: row }));
        for (const name of table.names) {
          line.append(make("td", { textContent: show(get(name, row)), className: NUMBERS.has(name) ? "n" : "" }));
        }
        body.append(line);
      }
      shown = Math.min(chosen.length, shown + PAGE);
      status.textContent = `${chosen.length.toLocaleString("en")} of ${table.count.toLocaleString("en")} facts, ${shown.toLocaleString("en")} shown`;
      more.hidden = shown >= chosen.length;
    };
    const apply = (rows) => { chosen = rows; shown = 0; body.replaceChildren(); add(); };
    const search = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      apply(text.flatMap((line, row) =>
        (!metric.value || get("metric", row) === metric.value) && words.every((word) => line.includes(word)) ? [row] : []));
    };
    $("thead tr", holder).append(make("th", { scope: "col", textContent: "row" }),
      ...table.names.map((name) => make("th", { scope: "col", textContent: name, className: NUMBERS.has(name) ? "n" : "" })));
    const metrics = table.columns.metric?.values ?? [];
    metric.append(...[...metrics].sort().map((name) => make("option", { value: name, textContent: name })));
    filter.addEventListener("input", search);
    metric.addEventListener("change", search);
    more.addEventListener("click", add);
    search();
    const follow = () => {
      const found = /^#fact-(\d+)$/.exec(location.hash);
      if (!found || Number(found[1]) >= table.count) return;
      const row = Number(found[1]);
      filter.value = metric.value = "";
      apply([row, ...Array.from({ length: table.count }, (_, other) => other).filter((other) => other !== row)]);
      $("#facts").open = true;
      const line = $(`#fact-${row}`);
      line.classList.add("found");
      line.tabIndex = -1;
      line.focus({ preventScroll: true });
      $("#facts").scrollIntoView({ block: "start" });
    };
    addEventListener("hashchange", follow);
    follow();
    $("#fact-csv")?.addEventListener("click", () => {
      const quote = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
      const lines = [table.names.join(",")];
      for (const row of chosen) lines.push(table.names.map((name) => quote(String(get(name, row) ?? ""))).join(","));
      const link = make("a", { download: "facts.csv", href: URL.createObjectURL(new Blob([lines.join("\n")], { type: "text/csv" })) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
})();
