// The page: opens the student, shows the view that the link names, hears keys, and tells what all of it costs.

import { Layers } from "./layers.mjs";
import { beside, readLink, whole, writeLink } from "./link.mjs";
import { Single } from "./single.mjs";
import { student } from "./student.mjs";
import { Teacher } from "./teacher.mjs";
import { Wall } from "./wall.mjs";

const $ = (selector) => document.querySelector(selector);

class Page {
  state = readLink(location.hash);
  first = null; // Milliseconds from the opening of the page to its first image.

  // Changes what is shown, and the link with it.
  change(changes) {
    this.state = { ...this.state, ...changes };
    this.#noted ??= setTimeout(() => this.#note(), 200); // Browsers bound how often a link may change.
    return this.show();
  }

  show() {
    const { view, seed, index, condition } = this.state;
    for (const [name, each] of Object.entries(this.views)) each.root.hidden = name !== view;
    for (const link of document.querySelectorAll("[data-view]")) {
      if (link.dataset.view === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    $(".one").hidden = view === "wall";
    if (document.activeElement !== $("#seed")) $("#seed").value = String(seed);
    if (document.activeElement !== $("#index")) $("#index").value = String(index);
    $("#condition select").value = condition === null ? "" : String(condition);
    if (view !== "image") this.views.image.play(false);
    return this.views[view].draw().catch(trouble);
  }

  say(text) {
    $("#speed").textContent = text;
  }

  firstImage() {
    if (this.first !== null) return;
    this.first = performance.now();
    this.#costs();
  }

  #noted = null;

  #note() {
    this.#noted = null;
    history.replaceState(null, "", writeLink(this.state));
  }

  #costs() {
    const here = performance.getEntriesByType("resource").map(({ name, encodedBodySize }) => [name, encodedBodySize]);
    const [opened] = performance.getEntriesByType("navigation");
    const files = new Map([[location.pathname, opened.encodedBodySize], ...here, ...this.student.files]);
    let [own, runtime] = [0, 0];
    for (const [name, size] of files) {
      if (name.includes("/runtime/")) runtime += size;
      else if (!name.includes("/teacher/")) own += size;
    }
    this.download = { own, runtime };
    const on = { webgpu: "WebGPU", wasm: "WebAssembly" }[this.student.backend];
    const threads = this.student.threads === 1 ? "one thread" : `${this.student.threads} threads`;
    $("#cost").textContent =
      `Download ${megabytes(own)} and ${megabytes(runtime)} of ONNX Runtime · first image after ` +
      `${(this.first / 1000).toFixed(2)} s · ${on}${this.student.backend === "wasm" ? `, ${threads}` : ""}`;
  }
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;

function trouble(error) {
  $("#trouble").textContent = `This page cannot show the student: ${error?.message ?? error}`;
  $("#trouble").hidden = false;
}

function hear(page) {
  const entered = (event, apply) => event.target.value !== "" && apply(whole(event.target.value));
  $("#seed").addEventListener("input", (event) => entered(event, (seed) => page.change({ seed })));
  $("#index").addEventListener("input", (event) => entered(event, (index) => page.change({ index: Number(index) })));
  $("#condition select").addEventListener("change", ({ target: { value } }) => {
    page.change({ condition: value === "" ? null : Number(value) });
  });
  const anew = () => page.change({ seed: beside(page.state.seed, 1) });
  $("#anew").addEventListener("click", anew);
  addEventListener("hashchange", () => page.change(readLink(location.hash)));
  for (const link of document.querySelectorAll("[data-view]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      page.change({ view: link.dataset.view });
    });
  }
  const keys = {
    ArrowLeft: () => page.change({ seed: beside(page.state.seed, -1) }),
    ArrowRight: anew,
    ArrowUp: () => page.change({ index: Math.max(0, page.state.index - 1) }),
    ArrowDown: () => page.change({ index: page.state.index + 1 }),
    1: () => page.change({ view: "wall" }),
    2: () => page.change({ view: "image" }),
    3: () => page.change({ view: "layers" }),
    p: () => page.state.view === "image" && page.views.image.play(),
    t: theme,
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const press = event.target.matches("a, button") && ["Enter", " "].includes(event.key);
    // Of other keys, those that write or begin a line: a person who moves by Tab wants no new images.
    const act = keys[event.key] ?? (event.key.length === 1 || event.key === "Enter" ? anew : null);
    if (press || act === null) return;
    event.preventDefault();
    act();
  });
}

function theme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
}

function describe(page) {
  const { metadata, imageShape, submodules, condition } = page.student;
  $("#facts").textContent = `${imageShape.join(" × ")}, ${submodules} submodules, ${Object.keys(metadata.models)[0]}`;
  if (condition.kind === null) return;
  const choices = condition.texts.slice(0, 1000).map((text, k) => new Option(text, String(k)));
  $("#condition").hidden = false;
  $("#condition span").textContent = condition.kind;
  $("#condition select").replaceChildren(new Option("drawn", ""), ...choices);
}

async function start() {
  $("#theme").addEventListener("click", theme);
  if (typeof WebAssembly !== "object") {
    throw new Error("it needs WebAssembly, and this browser has none; use a newer browser, or switch WebAssembly on");
  }
  $("#trouble").hidden = true;
  const [, facts] = await Promise.all([
    student.open(),
    fetch("page.json").then((answer) => answer.json()),
  ]);
  const page = new Page();
  page.student = student;
  page.teacher = new Teacher(facts.teacher);
  $("main").hidden = false;
  page.views = { wall: new Wall($("#wall"), page), image: new Single($("#image"), page), layers: new Layers($("#layers"), page) };
  describe(page);
  hear(page);
  window.advkd = page;
  await page.change({});
}

start().catch(trouble);
