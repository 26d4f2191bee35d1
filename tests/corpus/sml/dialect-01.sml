S1F2 <L 1 <A>>
S1F2 <L(1) <A(1) 'x'>>
S1F2 <A,0>
S1F2 <A,4 text>
S1F2 <A,5 text>
S1F2 <L <A,5 text>>
S1F2 <ASCII [7] a 100 %> .
S1F2 <A,5 12345>
S1F2 <A,2 65 66>
Are You There:'S1F1' W .
'Ask Online': 'S1F17' W .
"Go Online"
S1F17 W .
