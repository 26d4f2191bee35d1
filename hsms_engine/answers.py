"""The answers of a fake equipment: SML in which a reply may use values of its request.

An answer book is a text of SML messages. Each is the answer to the primary one function below:
``S1F14`` answers ``S1F13``. Values of the request are referred to by position::

    S2F26 $ .                              // loopback: the request's item, whole
    S2F42 <L [2] <B 0> <L <L $*.1 <B 0>> ...$2>> .   // each parameter name with an ack

``docs/sml.md`` has the table of this notation. ``one | other`` makes one book of two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hsms_engine.message import Message
from hsms_engine.sml import SmlError, Template, parse_templates

__all__ = ["LONGEST", "AnswerBook", "AnswersError"]

LONGEST: Final = 4_000_000
"""The longest file of answers that is read, in bytes. A device may have no end."""


class AnswersError(ValueError):
    """An answer book cannot be read. One line: file, line, column, problem."""


class AnswerBook:
    """Answers by stream and function of the request, made by ``load`` or ``parse``. Immutable."""

    __slots__ = ("_answers",)

    # By the (stream, function) of the request.
    _answers: Mapping[tuple[int, int], Template]

    def __init__(self, answers: Mapping[tuple[int, int], Template]) -> None:
        self._answers = MappingProxyType(dict(answers))

    @classmethod
    def load(cls, path: str | PathLike[str], text_encoding: str | None = None) -> AnswerBook:
        """The book in a file.

        The file is UTF-8; ``text_encoding`` is how the text of A in its answers is sent.
        Raises :class:`AnswersError` for text that is no answer book or no UTF-8, and for more than
        ``LONGEST`` bytes; ``OSError`` when the file cannot be read. A pipe is read to its end.
        """
        with Path(path).open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise AnswersError(
                f"{path}: longer than {LONGEST / 1e6:g} MB, the limit of an answer book"
            )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise AnswersError(f"{path}:{line}: not UTF-8: {error.reason}") from None
        return cls.parse(text, str(path), text_encoding)

    @classmethod
    def parse(
        cls, text: str, name: str = "<answers>", text_encoding: str | None = None
    ) -> AnswerBook:
        """The book in ``text``; errors call it ``name``. Raises :class:`AnswersError`.

        ``text_encoding`` is as for ``load``. Raises ``ValueError`` for one that is unfit.
        """
        answers: dict[tuple[int, int], Template] = {}
        try:
            for template in parse_templates(text, text_encoding):
                key = template.stream, template.function - 1
                if key in answers:
                    problem = f"{template.name} is answered twice"
                    raise SmlError.at(problem, text, template.offset)
                answers[key] = template
        except SmlError as error:
            raise AnswersError(f"{name}:{error.line}:{error.column}: {error.problem}") from None
        return cls(answers)

    def answer(self, message: Message) -> Message | None:
        """The reply to a message; ``None`` when it wants none or the book has none.

        When the answer refers to a value that the request does not have, or that cannot be decoded,
        the reply is SxF0 without a body: the transaction is aborted.
        """
        template = self._answers.get((message.stream, message.function))
        if template is None or not message.wait:
            return None
        try:
            return Message.from_template(template, message)
        except (LookupError, ValueError):
            return Message(template.stream, 0)

    def __or__(self, other: AnswerBook) -> AnswerBook:
        """The answers of both books; where both have one, that of ``other``."""
        return AnswerBook({**self._answers, **other._answers})

    def __iter__(self) -> Iterator[str]:
        """The names of the requests that have an answer: ``S1F1``, ``S1F3``, ..."""
        return (f"S{stream}F{function}" for stream, function in self._answers)

    @property
    def streams(self) -> frozenset[int]:
        """The streams of which it answers something."""
        return frozenset(stream for stream, _ in self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __repr__(self) -> str:
        return f"AnswerBook({' '.join(self)})"
