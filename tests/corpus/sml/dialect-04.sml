S1F2 <B 80 0A4h '5'>
S1F2 <B 0A 0xFF>
S1F2 <LIST <ASCII 'a'> <JIS-8 'b'> <JIS8 'c'> <BINARY 1> <BI 2> <BOOL T> <TF F>>
S1F2 <L <UINT1 1> <UINT2 1> <UI4 1> <uint8 1> <INT1 1> <INT2 1> <INT4 1> <INT8 1>>
S1F2 <L <FLOAT4 1> <FLOAT8 2> <FT4 /**/ 3>>
* one
S1F1 W . * two
#define X 5

; one
 -- two
S1F2 <L
<A> * three
> .
S1F2 <V> .
S1F2 = ack OUTPUT <L [1] <A [MAX 32]> = Mdln> .
S1F2 <L = report <A = Mdln> <L [1] = 'more of it' <A>>> = x
S1F13W
S1F1 W H->E . S1F3 E -> H .
