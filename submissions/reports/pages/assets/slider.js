"use strict";
// Before and after: a range input, which the keyboard moves too, cuts the upper picture off at its place.
for (const place of document.querySelectorAll(".before-after")) {
  const range = place.querySelector("input[type=range]");
  const upper = place.querySelector(".after");
  const line = place.querySelector(".cut");
  const choice = place.querySelector("select");
  // The pictures are in the page once, where they stand side by side.
  const take = (picture, identity) => {
    const source = document.getElementById(identity);
    picture.src = source.src;
    picture.alt = source.alt;
  };
  for (const picture of place.querySelectorAll("img")) take(picture, picture.dataset.from);
  const move = () => {
    upper.style.clipPath = `inset(0 0 0 ${range.value}%)`;
    line.style.left = `${range.value}%`;
    range.setAttribute("aria-valuetext", `${range.value} % ${place.dataset.before}`);
  };
  range.addEventListener("input", move);
  choice.addEventListener("change", () => take(upper, choice.value));
  move();
}
