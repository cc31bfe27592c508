//! ruad: takes DMARC aggregate reports and answers who sends mail in a domain's name.

fn main() -> std::process::ExitCode {
    server::main(std::env::args_os())
}
