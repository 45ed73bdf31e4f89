(() => {
  "use strict";
  const dialog = document.querySelector("dialog.large");
  if (!dialog || typeof dialog.showModal !== "function") return;
  document.documentElement.classList.add("opens");
  const picture = document.createElement("img");
  dialog.firstElementChild.prepend(picture);
  const words = dialog.querySelector("p");
  let frames = [];
  let at = 0;
  const show = (place) => {
    at = (place + frames.length) % frames.length;
    const image = frames[at].querySelector("img");
    const item = frames[at].closest("li");
    picture.src = image.src;
    picture.alt = image.alt;
    const said = item ? [...item.querySelectorAll("[data-said]")].map((part) => part.textContent.trim()) : [];
    words.textContent = [image.alt, ...said].filter(Boolean).join(" · ");
  };
  document.addEventListener("click", (event) => {
    const frame = event.target.closest("button.frame");
    if (!frame || !frame.querySelector("img")) return;
    frames = [...document.querySelectorAll("button.frame")].filter((one) => one.offsetParent && one.querySelector("img"));
    show(frames.indexOf(frame));
    dialog.showModal();
  });
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") show(at + 1);
    if (event.key === "ArrowLeft") show(at - 1);
  });
})();
