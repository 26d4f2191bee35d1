"""Fuzz the SML parsers: ``python tests/fuzz_sml.py tests/corpus/sml`` (libFuzzer's options apply).

Any text is messages, or answers, or an ``SmlError``; messages that were read are printed so that
they are read back as the same. The lenient reader has problems in place of errors, and reads what
the strict one does as the same.
"""

import sys

import atheris

with atheris.instrument_imports(include=["hsms_engine"]):
    from hsms_engine.answers import AnswerBook, AnswersError
    from hsms_engine.message import Message
    from hsms_engine.sml import SmlError, load, parse, to_sml


def one_input(data: bytes) -> None:
    # With lone surrogates for what is not UTF-8: a str may hold them.
    text = data.decode("utf-8", "surrogateescape")
    try:
        book = AnswerBook.parse(text)
    except AnswersError as error:
        if "\n" in str(error):
            raise AssertionError(f"not one line: {error}") from error
    else:
        for name in book:
            book.answer(Message.parse(f"{name} W <L <A 'x'> <L <U4 1 2> <L>>> ."))
    for escapes in (False, True):
        library = load(text, escapes=escapes)
        [*map(str, library.problems), *map(str, library.notes)]
        statements = list(library.messages)
        printed = "\n".join(map(to_sml, statements))
        if parse(printed) != statements:
            raise AssertionError(f"{text!r} was printed as {printed!r}, which is something else")
    try:
        strict = parse(text)
    except SmlError as error:
        str(error)
        return
    for encoding in ("gbk", "cp932", "utf-8"):
        printed = "\n".join(to_sml(each, encoding) for each in strict)
        if parse(printed, encoding) != strict:
            raise AssertionError(f"{text!r} was printed as {printed!r} ({encoding})")
    # Without it, two digits of a byte may be a problem.
    lenient = load(text, binary="decimal")
    # For the lenient reader a comment ends with its line, however that ends.
    has_other_ends = len(text.replace("\n", "").splitlines()) > 1
    if not has_other_ends and (lenient.problems or list(lenient.messages) != strict):
        raise AssertionError(f"{text!r} is {lenient!r}, and not {strict!r}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
