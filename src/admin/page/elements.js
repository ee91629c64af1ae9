// Creates and updates elements. Text from the router only ever becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Creates an HTML element with attributes and children; a child may be text. */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Creates an SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) put(element, name, value);
  element.append(...children);
  return element;
}

/** Sets an attribute if it differs; `null` removes it. */
export function put(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Sets the text if it differs. Text that is not set again needs no layout and stays selected. The messages of the router
 * quote words in backticks; such words become code.
 */
export function say(element, text) {
  if (element.said === text) return;
  element.said = text;
  const parts = String(text ?? "").split("`");
  // Backticks come in pairs, so there is an even number of them and an odd number of parts.
  if (parts.length < 3 || parts.length % 2 === 0) element.textContent = text;
  else element.replaceChildren(...parts.map((part, place) => (place % 2 === 0 ? part : quoted(element, part))));
}

function quoted(parent, text) {
  return parent.namespaceURI === SVG ? svg("tspan", { class: "code" }, text) : html("code", {}, text);
}

/** Shows or hides an element. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/**
 * Makes `parent` hold one element for each of `items`, in this order. An item with a known key keeps its element, so that
 * the focus and open details survive. `make(item)` returns `{ element, update(item) }`.
 */
export function list(parent, items, key, make) {
  const before = parent.parts ?? new Map();
  const parts = new Map();
  for (const item of items) {
    const name = key(item);
    const part = before.get(name) ?? make(item);
    parts.set(name, part);
    part.update(item);
  }
  for (const [name, part] of before) if (!parts.has(name)) part.element.remove();
  let place = 0;
  for (const { element } of parts.values()) {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
    place += 1;
  }
  parent.parts = parts;
}

/** Fills a description list from pairs `[term, text]`. Skips pairs without a text. */
export function facts(dl, pairs) {
  list(dl, pairs.filter(([, text]) => text), ([term]) => term, () => {
    const term = html("dt");
    const text = html("dd");
    return {
      element: html("div", {}, term, text),
      update: ([name, value, title]) => {
        say(term, name);
        say(text, value);
        put(text, "title", title ?? null);
      },
    };
  });
}

const SHAPES = {
  up: ["M8 1a7 7 0 1 1 0 14A7 7 0 1 1 8 1z", "M4.8 8.2l2.3 2.3 4.2-4.8"],
  down: ["M8 1.2l7.4 13.3H.6z", "M8 6v4M8 12v.4"],
  part: ["M8 .8L15.2 8 8 15.2.8 8z", "M8 4.6v4M8 10.9v.4"],
  wait: ["M8 1a7 7 0 1 1 0 14A7 7 0 1 1 8 1z", "M8 4.2V8l2.6 1.8"],
  gone: ["M2 2h12v12H2z", "M5 8h6"],
};

/** Returns the shape for a kind of state, 16 wide and high. States differ in shape, so that no meaning depends on colour. */
export function shape(kind) {
  const [body, mark] = SHAPES[kind];
  return [svg("path", { class: `body ${kind}`, d: body }), svg("path", { class: "mark", d: mark })];
}

/** Returns the shape for a kind of state as an inline icon. */
export function glyph() {
  const element = svg("svg", { class: "glyph", viewBox: "0 0 16 16", "aria-hidden": "true" });
  return {
    element,
    update: (kind) => {
      if (element.kind === kind) return;
      element.kind = kind;
      element.replaceChildren(...shape(kind));
    },
  };
}
