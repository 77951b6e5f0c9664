// Refreshes lists while the person is not typing, and asks before important actions. Pages work without this file.
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

const refresh = async () => {
  const main = document.getElementById("main");
  const seconds = Number(main.dataset.refresh);
  if (!seconds) return;
  try {
    if (!busy()) {
      const response = await fetch(location.pathname + location.search, { headers: { accept: "text/html" }, redirect: "error" });
      if (response.ok && !busy()) {
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("main");
        const note = main.querySelector(".note");
        if (note) fresh.querySelectorAll(".note").forEach((repeated) => repeated.remove());
        if (fresh.innerHTML !== main.innerHTML) main.replaceChildren(...fresh.childNodes);
        if (fresh.dataset.refresh) main.dataset.refresh = fresh.dataset.refresh;
        else delete main.dataset.refresh;
      }
    }
  } catch {
    // The server is not reachable; the next refresh tries again.
  }
  setTimeout(refresh, seconds * 1000);
};

document.addEventListener("DOMContentLoaded", () => {
  const zone = document.querySelector("form[action='/sign-in'] input[name=zone]");
  if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  const seconds = Number(document.getElementById("main").dataset.refresh);
  if (seconds) setTimeout(refresh, seconds * 1000);
});
