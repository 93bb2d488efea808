// Keeps a page up to date and asks before something moves; without it every page works the same, by reloading and on pages of their own.
"use strict";
(() => {
  const LEAST_MS = 700, LOST_MS = 2000, LONGEST_MS = 30000;
  const place = document.getElementById("live");
  const said = document.getElementById("said");
  const offline = document.getElementById("offline");

  // Makes what is there equal to what came, and keeps each element that is in both: focus, selection and scrolling stay where they are.
  const key = node => node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "";
  const alike = (one, other) => one.nodeName === other.nodeName && key(one) === key(other);

  function setAttributes(old, fresh) {
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) {
      // What a person opened stays open.
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
  }

  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    setAttributes(old, fresh);
    const wanted = [...fresh.childNodes];
    const keys = new Set(wanted.map(key));
    const kept = new Map();
    for (const child of [...old.childNodes]) {
      if (!key(child)) continue;
      if (keys.has(key(child))) kept.set(key(child), child);
      else child.remove();
    }
    let at = old.firstChild;
    for (const want of wanted) {
      const found = key(want) ? kept.get(key(want)) : at && alike(at, want) ? at : null;
      if (!found || found.nodeName !== want.nodeName) {
        old.insertBefore(want, at);
        continue;
      }
      if (found === at) at = at.nextSibling;
      else old.insertBefore(found, at);
      become(found, want);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    if (!fresh) return false;
    const focused = document.activeElement;
    const was = place.dataset.said;
    become(place, fresh);
    if (place.dataset.said && place.dataset.said !== was) said.textContent = place.dataset.said;
    if (focused && focused !== document.body && !focused.isConnected) document.getElementById("actions")?.focus();
    return true;
  }

  const pause = ms => new Promise(done => setTimeout(done, ms));
  const seen = () => new Promise(done => {
    if (!document.hidden) return done();
    document.addEventListener("visibilitychange", () => done(), { once: true });
  });

  async function look() {
    const answer = await fetch(place.dataset.live, { cache: "no-store", redirect: "manual", headers: { "X-Edgewise-Live": "1" } });
    if (answer.status === 401) {
      offline.querySelector("span").textContent = "You are logged out. ";
      offline.hidden = false;
      return false;
    }
    if (!answer.ok || !show(await answer.text())) throw new Error("not an update");
    return true;
  }

  async function follow() {
    let failed = 0;
    for (;;) {
      await seen();
      const began = performance.now();
      let wait = Number(place.dataset.every || 0) * 1000;
      try {
        if (!await look()) return;
        failed = 0;
        offline.hidden = true;
      } catch {
        failed += 1;
        offline.hidden = failed < 2;
        wait = Math.min(LOST_MS * 2 ** (failed - 1), LONGEST_MS) * (0.5 + Math.random() / 2);
      }
      await pause(Math.max(wait, LEAST_MS - (performance.now() - began)));
    }
  }
  if (place?.dataset.live) pause(Number(place.dataset.every || 0) * 1000).then(follow);

  // A question in place, where there is one on a page of its own.
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "question");
  document.body.append(dialog);
  let opener = "";
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    (document.getElementById(opener) ?? document.getElementById("actions"))?.focus();
  });

  async function ask(link) {
    const answer = await fetch(link.href, { cache: "no-store", redirect: "manual" });
    const form = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("form.confirm");
    if (!form) throw new Error("no question");
    opener = link.id;
    dialog.replaceChildren(form);
    dialog.showModal();
    form.querySelector("[autofocus]")?.focus();
  }

  document.addEventListener("click", event => {
    const link = event.target.closest("a");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.hasAttribute("data-ask")) {
      event.preventDefault();
      ask(link).catch(() => location.assign(link.href));
    } else if (link.hasAttribute("data-cancel") && dialog.contains(link)) {
      event.preventDefault();
      dialog.close();
    }
  });

  // A form that is sent twice would be answered with what went wrong the second time.
  document.addEventListener("submit", event => {
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
  });
  window.addEventListener("pageshow", event => {
    if (event.persisted) for (const form of document.forms) delete form.dataset.sent;
  });
})();
