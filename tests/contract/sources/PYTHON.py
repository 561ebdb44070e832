import sys

print("grün €")
match sys.argv[1]:
    case "echo":
        print(sys.stdin.read(), *sys.argv[2:], sep="\n")
    case "exit":
        sys.exit(7)
    case "fail":
        raise ValueError("boom")
    case "loop":
        while True:
            pass
    case "eat":
        eaten = []
        while True:
            eaten.append(bytearray(b"x") * 100_000)
    case "flood":
        sys.stdout.write("x" * 1048566)
