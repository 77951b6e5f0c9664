// Lists renew themselves while nobody types, and weighty buttons ask once more. Everything works without this file.
"use strict";

document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

const busy = () => {
  const main = document.getElementById("main");
  const typed = [...main.querySelectorAll("input:not([type=hidden]), select")].some(
    (field) => field === document.activeElement || (field.tagName === "INPUT" && field.value !== field.defaultValue),
  );
  return document.hidden || typed || main.querySelector("details[open]") || !window.getSelection().isCollapsed;
};

const renew = async () => {
  const main = document.getElementById("main");
  const seconds = Number(main.dataset.refresh);
  if (!seconds) return;
  try {
    if (!busy()) {
      const answer = await fetch(location.pathname + location.search, { headers: { accept: "text/html" }, redirect: "error" });
      if (answer.ok && !busy()) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
        const note = main.querySelector(".note");
        if (note) fresh.querySelectorAll(".note").forEach((one) => one.remove());
        if (fresh.innerHTML !== main.innerHTML) main.replaceChildren(...fresh.childNodes);
        if (fresh.dataset.refresh) main.dataset.refresh = fresh.dataset.refresh;
        else delete main.dataset.refresh;
      }
    }
  } catch {
    // The server is away for a moment; the next round finds it again.
  }
  setTimeout(renew, seconds * 1000);
};

document.addEventListener("DOMContentLoaded", () => {
  const seconds = Number(document.getElementById("main").dataset.refresh);
  if (seconds) setTimeout(renew, seconds * 1000);
});
