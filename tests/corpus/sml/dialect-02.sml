“Go Online”

"S1F17" W .
Go (on/off) v1.2-b: S1F17 W
Time: of day: S2F17 W
'a:b': S1F1
Operator's choice: S1F1
%1 (go): S1F1
go on /* now */: S1F1
'go' on: S1F1
“go” : S1F1
S1F1 Are You There: S1F1 W
S1F1 W
W: S1F3 W
S1F1 INPUT: S1F3
