print("grün €")
local mode = arg[1]
if mode == "echo" then
  print(io.read("a"))
  for n = 2, #arg do print(arg[n]) end
elseif mode == "exit" then
  os.exit(7)
elseif mode == "fail" then
  error("boom")
elseif mode == "loop" then
  while true do end
elseif mode == "eat" then
  local eaten = {}
  while true do eaten[#eaten + 1] = string.rep("x", 100000) .. #eaten end
elseif mode == "flood" then
  io.write(string.rep("x", 1048566))
end
