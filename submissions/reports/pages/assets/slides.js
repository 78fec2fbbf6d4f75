"use strict";
// A deck: one slide at a time. Arrow keys, Page Up and Down, the space bar, Home and End; the address
// keeps the slide (#3); buttons for who has no keyboard. On paper every slide is a page.
const slides = [...document.querySelectorAll(".slide")];
const number = document.querySelector(".slide-number");
const bar = document.querySelector(".slide-bar");
let current = 0;
const show = (wanted) => {
  current = Math.min(slides.length - 1, Math.max(0, wanted));
  slides.forEach((slide, each) => slide.classList.toggle("shown", each === current));
  number.textContent = `${current + 1} / ${slides.length}`;
  bar.style.width = `${(100 * (current + 1)) / slides.length}%`;
  history.replaceState(null, "", `#${current + 1}`);
  scrollTo(0, 0);
};
const asked = () => show((Number.parseInt(location.hash.slice(1), 10) || 1) - 1);
const STEPS = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest("input, select, button, textarea") && event.key !== "PageDown" && event.key !== "PageUp") return;
  if (event.key in STEPS) show(current + (event.key === " " && event.shiftKey ? -1 : STEPS[event.key]));
  else if (event.key === "Home") show(0);
  else if (event.key === "End") show(slides.length - 1);
  else return;
  event.preventDefault();
});
addEventListener("hashchange", asked);
document.querySelector(".slide-back").addEventListener("click", () => show(current - 1));
document.querySelector(".slide-on").addEventListener("click", () => show(current + 1));
document.body.classList.add("ready");
asked();
