// The ways in which answers are written: presets of decoding options, which of them can be turned, and an example.

const DRAWN = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "dry_multiplier"];

export const STRATEGIES = {
  balanced: {options: {temperature: 0.7, top_p: 0.95}, controls: DRAWN},
  greedy: {options: {temperature: 0}, controls: ["repetition_penalty", "no_repeat_ngram_size"]},
  lively: {options: {temperature: 1, min_p: 0.05}, controls: DRAWN},
  fresh: {options: {temperature: 0.7, top_p: 0.95, dry_multiplier: 0.8}, controls: DRAWN},
  mirostat: {options: {temperature: 1, mirostat_tau: 5}, controls: ["mirostat_tau"]},
  beams: {options: {temperature: 0, num_beams: 4}, controls: ["num_beams", "length_penalty", "no_repeat_ngram_size"]},
  contrastive: {options: {temperature: 0, penalty_alpha: 0.6, top_k: 4}, controls: ["penalty_alpha", "top_k"]},
};

// The range of each control, and the value at which it is off and not sent.
export const OPTIONS = {
  temperature: {min: 0.05, max: 2, step: 0.05},
  top_p: {min: 0.05, max: 1, step: 0.05, off: 1},
  top_k: {min: 0, max: 100, step: 1, off: 0},
  min_p: {min: 0, max: 0.5, step: 0.01, off: 0},
  repetition_penalty: {min: 1, max: 2, step: 0.05, off: 1},
  no_repeat_ngram_size: {min: 0, max: 8, step: 1, off: 0},
  dry_multiplier: {min: 0, max: 2, step: 0.1, off: 0},
  mirostat_tau: {min: 0.5, max: 10, step: 0.5},
  num_beams: {min: 2, max: 8, step: 1},
  length_penalty: {min: 0, max: 2, step: 0.1, off: 1},
  penalty_alpha: {min: 0.05, max: 0.95, step: 0.05},
};
const WEIGHED = {min: 1, max: 20, step: 1};  // top-k where it is the candidates of contrastive search

export const rangeOf = (strategy, name) => strategy === "contrastive" && name === "top_k" ? WEIGHED : OPTIONS[name];

export const isDrawn = strategy => STRATEGIES[strategy].controls === DRAWN;
export const isChanceless = options => options.temperature === 0;

// What is sent: every option that is on.
export const given = options =>
  Object.fromEntries(Object.entries(options).filter(([name, value]) => value !== OPTIONS[name]?.off));

export const isPreset = (strategy, options) => {
  const [mine, preset] = [given(options), given(STRATEGIES[strategy].options)];
  return JSON.stringify(Object.entries(mine).sort()) === JSON.stringify(Object.entries(preset).sort());
};

export const SCORES = [3.2, 2.6, 2.1, 1.7, 1.2, 0.8, 0.3, -0.3, -0.9, -1.6];  // of ten words that could come next

// How often each of ten words would be drawn: temperature, top-k, top-p, min-p, in the order in which they work.
export function example(options) {
  const weights = SCORES.map(score => Math.exp((score - SCORES[0]) / (options.temperature ?? 1)));
  let kept = options.top_k || SCORES.length;
  const shares = normal(weights.map((weight, place) => place < kept ? weight : 0));
  let sum = 0;
  kept = shares.findIndex(share => (sum += share) >= (options.top_p ?? 1) - 1e-9) + 1 || kept;
  const least = (options.min_p ?? 0) * normal(shares.map((share, place) => place < kept ? share : 0))[0];
  const cut = normal(shares.map((share, place) => place < kept ? share : 0));
  return normal(cut.map(share => share >= least ? share : 0));
}

function normal(weights) {
  const sum = weights.reduce((all, one) => all + one, 0);
  return weights.map(weight => weight / sum);
}
