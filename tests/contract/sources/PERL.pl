use strict;
use warnings;

print "grün €\n";
my ($mode, @rest) = @ARGV;
if ($mode eq "echo") { print join("\n", join("", <STDIN>), @rest), "\n" }
exit 7 if $mode eq "exit";
die "boom" if $mode eq "fail";
1 while $mode eq "loop";
if ($mode eq "eat") { my @eaten; push @eaten, "x" x 100_000 while 1 }
print "x" x 1048566 if $mode eq "flood";
