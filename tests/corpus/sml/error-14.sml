S1F1 <L
  <A