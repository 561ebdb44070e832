puts "grün €"
mode, *rest = ARGV
case mode
when "echo" then puts $stdin.read, rest
when "exit" then exit 7
when "fail" then raise "boom"
when "loop" then loop { 1 }
when "eat"
  eaten = []
  loop { eaten << "x" * 100_000 }
when "flood" then print "x" * 1_048_566
end
