// While a process works on the run, how far it is gets fetched anew every few seconds.
const place = document.getElementById("run");
const PAUSE = 3000;

async function look() {
  try {
    const answer = await fetch("/rounds/progress", { headers: { accept: "text/html" } });
    if (answer.ok) place.innerHTML = await answer.text();
  } catch { /* the server is away for a moment; the next look may find it */ }
  if (place.querySelector("[data-running]")) setTimeout(look, PAUSE);
}

if (place.querySelector("[data-running]") || location.hash === "#run") setTimeout(look, PAUSE);
