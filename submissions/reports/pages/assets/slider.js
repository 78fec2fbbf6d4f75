"use strict";
// Before and after: a range input, which the keyboard moves too, cuts the upper picture off at its place.
for (const place of document.querySelectorAll(".before-after")) {
  const range = place.querySelector("input[type=range]");
  const upper = place.querySelector(".after");
  const line = place.querySelector(".cut");
  const choice = place.querySelector("select");
  const move = () => {
    upper.style.clipPath = `inset(0 0 0 ${range.value}%)`;
    line.style.left = `${range.value}%`;
    range.setAttribute("aria-valuetext", `${range.value} % ${place.dataset.before}`);
  };
  range.addEventListener("input", move);
  if (choice) {
    choice.addEventListener("change", () => {
      const option = choice.selectedOptions[0];
      // The pictures are in the page once, where they stand side by side.
      upper.src = document.getElementById(option.value).src;
      upper.alt = document.getElementById(option.value).alt;
    });
  }
  move();
}
