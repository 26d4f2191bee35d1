S1F1 <A 'x
'>