use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde_json::json;

use super::fleet::{Fleet, Running};

/// The files of the only generation, the largest first; without the lock of the writer.
fn files(dir: &Path) -> Vec<PathBuf> {
    let generation = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let mut files: Vec<PathBuf> = fs::read_dir(generation.unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_str().unwrap().ends_with(".lock"))
        .collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    files
}

/// Damages each file of an index in turn; each time it must be the same again afterwards.
async fn survives(damage: impl Fn(&Path)) {
    let fleet = Fleet::of(200);
    let dir = tempfile::tempdir().unwrap();
    for nth in 0.. {
        let index = Running::start(dir.path(), &fleet).await;
        index.caught_up(&fleet).await;
        // So that there is a file of deleted documents too.
        fleet.report("d00001", &json!({"n": 1_000}));
        index.caught_up(&fleet).await;
        index.stop().await;
        let Some(file) = files(dir.path()).get(nth).cloned() else { break };
        damage(&file);
        let scanned = fleet.scanned.load(Ordering::SeqCst);
        let index = Running::start(dir.path(), &fleet).await;
        index.caught_up(&fleet).await;
        assert_eq!((index.total(""), index.total("n:1000")), (200, 1), "{}", file.display());
        // The list of files is no part of the data: what it lacks is checked all the same.
        if !file.ends_with(".managed.json") {
            let built = fleet.scanned.load(Ordering::SeqCst) > scanned;
            assert!(built, "{} is damaged, and was believed", file.display());
        }
        index.stop().await;
    }
}

#[tokio::test]
async fn garbage() {
    survives(|file| {
        let length = usize::try_from(fs::metadata(file).unwrap().len()).unwrap();
        fs::write(file, vec![0xa5; length]).unwrap();
    })
    .await;
}

#[tokio::test]
async fn one_wrong_byte() {
    survives(|file| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(file, bytes).unwrap();
    })
    .await;
}

#[tokio::test]
async fn deleted_files() {
    survives(|file| fs::remove_file(file).unwrap()).await;
}

#[tokio::test]
async fn truncated_files() {
    survives(|file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    })
    .await;
}

#[tokio::test]
async fn emptied_files() {
    survives(|file| fs::write(file, b"").unwrap()).await;
}

#[tokio::test]
async fn a_deleted_directory_and_a_build_that_was_cut_off() {
    let fleet = Fleet::of(20);
    let dir = tempfile::tempdir().unwrap();
    // Documents without a position: a rebuild that never ended.
    let cut_off = {
        let search = crate::Search::open(dir.path(), crate::Settings::default()).unwrap();
        let filling = search.take_hands().unwrap().shelf.create().unwrap();
        let ghost = super::fleet::key("ghost");
        let twin = std::sync::Arc::new(statecast_state::Twin::new(ghost.device.clone()));
        filling.add(&[(ghost, twin)]).unwrap();
        dir.path().join(format!("s{}-1", crate::schema::SCHEMA_VERSION))
    };
    assert!(cut_off.exists());
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!((index.total(""), index.total("ghost")), (20, 0));
    assert_eq!(index.total("id:ghost"), 0);
    index.stop().await;

    fs::remove_dir_all(dir.path()).unwrap();
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!(index.total(""), 20);
    index.stop().await;
}

#[tokio::test]
async fn what_was_written_and_not_committed_comes_again() {
    let fleet = Fleet::of(20);
    let dir = tempfile::tempdir().unwrap();
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    index.stop().await;
    let scanned = fleet.scanned.load(Ordering::SeqCst);
    {
        let search = crate::Search::open(dir.path(), crate::Settings::default()).unwrap();
        let mut generation = search.take_hands().unwrap().generation.unwrap();
        generation.write([(super::fleet::key("d00001"), None)]).unwrap();
    }
    fleet.report("d00002", &json!({"n": 1_000}));
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!((index.total(""), index.total("n:1000"), index.total("n:1")), (20, 1, 1));
    assert_eq!(fleet.scanned.load(Ordering::SeqCst), scanned, "no rebuild was needed");
    index.stop().await;
}
