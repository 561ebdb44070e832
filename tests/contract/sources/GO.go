package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	fmt.Println("grün €")
	switch os.Args[1] {
	case "echo":
		input, _ := io.ReadAll(os.Stdin)
		fmt.Println(strings.Join(append([]string{string(input)}, os.Args[2:]...), "\n"))
	case "exit":
		os.Exit(7)
	case "fail":
		panic("boom")
	case "loop":
		for {
		}
	case "eat":
		eaten := [][]byte{}
		for {
			eaten = append(eaten, []byte(strings.Repeat("x", 100000)))
		}
	case "flood":
		fmt.Print(strings.Repeat("x", 1048566))
	}
}
