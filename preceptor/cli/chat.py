"""`preceptor chat RUN`: talk with the result of a run in the terminal, or put one question to several of its models."""

import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from preceptor.cli.columns import side_by_side
from preceptor.cli.opinions import RANKINGS, THUMBS, Opinions
from preceptor.cli.policies import POLICIES, policies
from preceptor.data.records import Prompt, Response
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import context_length, load_causal
from preceptor.run.errors import UserError, nearest
from preceptor.tokenizer.chat import fitting, load_tokenizer

COMPARED = ("base", "sft", "ppo_ptx")
LONGEST_ANSWER = 256
LIVELY = 0.7  # sampling temperature of two answers to choose from; greedy ones of one model would be the same
COMMANDS = ("/compare", "/prefer", *RANKINGS, *THUMBS, "/new", "/help", "/quit")
HELP = """/compare  show the answers of several models side by side, or stop doing so
/prefer   show two answers to each question and ask which is better, or stop doing so
/a /b     the left or the right one is better; /same: neither is. It goes into the run's labels
/good     thumb up for the last answer; /bad: thumb down
/new      forget the conversation
/help     show this
/quit     leave (so does the end of the input)"""


def chat(run: Path) -> None:
    """Answer each line of the standard input, until it ends or says /quit. Answers are greedy: asked again, the same.

    Raises:
        UserError: there is no run, or no model in it.
    """
    from transformers.utils.logging import disable_progress_bar
    disable_progress_bar()  # a bar for the loading of weights would stand between question and answer
    found = _policies(run)
    talk = Talk(found, next(iter(found)), Opinions(run))
    print(f"{talk.speaker} of {run} answers. /help shows the commands.")
    for line in _lines():
        if line == "/quit":
            return
        if line.startswith("/"):
            talk.obey(line)
        elif line:
            talk.ask(line)


def _policies(run: Path) -> dict[str, Path]:
    """The model folders of the policies that the run has made so far, the newest first."""
    found = {name: folder / "model" for name, folder in policies(run).items()}
    if not found:
        raise UserError(f"There is no model to talk with in '{run}'.",
                        f"Give the folder of a run with a finished step {', '.join(POLICIES[:-1])} or {POLICIES[-1]}.")
    return found


def _lines() -> Iterator[str]:
    """Lines of the standard input without white space around them; a terminal shows a prompt and can edit the line."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  (gives input() a history and keys to edit with)
    while True:
        try:
            line = input("> ") if sys.stdin.isatty() else sys.stdin.readline()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not line and not sys.stdin.isatty():
            return
        yield line.strip()


@dataclass(slots=True)
class Talk:
    """A conversation with `speaker`; the other models are loaded when they are first compared."""

    folders: dict[str, Path]
    speaker: str
    opinions: Opinions
    messages: list[dict[str, str]] = field(default_factory=list)
    comparing: bool = False
    preferring: bool = False
    decoders: dict[str, LocalDecoder] = field(default_factory=dict)

    def obey(self, command: str) -> None:
        """Carry out a command other than /quit."""
        if command in RANKINGS or command in THUMBS:
            if chosen := self.opinions.give(command):
                self.messages[-1] = {"role": "assistant", "content": chosen.text}
        elif command == "/prefer":
            self.preferring, self.comparing = not self.preferring, False
            print("Each question gets two answers; say which is better: /a, /b or /same." if self.preferring
                  else f"Only {self.speaker} answers.")
        elif command == "/new":
            self.messages, self.opinions.shown = [], ()
            print("The conversation begins anew.")
        elif command == "/compare":
            self.comparing, self.preferring = not self.comparing, False
            print(f"Each question goes to {', '.join(self.compared())}; the conversation goes on with {self.speaker}."
                  if self.comparing else f"Only {self.speaker} answers.")
        elif command == "/help":
            print(HELP)
        else:
            print(f"There is no command {command}. {nearest(command, COMMANDS)}")

    def compared(self) -> list[str]:
        """The models of a comparison that this run has, the speaker last."""
        others = [name for name in COMPARED if name in self.folders and name != self.speaker]
        return [*others, self.speaker]

    def ask(self, question: str) -> None:
        """Put a question, print what is answered, and remember both."""
        self.messages.append({"role": "user", "content": question})
        asked, shown = list(self.messages), []
        if self.preferring:
            shown = self._two_answers()
            print(side_by_side(dict(zip("AB", (one.text for one in shown))), shutil.get_terminal_size().columns))
            answer = shown[0].text
            if answer == shown[1].text:
                print("Both say the same.")
                shown = shown[:1]
        elif self.comparing:
            answers = {name: "".join(self._answer(name)) for name in self.compared()}
            print(side_by_side(answers, shutil.get_terminal_size().columns))
            answer = answers[self.speaker]
        else:
            answer = self._say(self._answer(self.speaker))
        self.opinions.show(asked, shown or [Response(answer, model=self.speaker, sampling={"temperature": 0})])
        self.messages.append({"role": "assistant", "content": answer})

    def _say(self, pieces: Iterator[str]) -> str:
        """Print an answer while it is written; an interrupt ends the answer, not the conversation."""
        said = ""
        print(f"{self.speaker}: ", end="", flush=True)
        try:
            for piece in pieces:
                said += piece
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" (stopped)", end="")
        print()
        return said

    def _two_answers(self) -> list[Response]:
        """An answer of the speaker and one of the policy before it, or two of its own, in random order."""
        others = [name for name in self.folders if name not in (self.speaker, "base")]
        pair = [self.speaker, others[0] if others else self.speaker]
        found = []
        for number, name in enumerate(pair):
            decoder, request = self._request(name, Sampling(temperature=LIVELY), seed=2 * len(self.messages) + number)
            response = decoder.answers([request])[0].response
            found.append(replace(response, text=printable(response.text)))
        random.shuffle(found)
        return found

    def _answer(self, name: str) -> Iterator[str]:
        """The answer of a model in pieces."""
        decoder, request = self._request(name, Sampling(temperature=0), seed=0)
        return map(printable, decoder.stream(request))

    def _request(self, name: str, sampling: Sampling, seed: int) -> tuple[LocalDecoder, Request]:
        """Who answers, and what is asked; says first what of the conversation the model cannot see."""
        decoder = self._decoder(name)
        context = context_length(decoder.model)
        longest = min(LONGEST_ANSWER, context // 2)
        messages, whole = fitting(self.messages, decoder.tokenizer, context - longest)
        if len(messages) < len(self.messages):
            print(f"({name} no longer sees the first {len(self.messages) - len(messages)} messages: its context is "
                  f"{context} tokens. /new begins anew.)")
        if not whole:
            print(f"({name} sees only the last {context - longest} tokens of the question.)")
        return decoder, Request(Prompt(id="chat", messages=messages), replace(sampling, max_tokens=longest), seed)

    def _decoder(self, name: str) -> LocalDecoder:
        if name not in self.decoders:
            folder = self.folders[name]
            self.decoders[name] = LocalDecoder(load_causal(folder), load_tokenizer(folder), name=name)
        return self.decoders[name]


def printable(text: str) -> str:
    """A text without control characters, with which a model could rewrite the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
