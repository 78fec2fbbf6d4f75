"use strict";
// A lens that shows the same place of all pictures of a row, enlarged. It follows the pointer, a
// finger, and the arrow keys where a picture has the focus; Escape takes it away.
const ZOOM = 4;
for (const group of document.querySelectorAll(".lens")) {
  const frames = [...group.querySelectorAll(".frame")];
  const glasses = frames.map((frame) => {
    const glass = document.createElement("canvas");
    glass.className = "glass";
    glass.setAttribute("aria-hidden", "true");
    frame.append(glass);
    return glass;
  });
  let place = null;
  const draw = () => {
    frames.forEach((frame, number) => {
      const picture = frame.querySelector("img");
      const glass = glasses[number];
      glass.hidden = place === null;
      if (place === null || !picture.complete) return;
      const side = Math.round(Math.min(picture.clientWidth, picture.clientHeight) * 0.5);
      const dots = Math.round(side * devicePixelRatio);
      if (glass.width !== dots) glass.width = glass.height = dots;
      glass.style.width = glass.style.height = `${side}px`;
      glass.style.left = `${place.x * picture.clientWidth - side / 2}px`;
      glass.style.top = `${place.y * picture.clientHeight - side / 2}px`;
      const scale = picture.naturalWidth / picture.clientWidth;
      const seen = (side / ZOOM) * scale;
      const pen = glass.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.clearRect(0, 0, dots, dots);
      pen.drawImage(
        picture,
        place.x * picture.naturalWidth - seen / 2, place.y * picture.naturalHeight - seen / 2, seen, seen,
        0, 0, dots, dots,
      );
      glass.dataset.place = `${place.x.toFixed(3)} ${place.y.toFixed(3)}`;
    });
  };
  const within = (value) => Math.min(1, Math.max(0, value));
  frames.forEach((frame) => {
    frame.addEventListener("pointermove", (event) => {
      const box = frame.querySelector("img").getBoundingClientRect();
      place = { x: within((event.clientX - box.left) / box.width), y: within((event.clientY - box.top) / box.height) };
      requestAnimationFrame(draw);
    });
    frame.addEventListener("pointerleave", () => { place = null; requestAnimationFrame(draw); });
    frame.addEventListener("blur", () => { place = null; draw(); });
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "Escape") place = null;
      else if (step) {
        const from = place ?? { x: 0.5, y: 0.5 };
        place = { x: within(from.x + step[0] * 0.03), y: within(from.y + step[1] * 0.03) };
      } else return;
      event.preventDefault();
      event.stopPropagation();
      draw();
    });
  });
  draw();
}
