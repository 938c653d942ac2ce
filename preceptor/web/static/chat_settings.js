// The panel on how answers are written. It changes the settings it is given, and says so.

import {OPTIONS, STRATEGIES, example, isDrawn, isPreset, rangeOf} from "./chat_strategies.js";
import {make} from "./make.js";

const id = name => document.getElementById(name);

// What is new or no longer known is as the presets have it.
export function restored(kept) {
  const strategy = kept.strategy in STRATEGIES ? kept.strategy : "balanced";
  const options = Object.fromEntries(Object.entries(kept.options || {}).filter(([name, value]) => name in OPTIONS && Number.isFinite(value)));
  return {strategy, options: kept.strategy in STRATEGIES ? options : {...STRATEGIES[strategy].options},
          max_tokens: kept.max_tokens || null, seed: kept.seed ?? null, models: kept.models || [], pair: Boolean(kept.pair)};
}

export function panel(settings, t, longest, changed) {
  const strategy = id("strategy");
  strategy.replaceChildren(...Object.keys(STRATEGIES).map(name => make("option", {value: name}, t(`strategies.${name}`))));
  strategy.addEventListener("change", () => choose(strategy.value));
  id("reset").addEventListener("click", () => choose(settings.strategy));
  for (const name of ["max_tokens", "seed"])
    id(name).addEventListener("input", event => {
      settings[name] = event.target.value === "" || !event.target.checkValidity() ? null : Number(event.target.value);
      changed();
    });
  id("max_tokens").placeholder = longest;

  function choose(name) {
    Object.assign(settings, {strategy: name, options: {...STRATEGIES[name].options}});
    changed();
    draw();
  }

  function control(name) {
    const {min, max, step, off} = rangeOf(settings.strategy, name);
    const value = settings.options[name] ?? off;
    const output = make("output", {for: `option-${name}`}, String(value));
    const input = make("input", {type: "range", id: `option-${name}`, min, max, step, value, "aria-describedby": `text-${name}`});
    input.addEventListener("input", () => {
      settings.options[name] = Number(input.value);
      output.textContent = input.value;
      drawExample();
      changed();
    });
    const text = name === "top_k" && settings.strategy === "contrastive" ? "contrast_top_k" : name;
    return make("div", {class: "field"}, make("label", {for: `option-${name}`}, t(`options.${name}`), " ", output), input,
      make("p", {class: "explained", id: `text-${name}`}, t(`options_text.${text}`)));
  }

  function drawExample() {
    id("reset").hidden = isPreset(settings.strategy, settings.options);
    id("example").hidden = !isDrawn(settings.strategy);
    if (!isDrawn(settings.strategy)) return;
    const [after, before] = [example(settings.options), example({})], svg = id("example").querySelector("svg");
    const most = Math.max(...after, ...before);
    svg.setAttribute("aria-label", after.map(share => `${Math.round(100 * share)} %`).join(", "));
    svg.replaceChildren(...after.flatMap((share, place) => share ? [bar(place, share / most, "")] : [bar(place, before[place] / most, "dropped")]));
  }

  function draw() {
    strategy.value = settings.strategy;
    id("strategy-text").textContent = t(`strategies_text.${settings.strategy}`);
    id("controls").replaceChildren(...STRATEGIES[settings.strategy].controls.map(control));
    id("max_tokens").value = settings.max_tokens ?? "";
    id("seed").value = settings.seed ?? "";
    drawExample();
  }
  draw();
}

const HEIGHT = 60;

function bar(place, share, kind) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const height = Math.max(1.5, HEIGHT * share);
  for (const [name, value] of Object.entries({x: 26 * place + 2, y: 62 - height, width: 20, height, rx: 2, class: kind}))
    rect.setAttribute(name, value);
  return rect;
}
