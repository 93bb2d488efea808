// Labels by keys, and has the next sample at hand before it is wanted; without it every form and link of the page works the same.
"use strict";
(() => {
  const place = document.getElementById("labelling");
  if (!place) return;
  const said = document.getElementById("said");
  const wrong = document.getElementById("wrong");
  const keys = document.getElementById("keys");
  const MARK = { "X-Edgewise-Live": "1" };
  let busy = false;
  let coming = null;

  const link = id => document.getElementById(id)?.href ?? "";

  async function page(url) {
    const answer = await fetch(url, { cache: "no-store", redirect: "manual", headers: MARK });
    if (!answer.ok) throw new Error(answer.status === 401 ? "You are logged out. Load the page again to log in." : "The next sample cannot be shown.");
    const sample = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("sample");
    if (!sample) throw new Error("The next sample cannot be shown.");
    return document.adoptNode(sample);
  }

  // The next one and its picture are fetched while this one is looked at.
  function fetchNext() {
    const next = document.getElementById("next");
    if (!next) return;
    const picture = new Image();
    picture.src = next.dataset.picture;
    coming = { url: next.href, page: page(next.href), picture };
    coming.page.catch(() => {});
  }

  function problem(error) {
    // What went well before is no news any more.
    said.textContent = "";
    wrong.querySelector("span").textContent = error.message;
    wrong.hidden = false;
  }

  // Who has the focus on a button keeps it on the one that does the same; a text that was typed is done with, unless it was not taken.
  function same(held) {
    if (held.id === "new" || held.id === "give-new") {
      const typed = document.getElementById("new");
      return typed?.value ? typed : null;
    }
    if (held.name === "label") return [...place.querySelectorAll("button[name=label]")].find(one => one.value === held.value) ?? null;
    return document.getElementById(held.id);
  }

  function show(sample) {
    const held = document.activeElement;
    const inside = place.contains(held);
    place.replaceChildren(sample);
    document.title = document.title.replace(/^.*?(?= · )/, sample.dataset.title);
    const here = document.querySelector(".crumbs [aria-current]");
    if (here) here.textContent = sample.dataset.title.slice(-8);
    if (inside) (same(held) ?? sample).focus({ preventScroll: true });
  }

  async function go(url, words) {
    const absolute = new URL(url, location.href).href;
    const sample = await (coming?.url === absolute ? coming.page : page(absolute));
    show(sample);
    history.replaceState(null, "", absolute);
    wrong.hidden = true;
    const name = sample.querySelector("h1").textContent;
    said.textContent = `${words} ${name}, ${sample.querySelector("img")?.alt ?? "numbers, no picture"}`.trim();
    coming = null;
    fetchNext();
  }

  // What is pressed while the last label is on its way would be meant for a picture that nobody has seen.
  async function doing(work) {
    if (busy) return;
    busy = true;
    place.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      problem(error instanceof TypeError ? new Error("The hub does not answer. Nothing was changed; try again.") : error);
    } finally {
      busy = false;
      place.removeAttribute("aria-busy");
    }
  }

  async function send(form, submitter) {
    const body = new URLSearchParams(new FormData(form, submitter));
    const answer = await fetch(form.action, { method: "POST", body, cache: "no-store", redirect: "manual", headers: MARK });
    if (answer.status === 401) throw new Error("You are logged out. Load the page again to log in.");
    if (!answer.ok) {
      const told = new DOMParser().parseFromString(await answer.text(), "text/html");
      const text = told.querySelector("main [role=alert].sentence, main .sentence");
      // Somebody else labelled it meanwhile: as it is now.
      const now = told.getElementById("sample");
      if (now) show(document.adoptNode(now));
      throw new Error(text?.textContent || "The hub did not do that.");
    }
    const { to, said: words } = await answer.json();
    // The page that was fetched before knows nothing of a label that was new, nor of what was taken back.
    if (submitter?.name !== "label" || coming?.url !== new URL(to, location.href).href) coming = null;
    await go(to, words);
  }

  place.addEventListener("submit", event => {
    event.preventDefault();
    event.stopPropagation();
    doing(() => send(event.target, event.submitter));
  });

  const plain = event => !event.button && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  place.addEventListener("click", event => {
    const to = event.target.closest("a[rel]");
    if (!to || !plain(event)) return;
    event.preventDefault();
    doing(() => go(to.href, ""));
  });

  function wanted(event) {
    const held = event.target;
    if (held.closest("input:not([type=checkbox]), select, textarea, dialog")) return null;
    if (event.key === " " && held.closest("button, a, input, summary")) return null;
    if (event.key === "ArrowRight" || event.key === " ") return document.getElementById("next");
    if (event.key === "ArrowLeft") return document.getElementById("previous");
    if (event.repeat) return null;
    if (event.key === "u") return document.getElementById("undo");
    return /^[1-9]$/.test(event.key) ? place.querySelector(`[data-key="${event.key}"]`) : null;
  }

  document.addEventListener("keydown", event => {
    // Behind a question nothing is labelled.
    if (!keys.checked || event.defaultPrevented || !plain(event) || document.querySelector("dialog[open]")) return;
    const meant = wanted(event);
    if (meant) {
      event.preventDefault();
      meant.click();
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      said.textContent = event.key === "ArrowRight" ? "This is the last one." : "This is the first one.";
    }
  });

  keys.checked = localStorage.getItem("edgewise-keys") !== "off";
  keys.addEventListener("change", () => localStorage.setItem("edgewise-keys", keys.checked ? "on" : "off"));
  document.getElementById("key-help").hidden = false;
  fetchNext();
})();
