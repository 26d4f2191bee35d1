S1F1 W H<->E S1F3 e<-h W
<S1F13 W <L [0]>>
< 'S1F14' <L>> .
S01F01 W
S1 F1 W. S1,F3. 'S1F5 W'. ‘S1F7’. S1_F9_W
S1F1 W Input
S1F1 INPUT OUTPUT
S1F1 W: <L>
S1F1: <L>
S1F1, W
S1F1 W (Are You There) [H] Reply .
S1F2 <A 'two
lines'>
S1F2 <A “typo” ‘graphic’ „text“>
