"""All rules in their order: what becomes of one document, and why."""

from dataclasses import replace

from preceptor.data.cleaning.boilerplate import mostly_boilerplate, without_boilerplate
from preceptor.data.cleaning.chinese import poor_chinese, script_of
from preceptor.data.cleaning.contamination import EvaluationIndex
from preceptor.data.cleaning.duplicates import Memory, key_of
from preceptor.data.cleaning.gopher import poor_quality, repetitive
from preceptor.data.cleaning.language import foreign, language_of
from preceptor.data.cleaning.options import CleaningOptions
from preceptor.data.cleaning.personal import masked
from preceptor.data.cleaning.repair import broken, repaired
from preceptor.data.cleaning.verdict import Decision, Drop
from preceptor.data.cleaning.web_prose import c4, fineweb
from preceptor.data.cleaning.words import counted_words
from preceptor.data.records import Document

EXCERPT = 400


class Cleaner:
    """Cleans documents one after the other; it remembers those it kept, for duplicates."""

    def __init__(self, options: CleaningOptions) -> None:
        self.options = options
        self.memory = Memory(options.duplicates)
        wanted = options.contamination.on and options.contamination.against
        self.evaluation = EvaluationIndex(options.contamination) if wanted else None

    def clean(self, document: Document) -> tuple[Document | None, Decision]:
        """The document as it is kept, or None; and what was decided."""
        decision = Decision(document.id, document.source, bytes=len(document.text.encode("utf-8", "surrogatepass")))
        text = self._changed(document.text, decision)
        if decision.drop is None:
            text = self._judged(text, decision)
        decision.excerpt = text[:EXCERPT] or decision.excerpt
        if decision.drop is not None:
            return None, decision
        if self.options.duplicates.on:
            self.memory.remember(document.id, text, decision.key)
        return replace(document, text=text, language=decision.language or document.language), decision

    def _changed(self, text: str, decision: Decision) -> str:
        """Repair, masks and lines: rules that change a text, or drop what they leave nothing of."""
        options = self.options
        if options.repair.on:
            text, changes = repaired(text, self._shown)
            decision.changes += changes
            decision.drop = broken(text, options.repair)
        if options.personal.on:
            text, changes = masked(text, options.personal)
            decision.changes += changes
        decision.excerpt = text[:EXCERPT]
        if options.boilerplate.on:
            before = text
            text, changes = without_boilerplate(before, options.boilerplate)
            decision.changes += changes
            decision.drop = decision.drop or mostly_boilerplate(before, text, options.boilerplate)
        if not text.strip():
            decision.drop = decision.drop or Drop("repair: empty", 0, 0)
        return text

    def _shown(self, text: str) -> str:
        """What decisions may show of a text: no personal data that is to be masked."""
        return masked(text, self.options.personal)[0] if self.options.personal.on else text

    def _judged(self, text: str, decision: Decision) -> str:
        """Rules that say whether the text stays, then those that compare it with others."""
        options = self.options
        if options.language.on:
            decision.language, score = language_of(text)
            decision.drop = foreign(decision.language, score, options.language)
        language = decision.language or "en"
        if language == "zh":
            decision.script, _ = script_of(text)
        if decision.drop is None and options.c4.on:
            text, changes, decision.drop = c4(text, language, options.c4)
            decision.changes += changes
        if decision.drop is None:
            decision.drop = self._quality(text, language)
        if decision.drop is None and self.evaluation:
            decision.drop = self.evaluation.contaminated(text)
        if decision.drop is None and options.duplicates.on:
            decision.key = key_of(text)
            decision.drop = self.memory.duplicate(text, decision.key)
        if decision.drop is None and options.duplicates.on:
            text, changes = self.memory.without_said_before(text)
            decision.changes += changes
            if changes:  # what is left may be a scrap
                decision.drop = self._quality(text, language)
        return text

    def _quality(self, text: str, language: str) -> Drop | None:
        options = self.options
        words = counted_words(text, language)
        drop = None
        if options.gopher.on:
            drop = poor_quality(text, words, language, options.gopher)
        if drop is None and options.repetition.on:
            drop = repetitive(text, words, language, options.repetition)
        if drop is None and options.fineweb.on:
            drop = fineweb(text, words, language, options.fineweb)
        if drop is None and options.chinese.on and language == "zh":
            drop = poor_chinese(text, options.chinese)
        return drop
