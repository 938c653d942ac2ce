// Two switches. What they choose stands in the address (#zh-dark), so that a link keeps it; without scripts the page is
// English and follows the colours of the system.
(function () {
  const root = document.documentElement;
  const wish = location.hash.slice(1).split("-");
  const dark = () => root.style.colorScheme
    ? root.style.colorScheme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

  function speak(language) { root.lang = language === "zh" ? "zh-CN" : "en"; }
  function paint(scheme) { root.style.colorScheme = scheme; }

  if (wish.includes("zh") || (!wish.includes("en") && navigator.language.startsWith("zh"))) speak("zh");
  if (wish.includes("dark")) paint("dark");
  if (wish.includes("light")) paint("light");

  document.getElementById("language").addEventListener("click", () => speak(root.lang === "en" ? "zh" : "en"));
  document.getElementById("colours").addEventListener("click", () => paint(dark() ? "light" : "dark"));
})();
