//! What fuzzing has collected is played again: see `fuzz/`.

#[path = "../../fuzz/play/mod.rs"]
mod play;

use std::fs;
use std::path::Path;

use self::play::Stage;

#[tokio::test]
async fn the_corpus_of_the_fuzz_target_finds_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/door");
    let mut inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 50, "a corpus");
    let stage = Stage::open().await;
    for input in inputs {
        let played = stage.play(&fs::read(&input).unwrap()).await;
        assert_eq!(played, Ok(()), "{}", input.display());
    }
    stage.close().await;
}
