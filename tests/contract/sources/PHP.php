<?php
echo "grün €\n";
$rest = array_slice($argv, 2);
switch ($argv[1]) {
    case "echo":
        echo implode("\n", [stream_get_contents(STDIN), ...$rest]), "\n";
        break;
    case "exit":
        exit(7);
    case "fail":
        throw new Exception("boom");
    case "loop":
        while (true);
    case "eat":
        for ($eaten = []; ; ) $eaten[] = str_repeat("x", 100000);
    case "flood":
        echo str_repeat("x", 1048566);
}
