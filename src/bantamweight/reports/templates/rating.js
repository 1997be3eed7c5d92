"use strict";
(() => {
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const answers = [];
  let rater = "";
  let at = 0;
  let items = [];

  const byId = (id) => document.getElementById(id);

  // Fisher-Yates with the browser's own randomness: the order is the rater's, and is written down.
  function shuffled(list) {
    const copy = list.slice();
    for (let last = copy.length - 1; last > 0; last--) {
      const other = crypto.getRandomValues(new Uint32Array(1))[0] % (last + 1);
      [copy[last], copy[other]] = [copy[other], copy[last]];
    }
    return copy;
  }

  function node(tag, values, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(values || {})) {
      if (key === "text") made.textContent = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  const letter = (place) => String.fromCharCode(65 + place);

  function figure(caption, source, alt, ...below) {
    return node("figure", {}, node("figcaption", { text: caption }), node("img", { src: source, alt }), ...below);
  }

  function scale(id, name) {
    const labels = [1, 2, 3, 4, 5].map((value) =>
      node("label", {}, node("input", { type: "radio", name: `likert-${id}`, value }), node("span", { text: value })));
    return node("fieldset", {}, node("legend", { text: sheet.statement }), node("div", { class: "scale" }, ...labels),
      node("div", { class: "ends" }, node("span", { text: "not at all" }), node("span", { text: "completely" })));
  }

  function ranks(order) {
    const places = order.map((_, place) => place + 1);
    const selects = order.map((id, place) => {
      const select = node("select", { name: `rank-${id}`, "aria-label": `place of map ${letter(place)}` },
        node("option", { value: "", text: "\u2013" }), ...places.map((one) => node("option", { value: one, text: one })));
      return node("label", {}, node("span", { text: `Map ${letter(place)}` }), select);
    });
    return node("div", { class: "question" }, node("h2", { text: "Put the maps in order, 1 being the most convincing" }),
      node("div", { class: "ranks" }, ...selects));
  }

  function choice(order) {
    const labels = order.map((id, place) =>
      node("label", {}, node("input", { type: "radio", name: "choice", value: id }), node("span", { text: `Map ${letter(place)}` })));
    return node("div", { class: "question" }, node("h2", { text: sheet.question }), node("div", { class: "choice" }, ...labels));
  }

  function show() {
    const item = items[at];
    const order = shuffled(Object.keys(item.maps));
    const form = node("form", { novalidate: "" });
    const figures = order.map((id, place) =>
      figure(`Map ${letter(place)}`, item.maps[id], `map ${letter(place)} of this image`, scale(id)));
    const complaint = node("p", { class: "complaint", role: "alert" });
    const last = at === items.length - 1;
    form.append(
      node("h1", { text: `The model says: ${item.said}` }),
      node("div", { class: "pictures" }, figure("The image", item.image, "the image itself"), ...figures),
      ranks(order), choice(order), complaint,
      node("button", { type: "submit", class: "main", text: last ? "Finish" : "Next image" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const said = read(form, item, order);
      if (typeof said === "string") { complaint.textContent = said; return; }
      answers.push(said);
      at += 1;
      if (last) finish(); else show();
    });
    byId("rate").replaceChildren(form);
    byId("progress").textContent = `${at + 1} of ${items.length}`;
    scrollTo(0, 0);
  }

  function read(form, item, order) {
    const given = new FormData(form);
    const likert = {};
    const ranking = [];
    for (const [place, id] of order.entries()) {
      const value = given.get(`likert-${id}`);
      if (value === null) return `Please say how far you agree with map ${letter(place)}.`;
      likert[id] = Number(value);
    }
    for (const [place, id] of order.entries()) {
      const value = given.get(`rank-${id}`);
      if (value === "") return `Please give map ${letter(place)} a place.`;
      if (ranking[value - 1] !== undefined) return `Two maps have the place ${value}; each place is for one.`;
      ranking[value - 1] = id;
    }
    if (given.get("choice") === null) return "Please choose one map.";
    return { item: item.id, order, likert, ranking, choice: given.get("choice") };
  }

  function save() {
    const said = { sheet: sheet.id, rater, answers };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(said, null, 1)], { type: "application/json" }));
    const safe = rater.replace(/[^A-Za-z0-9_-]+/g, "-").slice(0, 40) || "rater";
    link.download = `answers-${sheet.id}-${safe}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    byId("saved").textContent = `Your answers were saved as ${link.download}. Please hand that file back.`;
    removeEventListener("beforeunload", guard);
  }

  function guard(event) { event.preventDefault(); }

  function finish() {
    byId("rate").hidden = true;
    byId("done").hidden = false;
    byId("progress").textContent = "done";
    save();
  }

  byId("who").addEventListener("submit", (event) => {
    event.preventDefault();
    rater = byId("rater").value.trim();
    if (!rater) return;
    items = shuffled(sheet.items);
    byId("start").hidden = true;
    byId("rate").hidden = false;
    addEventListener("beforeunload", guard);
    show();
  });
  byId("save").addEventListener("click", save);
})();
