"""The S6F11 of 242 B that the benchmarks build: three reports of ten values."""

from __future__ import annotations

from hsms_engine.secs2 import BOOLEAN, F4, F8, I4, U1, U2, U4, A, B, Item, L


def our_event() -> Item:
    return L(
        U4(1),
        U4(4711),
        L(
            *[
                L(
                    U4(1000 + report),
                    L(
                        A("LOT-0815"),
                        U4(70_000 + report),
                        F8(21.5),
                        BOOLEAN(True),
                        U1(3),
                        A("RECIPE-A"),
                        I4(-7),
                        F4(0.25),
                        U2(512),
                        B(b"\x01\x02"),
                    ),
                )
                for report in range(3)
            ]
        ),
    )
