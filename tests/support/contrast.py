"""How well the words of a page can be read: a script that gives the first words and the contrast of each text that shows."""

CONTRAST = """
const channel = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const ground = node => { for (; node; node = node.parentElement) {
  const colour = parts(getComputedStyle(node).backgroundColor); if (colour.length < 4 || colour[3] > .99) return colour; } return [255, 255, 255]; };
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
for (let text; text = texts.nextNode();) {
  const node = text.parentElement, box = node.getBoundingClientRect();
  if (!text.data.trim() || !box.width || node.closest('.spoken, [hidden], script, option')) continue;
  const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
  found.push([text.data.trim().slice(0, 40), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]);
}
return found;
"""
