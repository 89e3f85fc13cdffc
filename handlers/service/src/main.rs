//! The binary `statecast`; all of it is in the library, from the command line on.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    statecast_service::cli::main()
}
