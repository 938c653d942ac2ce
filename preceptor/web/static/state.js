// What a labeler has filled in, and what each action makes of it. Pure: no action changes the state it is given.
//
//   ranks, scores, flags, comments, corrections   by answer (its number in the item, as text)
//   promptFlags   names
//   step          "judge" or "rank"
//   focus         the chosen answer, as a place in the order shown

export function empty(order) {
  const each = make => Object.fromEntries(order.map(index => [index, make()]));
  return {ranks: {}, scores: each(() => ({})), flags: each(() => []), comments: each(() => ""),
          corrections: each(() => ""), promptFlags: [], step: "judge", focus: 0};
}

export function restored(order, draft) {
  const state = empty(order);
  if (!draft) return state;
  for (const name of ["ranks", "scores", "flags", "comments", "corrections"])
    state[name] = {...state[name], ...(draft[name] || {})};
  return {...state, promptFlags: draft.promptFlags || [], step: draft.step === "rank" ? "rank" : "judge"};
}

const toggled = (list, name) => list.includes(name) ? list.filter(one => one !== name) : [...list, name];
const nextFrom = (order, place, wanted) => {
  for (let ahead = 1; ahead <= order.length; ahead++) {
    const there = (place + ahead) % order.length;
    if (wanted(order[there])) return there;
  }
  return -1;
};

// Actions: {do: name, ...}. `order` is the order in which the answers are shown.
export function after(state, action, order) {
  const chosen = order[state.focus];
  switch (action.do) {
    case "focus": return {...state, focus: action.place};
    case "move": return {...state, focus: Math.min(order.length - 1, Math.max(0, state.focus + action.by))};
    case "step": return {...state, step: action.step};
    case "flag": return {...state, flags: {...state.flags, [chosen]: toggled(state.flags[chosen], action.name)}};
    case "promptFlag": return {...state, promptFlags: toggled(state.promptFlags, action.name)};
    case "note": return {...state, [action.field]: {...state[action.field], [chosen]: action.text}};
    case "score": return scored(state, action, order, chosen);
    case "rank": return ranked(state, order, action.answer ?? chosen, action.rank, action.stay);
    case "nudge": {
      const rank = (state.ranks[chosen] || (action.by > 0 ? 0 : order.length + 1)) + action.by;
      return ranked(state, order, chosen, Math.min(order.length, Math.max(1, rank)), true);
    }
    default: throw new Error(`no action ${action.do}`);
  }
}

// The overall score is the last thing said of an answer: the next one without a score comes into focus, and after the
// last one the ranking begins.
function scored(state, action, order, chosen) {
  const scores = {...state.scores, [chosen]: {...state.scores[chosen], [action.axis]: action.value}};
  const said = {...state, scores};
  if (action.axis !== "overall" || action.stay) return said;
  const next = nextFrom(order, state.focus, index => scores[index].overall === undefined);
  if (next >= 0) return {...said, focus: next};
  const unranked = nextFrom(order, order.length - 1, index => !said.ranks[index]);
  return {...said, step: "rank", focus: unranked >= 0 ? unranked : state.focus};
}

// Rank 0 takes an answer out of the ranking.
function ranked(state, order, answer, rank, stay) {
  const ranks = {...state.ranks};
  if (rank) ranks[answer] = rank; else delete ranks[answer];
  const next = rank && !stay ? nextFrom(order, state.focus, index => !ranks[index]) : -1;
  return {...state, step: "rank", ranks, focus: next >= 0 ? next : state.focus};
}

// Groups of answers, the best first; ranks may be left free in between.
export function groups(state) {
  const by = new Map();
  for (const [answer, rank] of Object.entries(state.ranks)) by.set(rank, [...(by.get(rank) || []), Number(answer)]);
  return [...by.keys()].sort((a, b) => a - b).map(rank => by.get(rank).sort((a, b) => a - b));
}

export const complete = (state, order) => order.every(index => state.ranks[index]);

// The first pair whose ranks say the reverse of its overall scores.
export function contradiction(state, order) {
  for (const better of order) for (const worse of order) {
    const [a, b] = [state.scores[better].overall, state.scores[worse].overall];
    if (state.ranks[better] && state.ranks[better] < state.ranks[worse] && a < b) return [better, worse];
  }
  return null;
}

// What the server is sent: lists in the item's own order.
export function judgement(state, order, seconds) {
  const indices = [...order].sort((a, b) => a - b);
  const corrections = Object.fromEntries(Object.entries(state.corrections).filter(([, text]) => text.trim()));
  return {ranking: groups(state), scores: indices.map(index => state.scores[index]),
          flags: indices.map(index => state.flags[index]), comments: indices.map(index => state.comments[index].trim()),
          corrections, prompt_flags: state.promptFlags, seconds};
}
