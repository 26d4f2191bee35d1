// What the fake equipment answers. Copy this file, change it, and give it with --answers.
//
// One message for each answer: S1F14 is the answer to S1F13. An answer may use values of the
// request it answers:
//
//   $            the item of the request, whole
//   $2.1         the first item of its second item (counted from 1)
//   <item> ...   the item before the dots, once for each item of the request's list
//   <item> ...$2 the same for the list $2 of the request
//   $*  $*.1     inside a repeated item: the item it is repeated for, and the first of that
//
// A request that does not have what its answer uses is aborted with SxF0. A primary that has no
// answer here is echoed.

// Are you there: model name and software revision.
S1F2 <L [2] <A "hsms-engine"> <A "1.0">> .

// Selected status: a value for each id asked for.
S1F4 <L <U4 0> ...> .

// Names of status variables: id, name, units.
S1F12 <L <L [3] $* <A ""> <A "">> ...> .

// Establish communication: accepted.
S1F14 <L [2] <B 0> <L [2] <A "hsms-engine"> <A "1.0">>> .

// Off-line and on-line: accepted.
S1F16 <B 0> .
S1F18 <B 0> .

// Equipment constants: a value for each id asked for; new values are accepted.
S2F14 <L <U4 0> ...> .
S2F16 <B 0> .

// Date and time: always the same, so that runs can be compared. Setting it is accepted.
S2F18 <A "2000010100000000"> .
S2F32 <B 0> .

// Loopback.
S2F26 $ .

// Reports defined, linked to events, events enabled.
S2F34 <B 0> .
S2F36 <B 0> .
S2F38 <B 0> .

// Remote command: carried out, no parameter at fault.
S2F42 <L [2] <B 0> <L [0]>> .

// Alarm enabled or disabled.
S5F4 <B 0> .

// Terminal display.
S10F4 <B 0> .
