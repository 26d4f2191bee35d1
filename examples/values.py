"""How do I get a value out of an item?"""

from hsms_engine import Message
from hsms_engine.secs2 import U4, A, B, Item, L, Numeric

reply = Message.parse("""
    S1F14 <L [2] <B 0> <L [2] <A "ETCHER"> <A "7.1">>> .
""")
event = Message.parse("""
    S6F11 W <L [3] <U4 1> <U2 4010> <L [1]
      <L [2] <U4 7> <L [3] <A "W-12"> <F4 21.5> <U2 3 4 5>>>
    >> .
""")

# By shape: whatever comes in another one is not taken for this.
match reply.item:
    case [B(code), [A(model), A(version)]]:
        print("by shape:", code == b"\x00", model, version)
    case other:
        print("not as E5 says:", other)


# A type that differs from tool to tool: Numeric stands for U1 to U8, I1 to I8, F4, F8.
def values_of(report: Item) -> list[object]:
    match report:
        case [Numeric(_), L() as values]:
            return [each.to_python() for each in values]
        case _:
            return []


match event.item:
    case [_, Numeric(ceid), L() as reports]:
        print("event:", ceid, *map(values_of, reports))

# By position: an index gives the item, `value` its only value, `values` all of them.
assert isinstance(event.item, L)
print("by position:", event.item[1], event.item.to_python()[2][0][1][0])
numbers = U4(3, 4, 5)
print("numbers:", U4(7).value, list(numbers.values), numbers[0], len(numbers), sum(numbers))

# As plain Python: lists, str, bytes, numbers. What type they had is forgotten.
print("plain:", event.item.to_python())
