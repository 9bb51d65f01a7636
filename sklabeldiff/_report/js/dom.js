// Elements and numbers. Data enter the page as text and attributes only, never as HTML.

const find = (id) => document.getElementById(id);

/** Make an element; `props` are attributes, except `text` and `on` (listeners). */
function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") listen(element, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Make an element of a drawing. */
function makeSvg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function listen(element, listeners) {
  for (const [event, listener] of Object.entries(listeners)) {
    element.addEventListener(event, listener);
  }
}

/** A label or text of the user, kept apart from the direction of what is around it. */
const bdi = (text) => make("bdi", { text });

const whole = (count) => count.toLocaleString("en");
const digits = (value, places = 3) => (value == null ? "–" : value.toFixed(places));
const percent = (value) => (value == null ? "–" : `${(100 * value).toFixed(1)}%`);
const plural = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** Call `action` once no call has come for a moment: typing stays fluent. */
function afterPause(action, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}
