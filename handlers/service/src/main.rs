//! The binary `statecast`; all of it is in the library, from the command line on.

use std::process::ExitCode;

fn main() -> ExitCode {
    statecast_service::cli::main()
}
