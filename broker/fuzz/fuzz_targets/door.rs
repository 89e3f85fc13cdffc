//! Fuzzes the bytes of the front door: see `play`.
#![no_main]

#[path = "../play/mod.rs"]
mod play;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

use crate::play::Stage;

/// Inputs after which a new broker takes over: its router never forgets a topic.
const INPUTS_MAX: u32 = 1000;

thread_local! {
    static STAGE: RefCell<(Runtime, Option<Stage>, u32)> = RefCell::new((
        Builder::new_current_thread().enable_all().build().expect("a runtime of one thread"),
        None,
        0,
    ));
}

// A panic anywhere ends the process, also one that the broker would catch: so libFuzzer sets it up.
fuzz_target!(|input: &[u8]| {
    STAGE.with_borrow_mut(|(runtime, stage, inputs)| {
        runtime.block_on(async {
            if *inputs == INPUTS_MAX
                && let Some(stage) = stage.take()
            {
                stage.close().await;
                *inputs = 0;
            }
            let stage = match stage {
                Some(stage) => stage,
                None => stage.insert(Stage::open().await),
            };
            *inputs += 1;
            if let Err(fault) = stage.play(input).await {
                panic!("{fault}");
            }
        });
    });
});
