"""Which file and which class a Java program means."""

import pytest

from app.domain.language import Sources
from app.languages._java_names import file_name, main_class

MAIN = "public static void main(String[] a) { }"


@pytest.mark.parametrize(
    ("text", "file", "started"),
    [
        ("", None, "Main"),
        (f"public class Foo {{ {MAIN} }}", "Foo.java", "Foo"),
        (f"package a.b;\npublic final class Foo {{ {MAIN} }}", "Foo.java", "a.b.Foo"),
        (f"@Deprecated public class Foo {{ {MAIN} }}", "Foo.java", "Foo"),
        (f'@Named("{{") public class Foo {{ {MAIN} }}', "Foo.java", "Foo"),
        (f"class A {{ }}\npublic record Foo(int x) {{ {MAIN} }}", "Foo.java", "Foo"),
        (f"/*\npackage p;\npublic class No {{}}\n*/ class Main {{ {MAIN} }}", None, "Main"),
        (f"// public class No {{\npublic class Foo {{ {MAIN} }}", "Foo.java", "Foo"),
        (f'class A {{ String s = "/*"; }} public class Foo {{ {MAIN} }}', "Foo.java", "Foo"),
        (f"class A {{ char c = '\"'; }} public class Foo {{ {MAIN} }}", "Foo.java", "Foo"),
        (f'class A {{ String s = """\n}}public class No {{"""; {MAIN} }}', None, "A"),
        (f"class Main {{\n public class Inner {{}}\n {MAIN} }}", None, "Main"),
        (f"class Helper {{ }} class Solution {{ {MAIN} }}", None, "Solution"),
        ("import java.util.*;\nvoid main() { }", None, "Main"),
        (f"public class Größe {{ {MAIN} }}", "Größe.java", "Größe"),
        (f"public class {'x' * 300} {{ {MAIN} }}", None, "x" * 300),
        ("public class Broken {", "Broken.java", "Broken"),
        ("}}} public class Broken {", "Broken.java", "Broken"),
    ],
)
def test_a_file_is_called_like_its_public_class(text: str, file: str | None, started: str) -> None:
    assert file_name(text) == file
    sources = Sources(entry=f"/box/{file or 'Main.java'}", paths=(), text=text)
    assert main_class(sources) == started


@pytest.mark.timeout(20)  # quadratic ones took minutes, in which nobody else was served
@pytest.mark.parametrize(
    "piece",
    ["\n", " ", "/*", '"', '"""', "'", "\\", '"\\\n', "{", "}", "public ", "class ", "package a",
     "public class A", "class A{", "void main", "package ", "//", "*/", ";"],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (2**18 // len(piece))
    file_name(text)
    main_class(Sources(entry="/box/Main.java", paths=(), text=text))
