// Elements made from code, and numbers as the pages write them.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, properties, ...children) {
  const element = document.createElement(name);
  const { dataset, ...plain } = properties;
  Object.assign(element, plain);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

const byId = (id) => document.getElementById(id);

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const decibels = (value) => (value === null ? "equal (∞ dB)" : `${value.toFixed(2)} dB`);
const seconds = (value) => `${value.toFixed(3)} s`;
const count = (value) => value.toLocaleString("en-GB");
const colour = (rgb) => `rgb(${rgb.join(" ")})`;
