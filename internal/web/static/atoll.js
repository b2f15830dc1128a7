// What pages do without being loaded anew. Everything here works without it,
// too: each part takes over a form or a link that the server answers anyway.
"use strict";
(() => {
  // send posts a form in the background; null means that the page has to do it.
  const send = async (form, button) => {
    const body = new URLSearchParams(new FormData(form, button));
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    const kind = answer.headers.get("Content-Type") || "";
    return answer.ok && kind.startsWith("application/json") ? answer.json() : null;
  };

  // again sends the form as the browser would have, past our own listener.
  const again = (form, button) => {
    form.dataset.plain = "yes";
    form.requestSubmit(button);
  };

  const vote = async (form, button) => {
    let result = null;
    try { result = await send(form, button); } catch { /* the page tells what is wrong */ }
    if (!result) return again(form, button);
    form.querySelector("[data-score]").textContent = result.score;
    for (const b of form.querySelectorAll("button")) b.setAttribute("aria-pressed", String(b.value === result.vote));
    const comment = form.closest(".comment");
    if (comment) comment.querySelector("[data-points]").textContent = result.score + (result.score === 1 ? " point" : " points");
  };

  const more = async (link) => {
    const list = document.querySelector("[data-list]");
    const holder = link.parentElement;
    link.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(link.href);
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const added = page.querySelector("[data-list]");
      let first = null;
      if (added) for (const item of [...added.children]) {
        if (item.id && document.getElementById(item.id)) continue;
        list.append(item);
        first = first || item;
      }
      const next = page.querySelector("a[data-more]");
      let target = first && (first.querySelector(".post-title a") || first.querySelector("summary, a[href]"));
      if (next) {
        link.href = next.href;
        link.removeAttribute("aria-busy");
      } else {
        // Whoever pressed it finds the end in its place, or what came last.
        const end = page.querySelector(".older") || holder.cloneNode();
        end.tabIndex = -1;
        holder.replaceWith(end);
        target = target || end;
      }
      if (target) target.focus({ preventScroll: true });
    } catch { location.href = link.href; }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.plain) { delete form.dataset.plain; return; }
    if ("vote" in form.dataset) {
      event.preventDefault();
      vote(form, event.submitter);
    } else if (form.method === "post") {
      // A second press while the first is on its way does nothing.
      if (form.dataset.sent) { event.preventDefault(); return; }
      form.dataset.sent = "yes";
      addEventListener("pageshow", () => { delete form.dataset.sent; }, { once: true });
    }
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-more]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (!link.hasAttribute("aria-busy")) more(link);
  });

  document.addEventListener("input", (event) => {
    const form = event.target.closest("[data-level]");
    if (form && event.target.type === "range") {
      form.querySelector("[data-words]").textContent = form.querySelector(`option[value="${event.target.value}"]`).dataset.says;
    }
    const writing = event.target.closest("[data-preview]");
    if (writing) preview(writing);
  });

  // A text is shown as it will look, a moment after the typing pauses.
  const waiting = new WeakMap();
  const preview = (form) => {
    clearTimeout(waiting.get(form));
    waiting.set(form, setTimeout(async () => {
      const place = form.querySelector("[data-look]");
      const body = new URLSearchParams();
      for (const name of ["acting", "title", "content"]) if (form.elements[name]) body.set(name, form.elements[name].value);
      try {
        const answer = await fetch("/posts/preview", { method: "POST", body, headers: { Accept: "text/html" } });
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const look = page.querySelector("[data-look]");
        if (look) { place.replaceChildren(...look.childNodes); place.hidden = false; }
      } catch { /* the button that shows it on a page of its own is there */ }
    }, 500));
  };

  // Escape leaves an answer that was begun, and goes back to where it was.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.activeElement && document.activeElement.closest("details.reply[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
})();
