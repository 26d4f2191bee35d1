S1F2 <A[1] ''> .
S1F2 <L [3] <A [0] 'x'>>
S1F2 <U4 [2] 1>
S1F2 <A [2] 0x0D>
S1F2 <L [...] <A [] 'x'> <A [n] 'y'> <A [*] 'z'>>
S1F2 <A [MAX 32] 'x'>
S1F2 <A [MAX 1] 'xy'>
S1F2 <A [MIN 1] 'xy'>
S1F2 <A [1-3] /**/ 'xy'>
S1F2 <L [2/1] <A>>
S1F2 <L,2 <A,1 'x'> <U1,1 5>>
S1F2 <L, 2, <A>, <A>>
