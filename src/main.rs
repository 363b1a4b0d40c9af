//! The `onefold` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    onefold::cli::main(onefold::engine::ALL)
}
