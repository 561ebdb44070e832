use std::io::Read;

fn main() {
    println!("grün €");
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words[0].as_str() {
        "echo" => {
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input).unwrap();
            println!("{}", input);
            for word in &words[1..] {
                println!("{}", word);
            }
        }
        "exit" => std::process::exit(7),
        "fail" => panic!("boom"),
        "loop" => loop {},
        "eat" => {
            let mut eaten = Vec::new();
            loop {
                eaten.push("x".repeat(100000));
            }
        }
        "flood" => print!("{}", "x".repeat(1048566)),
        _ => (),
    }
}
