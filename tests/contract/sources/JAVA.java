import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

public class Contract {
    public static void main(String[] words) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        out.println("grün €");
        switch (words[0]) {
            case "echo" -> {
                out.println(new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
                for (int n = 1; n < words.length; n++) out.println(words[n]);
            }
            case "exit" -> System.exit(7);
            case "fail" -> throw new IllegalStateException("boom");
            case "loop" -> { for (;;); }
            case "eat" -> {
                List<byte[]> eaten = new ArrayList<>();
                for (;;) {
                    byte[] more = new byte[100_000];
                    java.util.Arrays.fill(more, (byte) 'x');
                    eaten.add(more);
                }
            }
            case "flood" -> out.print("x".repeat(1_048_566));
        }
    }
}
